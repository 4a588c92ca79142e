/* vec0_convert.c -- tables made by sqlite-vec: telling them, turning them into
** ours.
**
** FORMAT   of what sqlite-vec (0.1.0 to 0.1.9) keeps of a table t, with NN
**          counting the columns of a kind from 00
**
**   t_rowids(rowid, id, ..)       id: the text key, else NULL
**   t_chunks(chunk_id, size, partitionNN.., validity, rowids)
**                                 validity: a bit per row, lowest first;
**                                 rowids: 8 bytes per row
**   t_vector_chunksNN(rowid, vectors)      of chunk `rowid`, side by side
**   t_metadatachunksNN(rowid, data)        bit; 8-byte integer; double; or 16
**                                 bytes of text: length, then 12 bytes of it
**   t_metadatatextNN(rowid, data) texts longer than that, by row
**   t_auxiliary(rowid, valueNN..)
**   t_info                        newer versions
**
** Numbers are little-endian. Lengths are checked before bytes are used.
**
** vecdb_convert('t') replaces the virtual table by ours with the same columns,
** copies chunk by chunk, and drops these tables: all in one savepoint.
*/
#include "sql/vtab_int.h"

#define CHUNK_ROWS_MAX (1<<24)

struct convert {
  sqlite3 *db;
  struct sql_table *t;                 /* the new table */
  const char *schema, *name;
  sqlite3_stmt *insert, *text_key, *aux;
  sqlite3_int64 chunk;                 /* chunk_id of the one being copied */
  sqlite3_int64 n_row;                 /* its rows, used or not */
  const unsigned char *validity, *rowids;
  sqlite3_value **partition;           /* by column; NULL for others */
  sqlite3_value **data;                /* vectors or metadata, by column */
  char **err;
};

/* ---- Helpers ------------------------------------------------------------ */

static int convert_fail(struct convert *c, const char *what){
  return vdb_sql_fail(c->err, SQLITE_CORRUPT_VTAB, "cannot convert table "
                      "\"%s\", chunk %lld: %s", c->name, c->chunk, what);
}

static int convert_db_fail(struct convert *c, int rc){
  return vdb_sql_fail(c->err, rc, "cannot convert table \"%s\": %s", c->name,
                      sqlite3_errmsg(c->db));
}

