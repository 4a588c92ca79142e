/* vtab.c -- the virtual table modules vecdb and vec0.
**
** A table is a collection of a .vdb file, named by file= and collection=. The
** column list belongs to the collection; CREATE VIRTUAL TABLE makes one, or,
** when the collection exists, attaches to it (with columns given, they must be
** the collection's). DROP drops the collection, unless the command 'detach'
** was run before.
**
** COLUMNS  0 is the key ("rowid" when the schema names none), the others
**          follow in the order of the schema, then the hidden ones: the table's
**          own name (commands; the query of the call form), args (vecdb only),
**          distance, k, ef, recall, exact, filter, mmr_lambda. A table with a
**          text key is WITHOUT ROWID.
**
** BROKEN   A table whose file or collection is gone still connects, with the
**          columns its text gives, so that it can be dropped; whatever else is
**          done with it reports what is missing.
**
** Transactions are in vtab_conn.c and vtab_guard.c, plans in vtab_plan.c.
*/
#include "sql/vtab_int.h"

/* ---- Messages ----------------------------------------------------------- */

int vdb_table_set_error(struct sql_table *t, int rc, char *msg){
  sqlite3_free(t->base.zErrMsg);
  t->base.zErrMsg = msg;
  return msg ? rc : SQLITE_NOMEM;
}

int vdb_table_error(struct sql_table *t, int engine_rc){
  return vdb_conn_error(t->conn, engine_rc, &t->base.zErrMsg);
}

int vdb_table_usable(struct sql_table *t){
  if( t->broken==NULL ) return SQLITE_OK;
  return vdb_table_set_error(t, SQLITE_ERROR, vdb_sql_strdup(t->broken));
}

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

int vdb_table_hidden(const struct sql_table *t, int i_col){
  if( i_col<t->n_col || i_col>=t->n_col + t->n_hidden ) return -1;
  return t->hidden[i_col - t->n_col];
}

