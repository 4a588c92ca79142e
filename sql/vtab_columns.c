/* vtab_columns.c -- what columns a table has, and telling SQLite.
**
** The columns are the collection's. A text of columns is compared with them by
** making a collection of it in a database in memory.
*/
#include "sql/vtab_int.h"

/* ---- Hidden columns ----------------------------------------------------- */

static const struct hidden_row {
  const char *name, *type;
  int is_optional;            /* gives way to a user's column of that name */
} hidden_table[HID_N] = {
  [HID_TABLE]    = { NULL,         "",         0 },
  [HID_ARGS]     = { "args",       "",         1 },
  [HID_DISTANCE] = { "distance",   "REAL ",    0 },
  [HID_K]        = { "k",          "INTEGER ", 0 },
  [HID_EF]       = { "ef",         "INTEGER ", 1 },
  [HID_RECALL]   = { "recall",     "REAL ",    1 },
  [HID_EXACT]    = { "exact",      "INTEGER ", 1 },
  [HID_FILTER]   = { "filter",     "TEXT ",    1 },
  [HID_MMR]      = { "mmr_lambda", "REAL ",    1 },
};

const char *vdb_table_hidden_name(int hid){
  const char *z = hidden_table[hid].name;
  return z ? z : "query";
}

static const char *sql_type(const vecdb_column_info *info){
  switch( info->type ){
    case VECDB_INTEGER: return "INTEGER";
    case VECDB_REAL:    return "REAL";
    case VECDB_TEXT:    return "TEXT";
    case VECDB_BOOLEAN: return "BOOLEAN";
    default:            return "BLOB";
  }
}

/* The declared type of a column: what sqlite3_column_decltype and PRAGMA
** table_info say, so that a program can tell what a vector's bytes are.
** Vectors are "float[3] BLOB": the last word gives BLOB affinity, and the
** short names of the 8-bit types keep "INT" out of it. */
static void type_append(sqlite3_str *s, const vecdb_column_info *info){
  static const char *const element[] = {
    [VECDB_F32] = "float", [VECDB_F16] = "float16", [VECDB_BF16] = "bfloat16",
    [VECDB_I8] = "i8", [VECDB_U8] = "u8", [VECDB_BIT] = "bit"
  };
  if( info->type==VECDB_VECTOR ){
    sqlite3_str_appendf(s, "%s[%u] BLOB", element[info->element], info->dims);
  }else{
    sqlite3_str_appendall(s, sql_type(info));
  }
}

/* By the table, whose name is a hidden column, or a column. */
static int name_is_taken(const struct sql_table *t, const char *name){
  int i;
  if( sqlite3_stricmp(t->name, name)==0 ) return 1;
  for(i=0; i<t->n_col; i++){
    if( sqlite3_stricmp(t->cols[i].name, name)==0 ) return 1;
  }
  return 0;
}

/* Tell SQLite the columns. */
int vdb_table_declare(sqlite3 *db, struct sql_table *t, char **err){
  sqlite3_str *s = sqlite3_str_new(NULL);
  char *sql;
  int i, rc;

  if( sqlite3_stricmp(t->name, "k")==0
   || sqlite3_stricmp(t->name, "distance")==0 ){
    sqlite3_free(sqlite3_str_finish(s));
    return vdb_sql_fail(err, SQLITE_ERROR, "a vecdb table cannot be named "
                        "\"%s\": that is a hidden column", t->name);
  }
  for(i=0; i<t->n_col; i++){
    sqlite3_str_appendf(s, "%s\"%w\" ", i ? ", " : "CREATE TABLE x(",
        t->cols[i].name);
    type_append(s, &t->cols[i].info);
    if( i==0 && t->has_text_key ){
      sqlite3_str_appendall(s, " NOT NULL PRIMARY KEY");
    }
  }
  t->n_hidden = 0;
  for(i=0; i<HID_N; i++){
    const struct hidden_row *h = &hidden_table[i];
    const char *name = i==HID_TABLE ? t->name : h->name;
    if( i==HID_ARGS && t->is_vec0 ) continue;
    t->hidden[t->n_hidden++] = i;
    sqlite3_str_appendf(s, ", \"%s%w\" %sHIDDEN",
        h->is_optional && name_is_taken(t, name) ? "_" : "", name, h->type);
  }
  sqlite3_str_appendall(s, t->has_text_key ? ") WITHOUT ROWID" : ")");
  sql = sqlite3_str_finish(s);
  if( sql==NULL ) return SQLITE_NOMEM;
  rc = sqlite3_declare_vtab(db, sql);
  sqlite3_free(sql);
  if( rc!=SQLITE_OK ){
    return vdb_sql_fail(err, rc, "could not declare virtual table, '%s'",
                        sqlite3_errmsg(db));
  }
  return SQLITE_OK;
}

/* ---- Columns of the collection ------------------------------------------ */

