/* vtab_make.c -- making, connecting, dropping and renaming tables.
**
** A table lives in shadow tables of its database (host.c) or, with file=, in a
** collection of a .vdb file. The column list belongs to the collection; CREATE
** VIRTUAL TABLE makes one, or, when the collection of the file exists, attaches
** to it (with columns given, they must be the collection's). DROP drops the
** collection, unless the command 'detach' was run before.
**
** BROKEN   A table whose storage is gone or damaged still connects, with the
**          columns its text gives, so that it can be dropped; whatever else is
**          done with it reports what is missing.
*/
#include "sql/vtab_int.h"

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
  vecdb_finalize(t->search);
  sqlite3_free(t->search_signature);
  t->search = NULL;
  t->search_signature = NULL;
}

static void table_free(struct sql_table *t){
  struct sql_table **pp;
  int i;
  if( t==NULL ) return;
  for(pp=&t->st->tables; *pp && *pp!=t; pp=&(*pp)->next){}
  if( *pp ) *pp = t->next;
  vdb_table_forget_statements(t);
  vdb_capture_free(t->capture);
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
  t->is_hosted = args->file==NULL
              && (st->default_file==NULL || vdb_host_is_file(st->db, argv[1]));
  t->schema = vdb_sql_strdup(argv[1]);
  t->name = vdb_sql_strdup(argv[2]);
  t->collection = vdb_sql_strdup(args->collection ? args->collection : argv[2]);
  if( t->schema==NULL || t->name==NULL || t->collection==NULL ){
    return SQLITE_NOMEM;
  }
  return SQLITE_OK;
}

/* ---- Create and connect ------------------------------------------------- */

/* A confined connection knows one file. */
static int path_confine(struct sql_state *st, char **path, char **err){
  char *own = NULL;
  int rc = vdb_args_path(st->db, "temp", st->default_file ? st->default_file
                                                          : "", &own, err);
  if( rc==SQLITE_OK && strcmp(own, *path)!=0 ){
    rc = vdb_sql_fail(err, SQLITE_AUTH, "cannot open \"%s\": the connection is "
                      "confined to \"%s\"", *path, own);
  }
  if( rc!=SQLITE_OK ){
    sqlite3_free(*path);
    *path = NULL;
  }
  sqlite3_free(own);
  return rc;
}

static int find_path(struct sql_state *st, const char *schema,
                     const struct sql_args *args, char **path, char **err){
  int rc;

  if( args->file && st->files==FILES_OFF ){
    return vdb_sql_fail(err, SQLITE_AUTH, "cannot open \"%s\": file= is "
                        "switched off, vecdb_config('files','off')",
                        args->file);
  }
  if( args->file==NULL ){
    return vdb_args_path(st->db, "temp", st->default_file, path, err);
  }
  rc = vdb_args_path(st->db, schema, args->file, path, err);
  if( rc==SQLITE_OK && st->files==FILES_CONFINED ){
    rc = path_confine(st, path, err);
  }
  return rc;
}

static int is_readonly(struct sql_state *st, const char *schema){
  return st->is_readonly || sqlite3_db_readonly(st->db, schema)==1;
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
  if( is_readonly(st, t->schema) ) flags = VECDB_OPEN_READONLY;
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
  if( rc==VECDB_NOTFOUND && t->is_hosted ){
    return vdb_sql_fail(err, SQLITE_CORRUPT_VTAB, "the shadow tables of table "
                        "\"%s\" have no rows and columns in them", t->name);
  }
  if( rc==VECDB_NOTFOUND ){
    return vdb_sql_fail(err, SQLITE_ERROR, "no collection \"%s\" in \"%s\"",
                    t->collection, t->conn->path);
  }
  return rc==VECDB_OK ? SQLITE_OK : vdb_conn_error(t->conn, rc, err);
}

/* Beside the rows there may be what is measured of them, named by us. */
static int take_name(void *arg, const char *name, const char *schema){
  char **out = arg;
  (void)schema;
  if( sqlite3_strnicmp(name, "vecdb_", 6)==0 ) return 0;
  *out = vdb_sql_strdup(name);
  return 1;
}