int vdb_table_column_of(const struct sql_table *t, int hid){
  int i;
  for(i=0; i<t->n_hidden && t->hidden[i]!=hid; i++){}
  return t->n_col + i;
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
static int table_declare(sqlite3 *db, struct sql_table *t, char **err){
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

/* ---- Making and destroying the struct ----------------------------------- */

void vdb_table_forget_statements(struct sql_table *t){
  int i;
  for(i=0; i<2; i++){
    vecdb_finalize(t->insert[i]);
    t->insert[i] = NULL;
  }
  vecdb_finalize(t->update);
  vecdb_finalize(t->remove);
  t->update = t->remove = NULL;
}

static void table_free(struct sql_table *t){
  struct sql_table **pp;
  int i;
  if( t==NULL ) return;
  for(pp=&t->st->tables; *pp && *pp!=t; pp=&(*pp)->next){}
  if( *pp ) *pp = t->next;
  vdb_table_forget_statements(t);
  for(i=0; i<t->n_col; i++) sqlite3_free(t->cols[i].name);
  sqlite3_free(t->cols);
  vecdb_collection_close(t->coll);
  vdb_conn_unref(t->conn);
  sqlite3_free(t->schema);
  sqlite3_free(t->name);
  sqlite3_free(t->collection);
  sqlite3_free(t->broken);
  sqlite3_free(t->base.zErrMsg);
  sqlite3_free(t);
}

/* argv of xCreate: module, schema, table, arguments. */
static int table_alloc(struct sql_state *st, const char *const *argv,
                       struct sql_args *args, struct sql_table **out){
  struct sql_table *t = sqlite3_malloc(sizeof(*t));
  *out = t;
  if( t==NULL ) return SQLITE_NOMEM;
  memset(t, 0, sizeof(*t));
  t->st = st;
  t->match_column = -1;
  t->is_vec0 = sqlite3_stricmp(argv[0], "vec0")==0;
  t->is_named = args->collection!=NULL;
  t->durability = args->durability;
  t->schema = vdb_sql_strdup(argv[1]);
  t->name = vdb_sql_strdup(argv[2]);
  t->collection = vdb_sql_strdup(args->collection ? args->collection : argv[2]);
  if( t->schema==NULL || t->name==NULL || t->collection==NULL ){
    return SQLITE_NOMEM;
  }
  return SQLITE_OK;
}

static int table_read_columns(struct sql_table *t, vecdb_collection *coll,
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

static int check_columns(struct sql_table *t, const char *schema, char **err){
  char *canonical = NULL;
  int rc, same;

  if( schema[0]==0 ) return SQLITE_OK;
  rc = vecdb_check_schema(t->conn->eng, schema, &canonical);
  if( rc!=VECDB_OK ) return vdb_conn_error(t->conn, rc, err);
  same = same_columns(t->coll, canonical);
  vecdb_free(canonical);
  if( same ) return SQLITE_OK;
  return vdb_sql_fail(err, SQLITE_ERROR, "collection \"%s\" of \"%s\" has "
      "other columns than table \"%s\": %s; leave the columns out to attach it "
      "as it is", t->collection, t->conn->path, t->name,
      vecdb_collection_schema(t->coll));
}

/* ---- Create and connect ------------------------------------------------- */

static int find_path(struct sql_state *st, const char *schema,
                     const struct sql_args *args, char **path, char **err){
  if( args->file ) return vdb_args_path(st->db, schema, args->file, path, err);
  if( st->default_file && !vdb_host_is_file(st->db, schema) ){
    return vdb_args_path(st->db, "temp", st->default_file, path, err);
  }
  return vdb_sql_fail(err, SQLITE_ERROR, "a vecdb table needs file='name.vdb': "
                  "storage inside the SQLite database is not available in "
                  "vecdb " VECDB_VERSION);
}

/* Open the file for writing if anybody may write it, creating it on demand. */
static int open_file(struct sql_state *st, struct sql_table *t,
                     const struct sql_args *args, int is_create, char **err){
  char *path = NULL;
  uint32_t flags = VECDB_OPEN_READWRITE;
  int rc;

  rc = find_path(st, t->schema, args, &path, err);
  if( rc!=SQLITE_OK ) return rc;
  if( is_create && args->schema[0] ) flags |= VECDB_OPEN_CREATE;
  if( st->is_readonly || sqlite3_db_readonly(st->db, t->schema)==1 ){
    flags = VECDB_OPEN_READONLY;
  }
  rc = vdb_conn_open(st, path, t->schema, flags, &t->conn, err);
  if( (rc==SQLITE_READONLY || rc==SQLITE_CANTOPEN)
   && flags==VECDB_OPEN_READWRITE ){
    /* A file that nobody may write, or one that is not there. */
    int rc2 = vdb_conn_open(st, path, t->schema, VECDB_OPEN_READONLY, &t->conn,
                            NULL);
    if( rc2==SQLITE_OK ) rc = rc2;
  }
  sqlite3_free(path);
  return rc;
}

static int open_collection(struct sql_table *t, char **err){
  int rc = vecdb_collection_open(t->conn->eng, t->collection, &t->coll);
  if( rc==VECDB_NOTFOUND ){
    return vdb_sql_fail(err, SQLITE_ERROR, "no collection \"%s\" in \"%s\"",
                    t->collection, t->conn->path);
  }
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(t->conn, rc, err);
}

/* Make the collection unless it is there. */
static int create_collection(struct sql_table *t, const char *schema,
                             int *is_new, char **err){
  int rc;
  rc = vecdb_collection_open(t->conn->eng, t->collection, &t->coll);
  if( rc==VECDB_OK ) return SQLITE_OK;
  if( rc!=VECDB_NOTFOUND ) return vdb_conn_error(t->conn, rc, err);
  SQL_TRY( vdb_guard_begin(t->conn, t->schema, err) );
  rc = vecdb_create_collection(t->conn->eng, t->collection, schema);
  if( rc!=VECDB_OK ) return vdb_conn_error(t->conn, rc, err);
  *is_new = 1;
  vdb_conn_changed(t->conn);
  rc = open_collection(t, err);
done:
  return rc;
}

/* Codes that say "not now" or "no memory", not "not there". */
static int is_passing(int rc){
  rc &= 0xff;
  return rc==SQLITE_BUSY || rc==SQLITE_NOMEM || rc==SQLITE_LOCKED
      || rc==SQLITE_INTERRUPT;
}

/* Give the table the columns of its text; *err becomes the reason. */
static int table_break(struct sql_table *t, const char *schema, char **err){
  vecdb *probe = NULL;
  vecdb_collection *coll = NULL;
  int rc = SQLITE_ERROR;

  vecdb_collection_close(t->coll);
  t->coll = NULL;
  if( vecdb_open("", VECDB_OPEN_MEMORY, NULL, &probe)==VECDB_OK
   && vecdb_create_collection(probe, "t", schema)==VECDB_OK
   && vecdb_collection_open(probe, "t", &coll)==VECDB_OK ){
    rc = table_read_columns(t, coll, NULL);
  }
  vecdb_collection_close(coll);
  vecdb_close(probe);
  if( rc==SQLITE_OK ){
    t->broken = *err ? *err : vdb_sql_strdup("out of memory");
    *err = NULL;
  }
  return rc;
}

static int table_connect_existing(struct sql_state *st, struct sql_table *t,
                                  const struct sql_args *args, char **err){
  int rc, rc2;
  SQL_TRY( open_file(st, t, args, 0, err) );
  SQL_TRY( open_collection(t, err) );
  SQL_TRY( check_columns(t, args->schema, err) );
  rc = table_read_columns(t, t->coll, err);
done:
  if( rc!=SQLITE_OK && !is_passing(rc) && args->schema[0] && t->cols==NULL ){
    rc2 = table_break(t, args->schema, err);
    if( rc2==SQLITE_OK ) rc = rc2;
  }
  return rc;
}

static int table_create_new(struct sql_state *st, struct sql_table *t,
                            const struct sql_args *args, int *is_new,
                            char **err){
  int rc;
  SQL_TRY( open_file(st, t, args, 1, err) );
  SQL_TRY( vdb_token_create_table(t->conn, t->schema, err) );
  if( args->schema[0] ){
    SQL_TRY( create_collection(t, args->schema, is_new, err) );
  }else{
    SQL_TRY( open_collection(t, err) );
  }
  if( !*is_new ) SQL_TRY( check_columns(t, args->schema, err) );
  rc = table_read_columns(t, t->coll, err);
done:
  return rc;
}

static int table_make(sqlite3 *db, struct sql_state *st, int argc,
                      const char *const *argv, int is_create,
                      sqlite3_vtab **out, char **err){
  struct sql_args args;
  struct sql_table *t = NULL;
  int rc, is_new = 0;

  rc = vdb_args_parse(argc - 3, argv + 3, &args, err);
  if( rc!=SQLITE_OK ) return rc;
  SQL_TRY( table_alloc(st, argv, &args, &t) );
  if( is_create ){
    SQL_TRY( table_create_new(st, t, &args, &is_new, err) );
  }else{
    SQL_TRY( table_connect_existing(st, t, &args, err) );
  }
  SQL_TRY( table_declare(db, t, err) );
  sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
  /* A database that somebody else made must not reach files of ours, out of
  ** its folder, by a view or a trigger. */
  if( vdb_host_is_file(db, t->schema) && !vdb_args_path_is_beside(args.file) ){
    sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  }
  t->next = st->tables;
  st->tables = t;
  *out = &t->base;
  t = NULL;
done:
  if( t && is_new ){
    vecdb_collection_close(t->coll);
    t->coll = NULL;
    vecdb_drop_collection(t->conn->eng, t->collection);
  }
  table_free(t);
  vdb_args_clear(&args);
  return rc;
}

/* Programs that know sqlite-vec look for the beginning of the sentence. argv is
** gone after a failure: a nested CREATE TABLE that fails resets the schema. */
static int table_create(sqlite3 *db, void *aux, int argc,
                        const char *const *argv, sqlite3_vtab **out,
                        char **err){
  int is_vec0 = sqlite3_stricmp(argv[0], "vec0")==0;
  int rc = table_make(db, aux, argc, argv, 1, out, err);
  if( rc!=SQLITE_OK && *err && is_vec0 ){
    *err = sqlite3_mprintf("vec0 constructor error: %z", *err);
  }
  return rc;
}

static int table_connect(sqlite3 *db, void *aux, int argc,
                         const char *const *argv, sqlite3_vtab **out,
                         char **err){
  return table_make(db, aux, argc, argv, 0, out, err);
}

static int table_disconnect(sqlite3_vtab *vtab){
  table_free((struct sql_table*)vtab);
  return SQLITE_OK;
}

/* ---- Drop, detach, rename ----------------------------------------------- */

static int table_destroy(sqlite3_vtab *vtab){
  struct sql_table *t = (struct sql_table*)vtab;
  char *err = NULL;
  int rc, was_detached = 0;

  SQL_TRY( vdb_detach_take(t, &was_detached) );
  if( !was_detached && t->broken==NULL ){
    vdb_table_forget_statements(t);
    SQL_TRY( vdb_guard_begin(t->conn, t->schema, &err) );
    rc = vecdb_drop_collection(t->conn->eng, t->collection);
    if( rc!=VECDB_OK && rc!=VECDB_NOTFOUND ){
      rc = vdb_conn_error(t->conn, rc, &err);
      goto done;
    }
    rc = SQLITE_OK;
    vdb_conn_changed(t->conn);
  }
  table_free(t);
done:
  if( rc!=SQLITE_OK && err ) vdb_table_set_error(t, rc, err);
  return rc;
}

/* The collection follows the table, unless collection= named it. */
static int table_rename(sqlite3_vtab *vtab, const char *name){
  struct sql_table *t = (struct sql_table*)vtab;
  char *copy;
  int rc = vdb_detach_rename(t, name);

  if( rc!=SQLITE_OK || t->is_named ) return rc;
  rc = vdb_table_usable(t);
  if( rc!=SQLITE_OK ) return rc;
  copy = vdb_sql_strdup(name);
  if( copy==NULL ) return SQLITE_NOMEM;
  vdb_table_forget_statements(t);
  SQL_TRY( vdb_guard_begin(t->conn, t->schema, &vtab->zErrMsg) );
  rc = vecdb_rename_collection(t->conn->eng, t->collection, name);
  if( rc!=VECDB_OK ){
    rc = vdb_table_error(t, rc);
    goto done;
  }
  vdb_conn_changed(t->conn);
  sqlite3_free(t->collection);
  t->collection = copy;
  copy = NULL;
done:
  sqlite3_free(copy);
  return rc;
}

/* Names of tables that belong to one with storage in the host. */
static int table_shadow_name(const char *name){
  return sqlite3_stricmp(name, "meta")==0 || sqlite3_stricmp(name, "pages")==0
      || sqlite3_stricmp(name, "extents")==0;
}

/* ---- Finding a table by name -------------------------------------------- */

static struct sql_table *table_named(struct sql_state *st, const char *schema,
                                     int n_schema, const char *name){
  struct sql_table *t;
  for(t=st->tables; t; t=t->next){
    if( sqlite3_stricmp(t->name, name)!=0 ) continue;
    if( schema==NULL ) return t;
    if( sqlite3_strnicmp(t->schema, schema, n_schema)==0
     && t->schema[n_schema]==0 ){
      return t;
    }
  }
  return NULL;
}

/* temp before main before the others, as SQLite looks names up. */
static struct sql_table *table_lookup(struct sql_state *st, const char *name){
  const char *dot = strchr(name, '.');
  struct sql_table *t = table_named(st, "temp", 4, name);
  if( t==NULL ) t = table_named(st, "main", 4, name);
  if( t==NULL ) t = table_named(st, NULL, 0, name);
  if( t==NULL && dot ){
    t = table_named(st, name, (int)(dot - name), dot + 1);
  }
  return t;
}

int vdb_table_find(struct sql_state *st, const char *name,
                   struct sql_table **out, char **err){
  const char *dot = strchr(name, '.');
  sqlite3_stmt *s = NULL;
  char *sql;
  int rc;

  *out = table_lookup(st, name);
  if( *out && (*out)->broken==NULL ) return SQLITE_OK;
  sql = sqlite3_mprintf("SELECT * FROM \"%w\"", name);
  rc = sql ? sqlite3_prepare_v2(st->db, sql, -1, &s, NULL) : SQLITE_NOMEM;
  sqlite3_free(sql);
  if( rc==SQLITE_ERROR && dot ){
    sql = sqlite3_mprintf("SELECT * FROM \"%.*w\".\"%w\"", (int)(dot - name),
                          name, dot + 1);
    rc = sql ? sqlite3_prepare_v2(st->db, sql, -1, &s, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
  }
  if( rc==SQLITE_OK ) *out = table_lookup(st, name);
  sqlite3_finalize(s);
  if( rc==SQLITE_OK && *out && (*out)->broken ){
    return vdb_sql_fail(err, SQLITE_ERROR, "%s", (*out)->broken);
  }
  if( rc==SQLITE_OK && *out ) return SQLITE_OK;
  if( rc==SQLITE_OK ){
    return vdb_sql_fail(err, SQLITE_ERROR, "table \"%s\" is not a vecdb table",
                    name);
  }
  return vdb_sql_fail(err, rc, "%s", sqlite3_errmsg(st->db));
}

/* ---- Cursors ------------------------------------------------------------ */

static int cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out){
  struct sql_cursor *c = sqlite3_malloc(sizeof(*c));
  (void)vtab;
  if( c==NULL ) return SQLITE_NOMEM;
  memset(c, 0, sizeof(*c));
  c->is_eof = 1;
  *out = &c->base;
  return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *cur){
  vdb_cursor_reset((struct sql_cursor*)cur);
  sqlite3_free(cur);
  return SQLITE_OK;
}

static int cursor_eof(sqlite3_vtab_cursor *cur){
  return ((struct sql_cursor*)cur)->is_eof;
}

/* A value that cannot be read, because the file is damaged or memory is
** short, looks like NULL; what the engine says about it must not get lost. */
static int stored_null(struct sql_table *t, vecdb_stmt *s){
  int rc = vecdb_column_errcode(s);
  return rc==VECDB_OK ? SQLITE_OK : vdb_table_error(t, rc);
}

static int result_stored(sqlite3_context *ctx, struct sql_table *t,
                         vecdb_stmt *s, int i){
  const struct sql_column *c = &t->cols[i];
  const void *p;
  size_t n = 0;
  switch( vecdb_column_type(s, i) ){
    case VECDB_INTEGER: case VECDB_BOOLEAN:
      sqlite3_result_int64(ctx, vecdb_column_int64(s, i));
      break;
    case VECDB_REAL:
      sqlite3_result_double(ctx, vecdb_column_double(s, i));
      break;
    case VECDB_TEXT:
      p = vecdb_column_text(s, i);
      n = vecdb_column_bytes(s, i);
      sqlite3_result_text64(ctx, p, n, SQLITE_TRANSIENT, SQLITE_UTF8);
      break;
    case VECDB_BLOB:
      p = vecdb_column_blob(s, i);
      n = vecdb_column_bytes(s, i);
      sqlite3_result_blob64(ctx, p ? p : "", n, SQLITE_TRANSIENT);
      break;
    case VECDB_VECTOR:
      p = vecdb_column_vector(s, i, &n);
      if( p==NULL ) return stored_null(t, s);
      sqlite3_result_blob64(ctx, p, n, SQLITE_TRANSIENT);
      sqlite3_result_subtype(ctx, (unsigned)vdb_vec_subtype_of_element(
                                                  (int)c->info.element));
      break;
    default:
      return stored_null(t, s);
  }
  return SQLITE_OK;
}

static int cursor_column(sqlite3_vtab_cursor *cur, sqlite3_context *ctx,
                         int i){
  struct sql_cursor *c = (struct sql_cursor*)cur;
  struct sql_table *t = (struct sql_table*)cur->pVtab;
  int hid = vdb_table_hidden(t, i);

  t->match_column = -1;
  if( sqlite3_vtab_nochange(ctx) ) return SQLITE_OK;
  if( hid==HID_DISTANCE ){
    if( c->is_knn ) sqlite3_result_double(ctx, c->distance);
  }else if( hid>=0 ){
    if( c->echo[hid] ) sqlite3_result_value(ctx, c->echo[hid]);
  }else if( i<t->n_col ){
    if( c->is_knn && i==c->match_column ) t->match_column = i;
    return result_stored(ctx, t, c->mmr ? vdb_mmr_row(c->mmr) : c->stmt, i);
  }
  return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *cur, sqlite3_int64 *rowid){
  struct sql_cursor *c = (struct sql_cursor*)cur;
  struct sql_table *t = (struct sql_table*)cur->pVtab;
  if( t->has_text_key ){
    *rowid = c->n_row;
    return SQLITE_OK;
  }
  *rowid = vecdb_column_int64(c->mmr ? vdb_mmr_row(c->mmr) : c->stmt, 0);
  return SQLITE_OK;
}

/* ---- Functions over a column -------------------------------------------- */

/* SQLite evaluates MATCH itself where it cannot give it to xBestIndex, and
** also to check a constraint again. The latter asks about the value just read
** from a cursor that searched this column, and that did match. */
static void fn_match(sqlite3_context *ctx, int n, sqlite3_value **a){
  struct sql_table *t = sqlite3_user_data(ctx);
  char *msg;
  (void)n;
  (void)a;
  if( t->match_column>=0 ){
    sqlite3_result_int(ctx, 1);
    return;
  }
  msg = sqlite3_mprintf("MATCH on table \"%s\" must be a top-level AND term, "
                        "or in the ON clause of a LEFT JOIN", t->name);
  if( msg ) sqlite3_result_error(ctx, msg, -1);
  else sqlite3_result_error_nomem(ctx);
  sqlite3_free(msg);
}

static int table_find_function(sqlite3_vtab *vtab, int n_arg, const char *name,
                   void (**fn)(sqlite3_context*, int, sqlite3_value**),
                   void **arg){
  if( n_arg!=2 ) return 0;
  if( sqlite3_stricmp(name, "match")==0 ){
    *fn = fn_match;
    *arg = vtab;
    return 1;
  }
  *arg = NULL;
  if( sqlite3_stricmp(name, "vecdb_not_in")==0 ){
    *fn = vdb_fn_not_in;
    return FUNC_NOT_IN;
  }
  if( sqlite3_stricmp(name, "vecdb_not_like")==0 ){
    *fn = vdb_fn_not_like;
    return FUNC_NOT_LIKE;
  }
  return 0;
}

/* ---- Transactions ------------------------------------------------------- */

static int table_begin(sqlite3_vtab *vtab){
  struct sql_table *t = (struct sql_table*)vtab;
  int rc = vdb_table_usable(t);
  if( rc!=SQLITE_OK ) return rc;
  return vdb_conn_begin(t->conn, t->schema, &vtab->zErrMsg);
}
static int table_sync(sqlite3_vtab *vtab){
  return vdb_conn_sync(((struct sql_table*)vtab)->conn, &vtab->zErrMsg);
}
static int table_commit(sqlite3_vtab *vtab){
  vdb_conn_commit(((struct sql_table*)vtab)->conn);
  return SQLITE_OK;
}
static int table_rollback(sqlite3_vtab *vtab){
  vdb_conn_rollback(((struct sql_table*)vtab)->conn);
  return SQLITE_OK;
}
static int table_savepoint(sqlite3_vtab *vtab, int i){
  return vdb_conn_savepoint(((struct sql_table*)vtab)->conn, i,
                            &vtab->zErrMsg);
}
static int table_release(sqlite3_vtab *vtab, int i){
  return vdb_conn_release(((struct sql_table*)vtab)->conn, i, &vtab->zErrMsg);
}
static int table_rollback_to(sqlite3_vtab *vtab, int i){
  return vdb_conn_rollback_to(((struct sql_table*)vtab)->conn, i,
                              &vtab->zErrMsg);
}

static const sqlite3_module table_module = {
  .iVersion = 3,
  .xCreate = table_create,
  .xConnect = table_connect,
  .xBestIndex = vdb_plan_best_index,
  .xDisconnect = table_disconnect,
  .xDestroy = table_destroy,
  .xOpen = cursor_open,
  .xClose = cursor_close,
  .xFilter = vdb_cursor_filter,
  .xNext = vdb_cursor_next,
  .xEof = cursor_eof,
  .xColumn = cursor_column,
  .xRowid = cursor_rowid,
  .xUpdate = vdb_table_update,
  .xBegin = table_begin,
  .xSync = table_sync,
  .xCommit = table_commit,
  .xRollback = table_rollback,
  .xFindFunction = table_find_function,
  .xRename = table_rename,
  .xSavepoint = table_savepoint,
  .xRelease = table_release,
  .xRollbackTo = table_rollback_to,
  .xShadowName = table_shadow_name,
};

int vdb_table_register(struct sql_state *st){
  int rc = vdb_register_module(st, "vecdb", &table_module);
  if( rc==SQLITE_OK ) rc = vdb_register_module(st, "vec0", &table_module);
  return rc;
}