int vdb_table_read_columns(struct sql_table *t, vecdb_collection *coll,
                              char **err){
  int i, n = vecdb_column_count(coll);

  t->cols = sqlite3_malloc64(sizeof(t->cols[0])*(size_t)(n + 1));
  if( t->cols==NULL ) return SQLITE_NOMEM;
  memset(t->cols, 0, sizeof(t->cols[0])*(size_t)(n + 1));
  for(i=0; i<n; i++){
    struct sql_column *c = &t->cols[i];
    int rc;
    c->info.size = sizeof(c->info);
    rc = vecdb_column_describe(coll, i, &c->info);
    if( rc!=VECDB_OK ){
      return vdb_sql_fail(err, vdb_sql_code(rc), "cannot read the columns of "
                          "table \"%s\"", t->name);
    }
    c->name = vdb_sql_strdup(c->info.name);
    if( c->name==NULL ) return SQLITE_NOMEM;
    t->n_col = i + 1;
    if( sqlite3_stricmp(c->name, t->name)==0 ){
      return vdb_sql_fail(err, SQLITE_ERROR, "column name '%s' conflicts with "
          "table name (reserved for command column)", c->name);
    }
  }
  t->has_text_key = n>0 && t->cols[0].info.type==VECDB_TEXT;
  return SQLITE_OK;
}

/* ---- Columns given, and columns there ----------------------------------- */

static int same_column(vecdb_collection *a, vecdb_collection *b, int i){
  vecdb_column_info x, y;
  memset(&x, 0, sizeof(x));
  memset(&y, 0, sizeof(y));
  x.size = y.size = sizeof(x);
  if( vecdb_column_describe(a, i, &x)!=VECDB_OK
   || vecdb_column_describe(b, i, &y)!=VECDB_OK ){
    return 0;
  }
  return x.role==y.role && x.type==y.type && x.element==y.element
      && x.dims==y.dims && x.metric==y.metric && x.not_null==y.not_null
      && sqlite3_stricmp(x.name, y.name)==0;
}

/* True if `schema` has the columns of coll. Options may differ: they can be
** changed after creation. The schema is tried out in a database in memory. */
static int same_columns(vecdb_collection *coll, const char *schema){
  vecdb *probe = NULL;
  vecdb_collection *other = NULL;
  int i, n = vecdb_column_count(coll), same = 0;

  if( strcmp(schema, vecdb_collection_schema(coll))==0 ) return 1;
  if( vecdb_open("", VECDB_OPEN_MEMORY, NULL, &probe)==VECDB_OK
   && vecdb_create_collection(probe, "t", schema)==VECDB_OK
   && vecdb_collection_open(probe, "t", &other)==VECDB_OK ){
    same = vecdb_column_count(other)==n
        && vecdb_has_declared_key(other)==vecdb_has_declared_key(coll);
    for(i=0; same && i<n; i++) same = same_column(coll, other, i);
  }
  vecdb_collection_close(other);
  vecdb_close(probe);
  return same;
}

int vdb_table_check_columns(struct sql_table *t, const char *schema,
                            char **err){
  char *canonical = NULL;
  int rc, same;

  if( schema[0]==0 ) return SQLITE_OK;
  rc = vecdb_check_schema(t->conn->eng, schema, &canonical);
  if( rc!=VECDB_OK ) return vdb_conn_error(t->conn, rc, err);
  same = same_columns(t->coll, canonical);
  vecdb_free(canonical);
  if( same ) return SQLITE_OK;
  if( t->is_hosted ){
    return vdb_sql_fail(err, SQLITE_CORRUPT_VTAB, "the shadow tables of table "
        "\"%s\" have other columns: %s", t->name,
        vecdb_collection_schema(t->coll));
  }
  return vdb_sql_fail(err, SQLITE_ERROR, "collection \"%s\" of \"%s\" has "
      "other columns than table \"%s\": %s; leave the columns out to attach it "
      "as it is", t->collection, t->conn->path, t->name,
      vecdb_collection_schema(t->coll));
}

/* Give the table the columns of its text; *err becomes the reason. */
int vdb_table_break(struct sql_table *t, const char *schema, int rc_broken,
                    char **err){
  vecdb *probe = NULL;
  vecdb_collection *coll = NULL;
  int rc = SQLITE_ERROR;

  vecdb_collection_close(t->coll);
  t->coll = NULL;
  if( vecdb_open("", VECDB_OPEN_MEMORY, NULL, &probe)==VECDB_OK
   && vecdb_create_collection(probe, "t", schema)==VECDB_OK
   && vecdb_collection_open(probe, "t", &coll)==VECDB_OK ){
    rc = vdb_table_read_columns(t, coll, NULL);
  }
  vecdb_collection_close(coll);
  vecdb_close(probe);
  if( rc==SQLITE_OK ){
    t->rc_broken = rc_broken;
    t->broken = *err ? *err : vdb_sql_strdup("out of memory");
    *err = NULL;
  }
  return rc;
}