static int convert_exec(struct convert *c, char *sql){
  int rc = sql ? sqlite3_exec(c->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
  sqlite3_free(sql);
  return rc==SQLITE_OK ? rc : convert_db_fail(c, rc);
}

static int convert_prepare(struct convert *c, char *sql, sqlite3_stmt **out){
  int rc = sql ? sqlite3_prepare_v2(c->db, sql, -1, out, NULL) : SQLITE_NOMEM;
  sqlite3_free(sql);
  return rc==SQLITE_OK ? rc : convert_db_fail(c, rc);
}

static int shadow_exists(sqlite3 *db, const char *schema, const char *name,
                         const char *suffix){
  char *table = sqlite3_mprintf("%s_%s", name, suffix);
  int found = table && sqlite3_table_column_metadata(db, schema, table, NULL,
                           NULL, NULL, NULL, NULL, NULL)==SQLITE_OK;
  sqlite3_free(table);
  return found;
}

int vdb_vec0_is_foreign(sqlite3 *db, const char *schema, const char *name){
  return shadow_exists(db, schema, name, "chunks")
      && shadow_exists(db, schema, name, "rowids")
      && !shadow_exists(db, schema, name, "meta");
}

/* The names are collected first: a DROP changes what is being read. */
int vdb_vec0_drop_shadow(sqlite3 *db, const char *schema, const char *name,
                         char **err){
  sqlite3_stmt *s = NULL;
  sqlite3_str *drops = sqlite3_str_new(db);
  char *sql = sqlite3_mprintf(
      "SELECT name FROM \"%w\".sqlite_schema WHERE type='table' AND ("
      "name IN (%Q||'_info',%Q||'_chunks',%Q||'_rowids',%Q||'_auxiliary') OR "
      "(substr(name,1,%d)=%Q||'_' AND (substr(name,%d) GLOB "
      "'vector_chunks[0-9][0-9]' OR substr(name,%d) GLOB "
      "'metadatachunks[0-9][0-9]' OR substr(name,%d) GLOB "
      "'metadatatext[0-9][0-9]')))", schema, name, name, name, name,
      (int)strlen(name) + 1, name, (int)strlen(name) + 2,
      (int)strlen(name) + 2, (int)strlen(name) + 2);
  int rc = sql ? sqlite3_prepare_v2(db, sql, -1, &s, NULL) : SQLITE_NOMEM;

  sqlite3_free(sql);
  while( rc==SQLITE_OK && sqlite3_step(s)==SQLITE_ROW ){
    sqlite3_str_appendf(drops, "DROP TABLE \"%w\".\"%w\";", schema,
                        sqlite3_column_text(s, 0));
  }
  if( rc==SQLITE_OK ) rc = sqlite3_finalize(s);
  sql = sqlite3_str_finish(drops);
  if( rc==SQLITE_OK && sql ) rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  sqlite3_free(sql);
  if( rc==SQLITE_OK ) return rc;
  return vdb_sql_fail(err, rc, "cannot drop the tables of sqlite-vec: %s",
                      sqlite3_errmsg(db));
}

/* ---- Reading ------------------------------------------------------------ */

/* Bytes of one element of a chunk's array; 0: a bit. */
static int cell_bytes(const vecdb_column_info *info){
  if( info->role==VECDB_ROLE_VECTOR ) return (int)info->vector_bytes;
  if( info->type==VECDB_BOOLEAN ) return 0;
  return info->type==VECDB_TEXT ? 16 : 8;
}

static sqlite3_int64 array_bytes(struct convert *c, int i){
  int n = cell_bytes(&c->t->cols[i].info);
  return n ? c->n_row*n : c->n_row/8;
}

static uint64_t read_u64(const unsigned char *p){
  uint64_t v = 0;
  int i;
  for(i=7; i>=0; i--) v = v<<8 | p[i];
  return v;
}

static int is_metadata(const vecdb_column_info *info){
  return info->role==VECDB_ROLE_META;
}

/* Kind and number of column i, as the names of the tables count. */
static int column_number(const struct sql_table *t, int i){
  int k, n = 0;
  for(k=1; k<i; k++) n += t->cols[k].info.role==t->cols[i].info.role;
  return n;
}

/* The array of column i for this chunk. */
static int read_array(struct convert *c, int i){
  const vecdb_column_info *info = &c->t->cols[i].info;
  sqlite3_stmt *s = NULL;
  int rc, is_vector = info->role==VECDB_ROLE_VECTOR;

  rc = convert_prepare(c, sqlite3_mprintf("SELECT %s FROM \"%w\".\"%w_%s%02d\" "
      "WHERE rowid=%lld", is_vector ? "vectors" : "data", c->schema, c->name,
      is_vector ? "vector_chunks" : "metadatachunks", column_number(c->t, i),
      c->chunk), &s);
  if( rc!=SQLITE_OK ) return rc;
  if( sqlite3_step(s)==SQLITE_ROW ){
    c->data[i] = sqlite3_value_dup(sqlite3_column_value(s, 0));
  }
  rc = sqlite3_finalize(s);
  if( rc!=SQLITE_OK ) return convert_db_fail(c, rc);
  if( c->data[i]==NULL
   || sqlite3_value_bytes(c->data[i])!=array_bytes(c, i) ){
    return convert_fail(c, "the values of a column are missing or too short");
  }
  return SQLITE_OK;
}

/* A text longer than 12 bytes. */
static int bind_long_text(struct convert *c, int i, sqlite3_int64 rowid){
  sqlite3_stmt *s = NULL;
  int rc = convert_prepare(c, sqlite3_mprintf("SELECT data FROM "
      "\"%w\".\"%w_metadatatext%02d\" WHERE rowid=%lld", c->schema, c->name,
      column_number(c->t, i), rowid), &s), found = 0;

  if( rc!=SQLITE_OK ) return rc;
  if( sqlite3_step(s)==SQLITE_ROW ){
    sqlite3_bind_value(c->insert, i + 1, sqlite3_column_value(s, 0));
    found = 1;
  }
  rc = sqlite3_finalize(s);
  if( rc!=SQLITE_OK ) return convert_db_fail(c, rc);
  return found ? SQLITE_OK : convert_fail(c, "a long text is missing");
}

static int bind_metadata(struct convert *c, int i, sqlite3_int64 row,
                         sqlite3_int64 rowid){
  const unsigned char *p = sqlite3_value_blob(c->data[i]);
  uint64_t v;
  double r;

  if( c->t->cols[i].info.type==VECDB_BOOLEAN ){
    return sqlite3_bind_int(c->insert, i + 1, p[row/8]>>(row%8) & 1);
  }
  if( c->t->cols[i].info.type==VECDB_TEXT ){
    p += 16*row;
    v = read_u64(p) & 0xffffffffu;
    if( v>12 ) return bind_long_text(c, i, rowid);
    return sqlite3_bind_text(c->insert, i + 1, (const char*)p + 4, (int)v,
                             SQLITE_TRANSIENT);
  }
  v = read_u64(p + 8*row);
  if( c->t->cols[i].info.type==VECDB_INTEGER ){
    return sqlite3_bind_int64(c->insert, i + 1, (sqlite3_int64)v);
  }
  memcpy(&r, &v, sizeof(r));
  return sqlite3_bind_double(c->insert, i + 1, r);
}

static int bind_key(struct convert *c, sqlite3_int64 rowid){
  int rc;
  if( !c->t->has_text_key ) return sqlite3_bind_int64(c->insert, 1, rowid);
  sqlite3_bind_int64(c->text_key, 1, rowid);
  if( sqlite3_step(c->text_key)==SQLITE_ROW ){
    sqlite3_bind_value(c->insert, 1, sqlite3_column_value(c->text_key, 0));
  }
  rc = sqlite3_reset(c->text_key);
  return rc==SQLITE_OK ? rc : convert_db_fail(c, rc);
}

/* Auxiliary columns; a row without an entry has NULLs. */
static int bind_aux(struct convert *c, sqlite3_int64 rowid){
  int i, rc;
  if( c->aux==NULL ) return SQLITE_OK;
  sqlite3_bind_int64(c->aux, 1, rowid);
  if( sqlite3_step(c->aux)==SQLITE_ROW ){
    for(i=1; i<c->t->n_col; i++){
      if( c->t->cols[i].info.role!=VECDB_ROLE_AUX ) continue;
      sqlite3_bind_value(c->insert, i + 1,
          sqlite3_column_value(c->aux, column_number(c->t, i)));
    }
  }
  rc = sqlite3_reset(c->aux);
  return rc==SQLITE_OK ? rc : convert_db_fail(c, rc);
}

/* ---- Copying ------------------------------------------------------------ */

static int copy_row(struct convert *c, sqlite3_int64 row){
  sqlite3_int64 rowid = (sqlite3_int64)read_u64(c->rowids + 8*row);
  int i, rc = SQLITE_OK;

  SQL_TRY( bind_key(c, rowid) );
  SQL_TRY( bind_aux(c, rowid) );
  for(i=1; i<c->t->n_col && rc==SQLITE_OK; i++){
    const vecdb_column_info *info = &c->t->cols[i].info;
    if( info->role==VECDB_ROLE_VECTOR ){
      const char *p = sqlite3_value_blob(c->data[i]);
      rc = sqlite3_bind_blob(c->insert, i + 1, p + row*(int)info->vector_bytes,
                             (int)info->vector_bytes, SQLITE_STATIC);
    }else if( info->role==VECDB_ROLE_PARTITION ){
      rc = sqlite3_bind_value(c->insert, i + 1, c->partition[i]);
    }else if( is_metadata(info) ){
      rc = bind_metadata(c, i, row, rowid);
    }
  }
  if( rc==SQLITE_OK ){
    sqlite3_step(c->insert);
    rc = sqlite3_reset(c->insert);
    if( rc!=SQLITE_OK ) rc = convert_db_fail(c, rc);
  }
  sqlite3_clear_bindings(c->insert);
done:
  return rc;
}

static void chunk_clear(struct convert *c){
  int i;
  for(i=0; i<c->t->n_col; i++){
    sqlite3_value_free(c->data[i]);
    sqlite3_value_free(c->partition[i]);
    c->data[i] = c->partition[i] = NULL;
  }
}

/* s stands on a row of t_chunks: chunk_id, size, validity, rowids,
** partitions. */
static int copy_chunk(struct convert *c, sqlite3_stmt *s){
  sqlite3_int64 row;
  int i, rc = SQLITE_OK;

  c->chunk = sqlite3_column_int64(s, 0);
  c->n_row = sqlite3_column_int64(s, 1);
  c->validity = sqlite3_column_blob(s, 2);
  c->rowids = sqlite3_column_blob(s, 3);
  if( c->n_row<8 || c->n_row>CHUNK_ROWS_MAX || c->n_row%8
   || sqlite3_column_bytes(s, 2)!=c->n_row/8
   || sqlite3_column_bytes(s, 3)!=c->n_row*8 ){
    return convert_fail(c, "its sizes do not fit together");
  }
  for(i=1; i<c->t->n_col && rc==SQLITE_OK; i++){
    const vecdb_column_info *info = &c->t->cols[i].info;
    if( info->role==VECDB_ROLE_VECTOR || is_metadata(info) ){
      rc = read_array(c, i);
    }else if( info->role==VECDB_ROLE_PARTITION ){
      c->partition[i] = sqlite3_value_dup(
          sqlite3_column_value(s, 4 + column_number(c->t, i)));
      if( c->partition[i]==NULL ) rc = SQLITE_NOMEM;
    }
  }
  for(row=0; row<c->n_row && rc==SQLITE_OK; row++){
    if( c->validity[row/8]>>(row%8) & 1 ) rc = copy_row(c, row);
  }
  chunk_clear(c);
  return rc;
}

static int count_role(const struct sql_table *t, uint32_t role){
  int i, n = 0;
  for(i=1; i<t->n_col; i++) n += t->cols[i].info.role==role;
  return n;
}

/* ", partition00, partition01": n of them. */
static void append_numbered(sqlite3_str *s, const char *name, int n){
  int i;
  for(i=0; i<n; i++) sqlite3_str_appendf(s, ", %s%02d", name, i);
}

static int prepare_insert(struct convert *c){
  sqlite3_str *s = sqlite3_str_new(c->db);
  int i;
  sqlite3_str_appendf(s, "INSERT INTO \"%w\".\"%w\"(", c->schema, c->name);
  for(i=0; i<c->t->n_col; i++){
    sqlite3_str_appendf(s, "%s\"%w\"", i ? ", " : "", c->t->cols[i].name);
  }
  sqlite3_str_appendall(s, ") VALUES(?");
  for(i=1; i<c->t->n_col; i++) sqlite3_str_appendall(s, ",?");
  sqlite3_str_appendall(s, ")");
  return convert_prepare(c, sqlite3_str_finish(s), &c->insert);
}

static int prepare_all(struct convert *c, sqlite3_stmt **chunks){
  sqlite3_str *s;
  int rc, n_aux = count_role(c->t, VECDB_ROLE_AUX);

  SQL_TRY( prepare_insert(c) );
  SQL_TRY( convert_prepare(c, sqlite3_mprintf("SELECT id FROM "
      "\"%w\".\"%w_rowids\" WHERE rowid=?1", c->schema, c->name),
      &c->text_key) );
  if( n_aux ){
    s = sqlite3_str_new(c->db);
    append_numbered(s, "value", n_aux);
    SQL_TRY( convert_prepare(c, sqlite3_mprintf("SELECT %s FROM "
        "\"%w\".\"%w_auxiliary\" WHERE rowid=?1", sqlite3_str_value(s) + 2,
        c->schema, c->name), &c->aux) );
    sqlite3_free(sqlite3_str_finish(s));
  }
  s = sqlite3_str_new(c->db);
  sqlite3_str_appendall(s, "SELECT chunk_id, size, validity, rowids");
  append_numbered(s, "partition", count_role(c->t, VECDB_ROLE_PARTITION));
  sqlite3_str_appendf(s, " FROM \"%w\".\"%w_chunks\" ORDER BY chunk_id",
                      c->schema, c->name);
  rc = convert_prepare(c, sqlite3_str_finish(s), chunks);
done:
  return rc;
}

static int copy_all(struct convert *c){
  sqlite3_stmt *chunks = NULL;
  size_t n = sizeof(sqlite3_value*)*(size_t)c->t->n_col;
  int rc, e = SQLITE_DONE;

  c->data = sqlite3_malloc64(2*n);
  if( c->data==NULL ) return SQLITE_NOMEM;
  memset(c->data, 0, 2*n);
  c->partition = c->data + c->t->n_col;
  rc = prepare_all(c, &chunks);
  while( rc==SQLITE_OK && (e = sqlite3_step(chunks))==SQLITE_ROW ){
    rc = copy_chunk(c, chunks);
  }
  if( rc==SQLITE_OK && e!=SQLITE_DONE ) rc = convert_db_fail(c, e);
  sqlite3_finalize(chunks);
  sqlite3_finalize(c->insert);
  sqlite3_finalize(c->text_key);
  sqlite3_finalize(c->aux);
  sqlite3_free(c->data);
  return rc;
}

/* ---- The whole ---------------------------------------------------------- */

/* What stands behind the name in the text of CREATE VIRTUAL TABLE: from the
** bare word USING on. */
static const char *text_using(const char *z){
  while( *z ){
    char close = *z=='[' ? ']' : *z=='"' || *z=='`' || *z=='\'' ? *z : 0;
    if( close ){
      for(z++; *z && *z!=close; z++){}
      if( *z ) z++;
    }else if( sqlite3_strnicmp(z, "using", 5)==0 && strchr(" \t\r\n", z[5]) ){
      return z;
    }else{
      while( *z && !strchr(" \t\r\n\"'`[", *z) ) z++;
      while( *z && strchr(" \t\r\n", *z) ) z++;
    }
  }
  return NULL;
}

/* Replace the table by ours; its old shadow tables stay for the moment. */
static int replace_table(struct convert *c, struct sql_state *st){
  sqlite3_stmt *s = NULL;
  const char *using;
  char *sql = NULL;
  int rc;

  SQL_TRY( convert_prepare(c, sqlite3_mprintf("SELECT sql FROM "
      "\"%w\".sqlite_schema WHERE type='table' AND name=%Q COLLATE NOCASE",
      c->schema, c->name), &s) );
  if( sqlite3_step(s)==SQLITE_ROW
   && (using = text_using((const char*)sqlite3_column_text(s, 0)))!=NULL ){
    sql = sqlite3_mprintf("CREATE VIRTUAL TABLE \"%w\".\"%w\" %s", c->schema,
                          c->name, using);
  }
  sqlite3_finalize(s);
  if( sql==NULL ) return convert_fail(c, "its CREATE statement is gone");
  st->is_converting = 1;
  rc = convert_exec(c, sqlite3_mprintf("DROP TABLE \"%w\".\"%w\"", c->schema,
                                       c->name));
  st->is_converting = 0;
  if( rc==SQLITE_OK ) rc = convert_exec(c, sql); else sqlite3_free(sql);
done:
  return rc;
}

static int convert_run(struct convert *c, struct sql_state *st){
  char *qualified;
  int rc;

  SQL_TRY( replace_table(c, st) );
  qualified = sqlite3_mprintf("%s.%s", c->schema, c->name);
  if( qualified==NULL ) return SQLITE_NOMEM;
  rc = vdb_table_find(st, qualified, &c->t, c->err);
  sqlite3_free(qualified);
  if( rc==SQLITE_OK ) rc = copy_all(c);
  if( rc==SQLITE_OK ){
    rc = vdb_vec0_drop_shadow(c->db, c->schema, c->name, c->err);
  }
done:
  return rc;
}

/* The schema that has the table, temp first; the module of the table. */
static int find_foreign(struct sql_state *st, const char *arg, char **schema,
                        const char **name){
  const char *dot = strchr(arg, '.');
  const char *found = NULL;
  int i;

  *schema = NULL;
  *name = arg;
  if( dot ){
    *schema = sqlite3_mprintf("%.*s", (int)(dot - arg), arg);
    if( *schema==NULL ) return SQLITE_NOMEM;
    *name = dot + 1;
    if( vdb_vec0_is_foreign(st->db, *schema, *name) ) return SQLITE_OK;
    sqlite3_free(*schema);
    *schema = NULL;
    *name = arg;
  }
  if( vdb_vec0_is_foreign(st->db, "temp", arg) ) found = "temp";
  for(i=0; found==NULL && sqlite3_db_name(st->db, i); i++){
    if( vdb_vec0_is_foreign(st->db, sqlite3_db_name(st->db, i), arg) ){
      found = sqlite3_db_name(st->db, i);
    }
  }
  if( found==NULL ) return SQLITE_OK;
  *schema = vdb_sql_strdup(found);
  return *schema ? SQLITE_OK : SQLITE_NOMEM;
}

int vdb_vec0_convert(struct sql_state *st, const char *arg, char **err){
  struct convert c;
  char *schema = NULL;
  int rc;

  memset(&c, 0, sizeof(c));
  SQL_TRY( find_foreign(st, arg, &schema, &c.name) );
  if( schema==NULL ){
    return vdb_sql_fail(err, SQLITE_ERROR, "table \"%s\" was not created by "
                        "sqlite-vec", arg);
  }
  c.db = st->db;
  c.schema = schema;
  c.err = err;
  if( st->vec0_is_other ){
    rc = vdb_sql_fail(err, SQLITE_ERROR, "cannot convert table \"%s\": "
        "sqlite-vec is loaded on this connection; convert on one with vecdb "
        "alone", arg);
    goto done;
  }
  SQL_TRY( convert_exec(&c, sqlite3_mprintf("SAVEPOINT vecdb_convert")) );
  rc = convert_run(&c, st);
  if( rc==SQLITE_OK ){
    rc = convert_exec(&c, sqlite3_mprintf("RELEASE vecdb_convert"));
  }
  if( rc!=SQLITE_OK && !sqlite3_get_autocommit(st->db) ){
    sqlite3_exec(st->db, "ROLLBACK TO vecdb_convert; RELEASE vecdb_convert",
                 NULL, NULL, NULL);
  }
done:
  sqlite3_free(schema);
  return rc;
}