/* The rows of a table are a collection of its name, unless somebody has renamed
** the shadow tables by hand: then they are the one that is there. */
static int open_hosted(struct sql_table *t, char **err){
  char *name = NULL;
  int rc = vecdb_collection_open(t->conn->eng, t->collection, &t->coll);
  if( rc==VECDB_OK ) return SQLITE_OK;
  if( rc!=VECDB_NOTFOUND ) return vdb_conn_error(t->conn, rc, err);
  rc = vecdb_list_collections(t->conn->eng, take_name, &name);
  if( rc!=VECDB_OK ) return vdb_conn_error(t->conn, rc, err);
  if( name ){
    sqlite3_free(t->collection);
    t->collection = name;
  }
  return open_collection(t, err);
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

static int connect_hosted(struct sql_state *st, struct sql_table *t,
                          char **err){
  uint32_t flags = is_readonly(st, t->schema) ? VECDB_OPEN_READONLY
                                              : VECDB_OPEN_READWRITE;
  int rc = vdb_host_open(st, t->schema, t->name, flags, &t->conn, err);
  if( rc==SQLITE_CORRUPT_VTAB
   && vdb_vec0_is_foreign(st->db, t->schema, t->name) ){
    return vdb_sql_fail(err, SQLITE_ERROR, "table \"%s\" was created by "
        "sqlite-vec; run SELECT vecdb_convert('%s')", t->name, t->name);
  }
  return rc==SQLITE_OK ? open_hosted(t, err) : rc;
}

static int table_connect_existing(struct sql_state *st, struct sql_table *t,
                                  const struct sql_args *args, char **err){
  int rc, rc2;
  if( t->is_hosted ){
    SQL_TRY( connect_hosted(st, t, err) );
  }else{
    SQL_TRY( open_file(st, t, args, 0, err) );
    SQL_TRY( open_collection(t, err) );
  }
  SQL_TRY( vdb_table_check_columns(t, args->schema, err) );
  rc = vdb_table_read_columns(t, t->coll, err);
done:
  if( rc!=SQLITE_OK && !is_passing(rc) && args->schema[0] && t->cols==NULL ){
    rc2 = vdb_table_break(t, args->schema, rc, err);
    if( rc2==SQLITE_OK ) rc = rc2;
  }
  return rc;
}

/* What makes no sense for a table stored in its database. */
static int check_hosted_args(const struct sql_args *args, char **err){
  if( args->collection ){
    return vdb_sql_fail(err, SQLITE_ERROR, "collection= names a collection of "
                        "a file; give file='name.vdb' with it");
  }
  if( args->durability ){
    return vdb_sql_fail(err, SQLITE_ERROR, "durability= is about two files; "
        "without file= PRAGMA synchronous decides");
  }
  if( args->is_background ){
    return vdb_sql_fail(err, SQLITE_ERROR, "optimize=background needs "
        "file='name.vdb': only the writer of a SQLite database can change it");
  }
  return SQLITE_OK;
}

static int table_create_hosted(struct sql_state *st, struct sql_table *t,
                               const struct sql_args *args, char **err){
  int rc;
  SQL_TRY( check_hosted_args(args, err) );
  SQL_TRY( vdb_host_create(st, t->schema, t->name, &t->conn, err) );
  rc = vecdb_create_collection(t->conn->eng, t->collection, args->schema);
  if( rc!=VECDB_OK ) return vdb_conn_error(t->conn, rc, err);
  vdb_conn_changed(t->conn);
  SQL_TRY( open_collection(t, err) );
  rc = vdb_table_read_columns(t, t->coll, err);
done:
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
  if( !*is_new ) SQL_TRY( vdb_table_check_columns(t, args->schema, err) );
  rc = vdb_table_read_columns(t, t->coll, err);
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
  if( is_create && t->is_hosted ){
    SQL_TRY( table_create_hosted(st, t, &args, err) );
  }else if( is_create ){
    SQL_TRY( table_create_new(st, t, &args, &is_new, err) );
  }else{
    SQL_TRY( table_connect_existing(st, t, &args, err) );
  }
  SQL_TRY( vdb_table_declare(db, t, err) );
  sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
  /* A database that somebody else made must not reach files of ours by a view
  ** or a trigger. */
  if( t->is_hosted ){
    sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
  }else if( vdb_host_is_file(db, t->schema)
         && st->files!=FILES_TRUSTED ){
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

/* The words of sqlite-vec, if the arguments are none of a table. They are
** looked for first: argv is gone after a failure, since a nested CREATE TABLE
** that fails resets the schema. */
int vdb_table_create(sqlite3 *db, void *aux, int argc, const char *const *argv,
                     sqlite3_vtab **out, char **err){
  struct sql_state *st = aux;
  char *words = NULL;
  int rc = SQLITE_ERROR;

  if( sqlite3_stricmp(argv[0], "vec0")!=0 ){
    return table_make(db, st, argc, argv, 1, out, err);
  }
  words = vdb_vec0_constructor_sentence(argv[2], argc - 3, argv + 3,
                                        st->vec0_is_strict);
  if( words==NULL ) rc = table_make(db, st, argc, argv, 1, out, err);
  if( rc!=SQLITE_OK && (words || *err) ){
    *err = sqlite3_mprintf("vec0 constructor error: %z", words ? words : *err);
  }
  return rc;
}

int vdb_table_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                      sqlite3_vtab **out, char **err){
  return table_make(db, aux, argc, argv, 0, out, err);
}

int vdb_table_disconnect(sqlite3_vtab *vtab){
  table_free((struct sql_table*)vtab);
  return SQLITE_OK;
}

/* ---- Drop, detach, rename ----------------------------------------------- */

int vdb_table_destroy(sqlite3_vtab *vtab){
  struct sql_table *t = (struct sql_table*)vtab;
  char *err = NULL;
  int rc = SQLITE_OK, was_detached = 0;

  if( !t->is_hosted ) SQL_TRY( vdb_detach_take(t, &was_detached) );
  if( t->is_hosted ){
    vdb_table_forget_statements(t);
    if( t->broken && !t->st->is_converting
     && vdb_vec0_is_foreign(t->st->db, t->schema, t->name) ){
      SQL_TRY( vdb_vec0_drop_shadow(t->st->db, t->schema, t->name, &err) );
    }
    SQL_TRY( vdb_host_drop(t->conn, t->st, t->schema, t->name, &err) );
  }else if( !was_detached && t->broken==NULL ){
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
int vdb_table_rename(sqlite3_vtab *vtab, const char *name){
  struct sql_table *t = (struct sql_table*)vtab;
  char *copy;
  int rc = t->is_hosted ? SQLITE_OK : vdb_detach_rename(t, name);

  if( rc!=SQLITE_OK || (t->is_named && !t->is_hosted) ) return rc;
  rc = vdb_table_usable(t);
  if( rc!=SQLITE_OK ) return rc;
  copy = vdb_sql_strdup(name);
  if( copy==NULL ) return SQLITE_NOMEM;
  vdb_table_forget_statements(t);
  if( t->is_hosted ){
    SQL_TRY( vdb_host_rename(t->conn, name, &vtab->zErrMsg) );
  }else{
    SQL_TRY( vdb_guard_begin(t->conn, t->schema, &vtab->zErrMsg) );
  }
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
