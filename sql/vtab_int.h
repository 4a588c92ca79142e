/* vtab_int.h -- what the files of the SQLite extension share.
**
** Private to sql/. The extension knows the engine through vecdb.h alone and
** SQLite through sqlite3ext.h; its memory is SQLite's.
**
**   init.c         entry points, what is registered and what is not
**   vec_value.c    a vector out of a sqlite3_value
**   vec_func.c     the scalar functions vec_*
**   vec_each.c     the table-valued function vec_each
**   mmr.c          the choice of rows that are near, and far from each other
**   vec_mmr.c      the aggregate vecdb_mmr
**   vtab_args.c    arguments of CREATE VIRTUAL TABLE that are not columns
**   vtab_conn.c    one engine handle per (connection, file); transactions
**   host.c, host_txn.c   storage in shadow tables of the SQLite database
**   vec0_sentences.c, vec0_strict.c   the words and limits of sqlite-vec
**   vec0_convert.c tables of sqlite-vec, and turning them into ours
**   vtab_token.c   the host table vecdb_txn and the two-phase protocol
**   vtab_durable.c when a commit of the host is on disk
**   vtab_detach.c  tables whose DROP keeps the collection
**   vtab_guard.c   keeps CREATE, DROP and RENAME inside the transaction
**   vtab.c         the modules: cursors, columns, transactions
**   vtab_make.c    CREATE, connect, DROP, RENAME
**   vtab_columns.c what columns a table has
**   vtab_plan.c    xBestIndex
**   vtab_sentence.c alone encodes and decodes plans
**   vtab_filter.c  xFilter: a plan and its values become engine statements
**   vtab_request.c k, hints, JSON arguments: what a search is asked for
**   vtab_term.c    WHERE terms become filter text, parameters and keys
**   vtab_audit.c   recall measured against exact searches
**   vtab_recall.c  vecdb_recall, vecdb_audits, the command calibrate
**   vtab_capture.c an opt-in ring of queries
**   vtab_tune.c    vecdb_tune, the command tune
**   vtab_mmr.c     re-ranking for mmr_lambda
**   vtab_write.c   xUpdate
**   vtab_cmd.c     INSERT INTO t(t) VALUES(command)
**   vtab_rows.c    table-valued functions that fill a small table at once
**   vtab_info.c    vecdb_stats, _check, _last_query, _knn, _within; scalars
**
** Threads   everything here runs under the mutex of its SQLite connection.
** Errors    functions return SQLite codes; those that take `char **err` put a
**           sentence there, which the caller frees with sqlite3_free.
*/
#ifndef VDB_VTAB_INT_H
#define VDB_VTAB_INT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifndef VDB_SQL_INIT
# include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#endif
#include "vecdb.h"

/* Stop at the first failure: needs `int rc` and the label `done`. */
#define SQL_TRY(expr) \
  do { if( (rc = (expr))!=SQLITE_OK ) goto done; } while(0)

/* Since 3.45 SQLite wants to know which functions set a subtype. */
#ifndef SQLITE_RESULT_SUBTYPE
# define SQLITE_RESULT_SUBTYPE 0x001000000
#endif

/* ---- Vectors as SQL values (vec_value.c, vec_func.c, vec_each.c) -------- */

enum {                        /* subtypes that tell what a BLOB holds */
  SUBTYPE_F32 = 223, SUBTYPE_BIT = 224, SUBTYPE_I8 = 225,
  SUBTYPE_F16 = 226, SUBTYPE_BF16 = 227, SUBTYPE_U8 = 228,
  SUBTYPE_JSON = 74
};

struct sql_vec {
  int element;                /* VECDB_F32, .. */
  size_t n_dim;               /* elements; bits of a bit vector */
  size_t sz;                  /* bytes at p */
  const void *p;              /* into the value, or owned; any alignment */
  void *owned;                /* freed by vdb_vec_clear */
};

/* Read a vector. element 0: its subtype says, else float32. err gets the
** sentence of sqlite-vec. The value must outlive *out. */
int vdb_vec_read(sqlite3_value *v, int element, struct sql_vec *out,
                 char **err);
void vdb_vec_clear(struct sql_vec *v);
int vdb_vec_element_of_subtype(int subtype);     /* 0: not a vector */
int vdb_vec_subtype_of_element(int element);
const char *vdb_vec_element_name(int element);   /* "float32", "bit", .. */
/* Element i as a number; of a bit vector 0 or 1. */
double vdb_vec_at(const struct sql_vec *v, size_t i);
const char *vdb_value_type_name(sqlite3_value *v); /* "INTEGER", "NULL", .. */

struct sql_state;
int vdb_vec_register(struct sql_state *st);      /* the scalar functions */
int vdb_vec_mmr_register(struct sql_state *st);  /* vecdb_mmr */
extern const sqlite3_module vdb_vec_each_module;

/* ---- The connection ----------------------------------------------------- */

struct sql_table;

/* What the last search of this connection did (vecdb_last_query). */
struct sql_last {
  char *plan;                 /* idxStr of it */
  char *table;                /* "schema.table" */
  char *filter;               /* text given to the engine, or NULL */
  sqlite3_int64 k;            /* rows asked for; -1: all */
  sqlite3_int64 n_row;        /* rows given to SQLite */
  sqlite3_int64 n_run;        /* engine searches, more than 1 in a stream */
  int is_exact;               /* the engine was told to be exact */
  vecdb_search_info info;     /* what the engine did; plan NULL: not yet */
};

/* Tables with file= can be used by top-level statements alone; by views and
** triggers, too; or not at all; or as at first, but only with the default
** file, and this, once said, stays (for SQL that nobody vouches for). */
enum { FILES_DIRECT, FILES_TRUSTED, FILES_OFF, FILES_CONFINED };

/* State of the extension in one SQLite connection; owned by everything that
** is registered there. */
struct sql_state {
  sqlite3 *db;
  int n_ref;
  int has_others;             /* functions or modules vec* were there before */
  int vec0_is_other;          /* the module vec0 is not ours */
  int vec0_is_strict;         /* VECDB_STRICT_VEC0: refuse what upstream does */
  int is_converting;          /* DROP leaves the tables of sqlite-vec */
  struct sql_conn *conns;     /* open .vdb files */
  struct sql_table *tables;   /* connected tables */
  char *default_file;         /* for CREATE without file=, or NULL */
  int files;                  /* FILES_*: what file= may do */
  sqlite3_int64 cache_bytes;  /* budget of a table stored in its database */
  sqlite3_int64 build_bytes;  /* memory of building a graph; 0: the default */
  int is_readonly;            /* open files for reading only */
  const struct vecdb_file_ops *file;  /* not NULL: replaces the OS (tests) */
  int gpu;                    /* VECDB_GPU_*, for files to be opened */
  volatile int *interrupted;  /* not 0 there: stop; NULL: nobody asks */
  vecdb_progress_fn *progress;/* called with this pointer while a long
                              ** measurement runs; NULL: nobody asks */
  int i_level;                /* innermost savepoint, as the guard knows; -1 */
  struct sql_last last;
};
void vdb_state_unref(void *st);

/* An open .vdb, shared by all tables of a connection that live in it; or one
** table that is stored in its SQLite database. */
struct sql_host;
struct sql_conn {
  struct sql_conn *next;
  struct sql_state *st;
  vecdb *eng;
  char *path;                 /* absolute; with st, the key of this struct */
  struct sql_host *store;     /* pages are rows of shadow tables; NULL: file */
  char *host;                 /* schema that owns the commits; NULL: one-phase*/
  sqlite3_stmt *read_token;   /* asks it for the token; kept between reads */
  int n_ref;                  /* tables, and 1 while in a transaction */
  int in_txn;                 /* the engine's write transaction is open */
  int is_dirty;               /* something was changed in it */
  int is_away;                /* the engine's has ended before it */
  int is_prepared;            /* xSync has prepared exactly these changes */
  int is_undoable;            /* the host may lose the open transaction's .. */
  int needs_folder;           /* .. commit; its folder must be synced */
  int is_pinned;              /* the read transaction of the cursors is open */
  int n_cursor;               /* open cursors with a running statement */
  int i_mark;                 /* newest engine savepoint, -1: none */
  unsigned char host_uuid[16];
  unsigned char file_uuid[16];
  uint64_t token;             /* of the open transaction, if host */
};

enum { DURABILITY_FULL = 1, DURABILITY_RELAXED = 2 };

/* Where a table lives and what the engine is told about it. */
struct sql_args {
  char *file;                 /* file=, or NULL */
  char *collection;           /* collection=, or NULL */
  int durability;             /* durability=: DURABILITY_*, 0 when not given */
  char *schema;               /* the other arguments, joined; "" when none */
  int is_background;          /* optimize=background is among them */
};
int vdb_args_parse(int argc, const char *const *argv, struct sql_args *out,
                   char **err);
void vdb_args_clear(struct sql_args *a);
/* Absolute path of `file` as seen from schema `schema`. */
int vdb_args_path(sqlite3 *db, const char *schema, const char *file,
                  char **path, char **err);
/* True if the schema is stored in a file (else memory or temp). */
int vdb_host_is_file(sqlite3 *db, const char *schema);

/* Find or open; the caller owns one reference. schema is the one whose table
** lives there; open_flags are VECDB_OPEN_*. */
int vdb_conn_open(struct sql_state *st, const char *path, const char *schema,
                  uint32_t open_flags, struct sql_conn **out, char **err);
void vdb_conn_unref(struct sql_conn *c);
/* A handle without an engine yet, and making it known; path names it. */
int vdb_conn_alloc(struct sql_state *st, const char *path,
                   struct sql_conn **out);
void vdb_conn_list(struct sql_conn *c);
/* End the read transaction of the cursors, if it is open. */
void vdb_conn_unpin(struct sql_conn *c);
/* Let the engine look at st->interrupted while it works. */
void vdb_conn_watch_interrupt(struct sql_conn *c);
/* The transaction callbacks of SQLite; begin may be called at any time before
** a change and does nothing in an open transaction. */
int vdb_conn_begin(struct sql_conn *c, const char *schema, char **err);
int vdb_conn_sync(struct sql_conn *c, char **err);
/* Begin a transaction that makes this host the owner of the file as it is. */
int vdb_conn_adopt(struct sql_conn *c, char **err);
void vdb_conn_commit(struct sql_conn *c);
void vdb_conn_rollback(struct sql_conn *c);
int vdb_conn_savepoint(struct sql_conn *c, int i, char **err);
int vdb_conn_release(struct sql_conn *c, int i, char **err);
int vdb_conn_rollback_to(struct sql_conn *c, int i, char **err);
void vdb_conn_changed(struct sql_conn *c);
/* A transaction with nothing in it and nothing around it can be left, so that
** the engine may do something on its own, and come back to. */
int vdb_conn_is_fresh(const struct sql_conn *c);
void vdb_conn_leave(struct sql_conn *c);
int vdb_conn_return(struct sql_conn *c, char **err);
/* Around a statement that reads: the snapshot that belongs to the host's. */
int vdb_conn_begin_read(struct sql_conn *c, char **err);
void vdb_conn_end_read(struct sql_conn *c);

/* The engine's last error as SQLite code; *err (may be NULL) its sentence. */
int vdb_conn_error(struct sql_conn *c, int engine_rc, char **err);
int vdb_sql_code(int engine_rc);

#define VDB_HOST_CACHE_DEFAULT ((sqlite3_int64)1 << 30)
#define VDB_BUILD_BYTES_MIN (1 << 20)   /* as vecdb_set has it */
/* host.c, host_txn.c: storage in shadow tables. open finds the handle of a
** table or makes one; the caller owns a reference. create makes the shadow
** tables, too, and begins a transaction. drop works without a handle. */
int vdb_host_open(struct sql_state *st, const char *schema, const char *name,
                  uint32_t flags, struct sql_conn **out, char **err);
int vdb_host_create(struct sql_state *st, const char *schema, const char *name,
                    struct sql_conn **out, char **err);
int vdb_host_drop(struct sql_conn *c, struct sql_state *st, const char *schema,
                  const char *name, char **err);
/* Rename the shadow tables; begins a transaction. */
int vdb_host_rename(struct sql_conn *c, const char *name, char **err);
/* What vdb_conn_.. of a handle with a store do; engine codes from commit and
** rollback. */
/* Undo what SQLite rolled back while the engine was at work. */
int vdb_host_settle(struct sql_conn *c, char **err);
int vdb_host_lock(struct sql_conn *c, char **err);
int vdb_host_sync(struct sql_conn *c, char **err);
int vdb_host_commit(struct sql_conn *c);
int vdb_host_rollback(struct sql_conn *c);
int vdb_host_rollback_to(struct sql_conn *c, int i, char **err);
void vdb_host_release(struct sql_conn *c, int i);
/* The last failure of SQLite, if the engine's is that; else SQLITE_OK. */
int vdb_host_error(struct sql_conn *c, int engine_rc, char **err);
/* Before the engine is closed: nothing is written any more. */
void vdb_host_abandon(struct sql_host *h);
void vdb_host_free(struct sql_host *h);

/* vec0_sentences.c: the words of sqlite-vec, from sqlite3_malloc, or NULL. Why
** the arguments are no table; a value that does not fit its column. */
struct sql_column;
char *vdb_vec0_constructor_sentence(const char *table, int argc,
                                    const char *const *argv, int is_strict);
char *vdb_vec0_value_sentence(const struct sql_column *c, sqlite3_value *v);
/* vec0_strict.c */
int vdb_vec0_is_strict(void);
int vdb_vec0_strict_plan(struct sql_table *t, sqlite3_index_info *info);
int vdb_vec0_strict_k(struct sql_table *t, sqlite3_int64 k);

/* vec0_convert.c: tables of sqlite-vec. Dropping their shadow tables;
** replacing the table "t" or "schema.t" by ours. */
int vdb_vec0_is_foreign(sqlite3 *db, const char *schema, const char *name);
int vdb_vec0_drop_shadow(sqlite3 *db, const char *schema, const char *name,
                         char **err);
int vdb_vec0_convert(struct sql_state *st, const char *arg, char **err);

/* vtab_token.c */
int vdb_token_create_table(struct sql_conn *c, const char *schema, char **err);
/* H and the uuid of the host, as its open transaction sees them; *known = 0
** when there is no row for this file. */
int vdb_token_read(struct sql_conn *c, int *known, uint64_t *token, char **err);
int vdb_token_write(struct sql_conn *c, uint64_t token, char **err);
/* True if the host, asked anew, has this token. */
int vdb_token_is_current(struct sql_conn *c, uint64_t token);
/* Decide a transaction left in doubt by a process that died. */
int vdb_token_resolve(struct sql_conn *c, char **err);
int vdb_token_check_owner(struct sql_conn *c, int known, uint64_t token,
                          char **err);

/* vtab_durable.c */
/* How the open transaction will be decided; READONLY when durability=full
** cannot be had. */
int vdb_durable_choose(struct sql_conn *c, char **err);
/* Make what the host has committed durable. */
int vdb_durable_sync(struct sql_conn *c);
/* Let the engine call it: this host owns the file's commits. */
void vdb_durable_offer(struct sql_conn *c);
/* The host has committed: what vecdb_decide is told. */
int vdb_durable_decision(struct sql_conn *c);

/* vtab_guard.c */
int vdb_guard_register(struct sql_state *st);
/* Make SQLite call the transaction callbacks from now on. */
int vdb_guard_join(struct sql_state *st, char **err);
/* Begin a transaction in which no table of SQLite's takes part. */
int vdb_guard_begin(struct sql_conn *c, const char *schema, char **err);

/* ---- Tables ------------------------------------------------------------- */

enum {                        /* hidden columns, by meaning */
  HID_TABLE, HID_ARGS, HID_DISTANCE, HID_K, HID_EF, HID_RECALL, HID_EXACT,
  HID_FILTER, HID_MMR, HID_N
};

struct sql_column {
  char *name;
  vecdb_column_info info;     /* its name is `name` */
};

struct sql_table {
  sqlite3_vtab base;          /* first: SQLite's part */
  struct sql_table *next;     /* in state->tables */
  struct sql_state *st;
  struct sql_conn *conn;
  vecdb_collection *coll;     /* NULL: could not be opened */
  char *broken;               /* why not; the table can only be dropped */
  int rc_broken;              /* the code for that */
  int is_hosted;              /* stored in shadow tables of its database */
  char *schema, *name;        /* of the virtual table in SQLite */
  char *collection;           /* its name in the file */
  int is_named;               /* collection= was given */
  int is_vec0;                /* created by the module vec0 */
  int durability;             /* DURABILITY_*, or 0 */
  int n_col;                  /* columns of the collection, key included */
  struct sql_column *cols;
  int has_text_key;
  int n_hidden;
  int hidden[HID_N];          /* meaning of column n_col + i */
  vecdb_stmt *insert[2];      /* plain, or replace; kept between rows */
  vecdb_stmt *update, *remove;
  vecdb_stmt *search;         /* of a cursor that was closed, for the next one */
  char *search_signature;     /* what it was prepared for */
  int match_column;           /* vector column a KNN cursor has just read */
  struct sql_capture *capture;  /* queries kept; NULL: not known yet */
};
int vdb_table_hidden(const struct sql_table *t, int i_col); /* HID_*, or -1 */
const char *vdb_table_hidden_name(int hid);
int vdb_table_column_of(const struct sql_table *t, int hid);
/* Take the engine's error as this table's message. */
int vdb_table_error(struct sql_table *t, int engine_rc);
int vdb_table_set_error(struct sql_table *t, int rc, char *msg);
/* SQLITE_OK, or the error of a table that can only be dropped. */
int vdb_table_usable(struct sql_table *t);
void vdb_table_forget_statements(struct sql_table *t);
/* vtab_detach.c: the next DROP of this table keeps the collection. */
int vdb_table_detach(struct sql_table *t);
int vdb_detach_take(struct sql_table *t, int *was_detached);
int vdb_detach_rename(struct sql_table *t, const char *name_to);
/* vtab_make.c: methods of the module */
int vdb_table_create(sqlite3 *db, void *aux, int argc, const char *const *argv,
                     sqlite3_vtab **out, char **err);
int vdb_table_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                      sqlite3_vtab **out, char **err);
int vdb_table_disconnect(sqlite3_vtab *vtab);
int vdb_table_destroy(sqlite3_vtab *vtab);
int vdb_table_rename(sqlite3_vtab *vtab, const char *name);
/* vtab_columns.c: tell SQLite the columns; take them from the collection;
** compare it with a text; and, for a table that is broken, with *err as the
** reason, take them from a text. */
int vdb_table_declare(sqlite3 *db, struct sql_table *t, char **err);
int vdb_table_read_columns(struct sql_table *t, vecdb_collection *coll,
                           char **err);
int vdb_table_check_columns(struct sql_table *t, const char *schema,
                            char **err);
int vdb_table_break(struct sql_table *t, const char *schema, int rc,
                    char **err);
/* The connected table "t" or "schema.t"; connects it when needed. */
int vdb_table_find(struct sql_state *st, const char *name,
                   struct sql_table **out, char **err);
int vdb_table_register(struct sql_state *st);
/* vecdb_not_in(column, json), vecdb_not_like(column, pattern) */
void vdb_fn_not_in(sqlite3_context *ctx, int n, sqlite3_value **a);
void vdb_fn_not_like(sqlite3_context *ctx, int n, sqlite3_value **a);

/* ---- Plans -------------------------------------------------------------- */

enum { PLAN_SCAN = 0, PLAN_POINT = 1, PLAN_PK = 2, PLAN_KNN = 3,
       PLAN_WITHIN = 4, PLAN_FILTER = 5 };
enum { PATH_FLAT, PATH_GRAPH, PATH_IVF, PATH_EXACT };
enum { BOUND_K, BOUND_LIMIT, BOUND_LIMIT_OFFSET, BOUND_K_LIMIT,
       BOUND_K_LIMIT_OFFSET, BOUND_STREAM };
enum { HINT_EF, HINT_RECALL, HINT_EXACT, HINT_MMR, HINT_ARGS, HINT_N };
enum { SECT_DISTANCE, SECT_PK, SECT_PARTITION, SECT_FILTER, SECT_AUX,
       SECT_EXPR, SECT_N };
enum { TERM_EQ, TERM_IS, TERM_LT, TERM_LE, TERM_GT, TERM_GE, TERM_NE,
       TERM_ISNOT, TERM_LIKE, TERM_GLOB, TERM_IN, TERM_NOT_IN, TERM_NOT_LIKE,
       TERM_N };
enum { COLL_BINARY, COLL_NOCASE, COLL_RTRIM };

struct plan_term {
  int section;                /* SECT_* */
  int col;                    /* column; unused in DISTANCE and EXPR */
  int op;                     /* TERM_* */
  int coll;                   /* COLL_* */
  int i_con;                  /* constraint of xBestIndex; value of xFilter */
};

struct plan {
  int kind;                   /* PLAN_* = idxNum */
  int col;                    /* vector column of KNN and WITHIN */
  int path, bound;
  int i_query;                /* as i_con; -1: none */
  int i_bound[3];             /* k, limit, offset; -1: none */
  int i_hint[HINT_N];         /* -1: none */
  int n_term, n_term_max;
  struct plan_term *terms;    /* in order of section */
};
void vdb_plan_init(struct plan *p);
void vdb_plan_clear(struct plan *p);
int vdb_plan_add(struct plan *p, int section, int col, int op, int coll,
                 int i_con);
const char *vdb_plan_op_name(int op);   /* " IS NOT ", "<=", .. */
const char *vdb_plan_collation_name(int coll);
int vdb_plan_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info);
/* Write the plan into idxNum and idxStr, and which values it takes. */
int vdb_plan_encode(const struct sql_table *t, const struct plan *p,
                    sqlite3_index_info *info);
/* The plan that idxNum and idxStr say; i_* are positions in argv. */
int vdb_plan_decode(const struct sql_table *t, int idx_num,
                    const char *idx_str, struct plan *out);
enum { FUNC_NOT_IN = SQLITE_INDEX_CONSTRAINT_FUNCTION, FUNC_NOT_LIKE };

/* ---- Cursors ------------------------------------------------------------ */

/* What a search asks for: constraints and JSON arguments together. */
struct sql_request {
  sqlite3_int64 k;            /* -1: no bound */
  sqlite3_int64 limit;        /* LIMIT + OFFSET; -1: no bound */
  int is_empty;               /* some term can never be true */
  uint32_t ef;                /* 0: default */
  double recall;              /* 0: default */
  int is_exact;
  double mmr_lambda;          /* < 0: not asked for */
  uint32_t dist_flags;        /* VECDB_SEARCH_HAS_MIN .. */
  double dist_min, dist_max;
  int column;                 /* vector column */
  uint32_t said;              /* bit HINT_*: a value was given */
};

/* Filter text under construction, with the values of its parameters. */
struct sql_bound {
  sqlite3_str *text;          /* NULL before the first and after the last */
  int n, n_max;               /* parameters ?1.. */
  sqlite3_value **v;
  int has_keys;               /* the key set below restricts the rows */
  size_t n_key, n_key_max;
  int64_t *keys;              /* integer keys, ascending */
  char **text_keys;           /* or text keys */
};

struct sql_cursor {
  sqlite3_vtab_cursor base;   /* first: SQLite's part */
  int is_eof;
  int is_knn;                 /* rows have a distance */
  int is_reading;             /* counted in conn->n_cursor */
  int match_column;           /* vector column searched, if is_knn */
  vecdb_stmt *stmt;           /* the row is its current row */
  char *signature;            /* what stmt was prepared for */
  int has_text;               /* stmt has a filter */
  double distance;
  sqlite3_int64 n_row;        /* rows given so far */
  struct sql_stream *stream;  /* searches of growing k, or NULL */
  sqlite3_value *echo[HID_N]; /* what the query said of hidden columns */
  struct sql_mmr *mmr;        /* rows in the order to give, or NULL */
};
int vdb_cursor_filter(sqlite3_vtab_cursor *cur, int idx_num,
                      const char *idx_str, int argc, sqlite3_value **argv);
int vdb_cursor_next(sqlite3_vtab_cursor *cur);
void vdb_cursor_reset(struct sql_cursor *c);

/* Streams (vtab_stream.c): *k rows are wanted of the search at first; the next
** row, or an engine's error in *engine_rc. */
int vdb_stream_begin(struct sql_cursor *c, int is_approximate,
                     sqlite3_int64 *k);
int vdb_stream_next(struct sql_cursor *c, int *engine_rc);
void vdb_stream_end(struct sql_cursor *c);

/* ---- What is asked for (vtab_request.c) ---------------------------------- */

/* Set one hint, HINT_*, by name; NULL leaves the default. */
int vdb_request_hint(struct sql_table *t, struct sql_request *q, int hint,
                     sqlite3_value *v);
/* The second argument of t(query, json). */
int vdb_request_json(struct sql_table *t, struct sql_request *q,
                     struct sql_bound *b, sqlite3_value *json);
/* Narrow the window of distances by one comparison. */
void vdb_request_distance(struct sql_request *q, int op, sqlite3_value *v);
/* k, LIMIT and OFFSET. */
int vdb_request_bound(struct sql_table *t, const struct plan *p,
                      sqlite3_value **argv, struct sql_request *q);

/* ---- Terms (vtab_term.c) ------------------------------------------------ */

void vdb_bound_clear(struct sql_bound *b);
/* Add one term; *is_empty is set when it can never be true. */
int vdb_term_add(struct sql_table *t, const struct plan_term *term,
                 sqlite3_value *v, struct sql_bound *b, int *is_empty);
/* Add a text in the filter language. */
int vdb_term_add_expr(struct sql_table *t, const char *z, struct sql_bound *b);
/* The text so far, from sqlite3_malloc, or NULL when there is none. */
int vdb_bound_finish(struct sql_bound *b, char **text);
/* Bind parameters and keys to a search or scan. */
int vdb_bound_bind(struct sql_table *t, struct sql_bound *b, vecdb_stmt *s);
/* Bind one SQL value to a filter parameter or key of an engine statement. */
int vdb_bind_value(vecdb_stmt *s, int i, sqlite3_value *v);
/* The key as the engine's type; 0: no row can have it. */
int vdb_key_int(sqlite3_value *v, int64_t *key);
int vdb_key_bind(struct sql_table *t, vecdb_stmt *s, int i, sqlite3_value *v,
                 int *can_match);
/* Bind a vector to a column or the query. what: "inserted", "query", .. */
int vdb_bind_vector_value(struct sql_table *t, vecdb_stmt *s, int i, int col,
                          const char *what, sqlite3_value *v,
                          vecdb_free_fn lifetime);

/* ---- Re-ranking (vtab_mmr.c) -------------------------------------------- */
/* Read the running search of c to its end and order the best k rows. */
int vdb_mmr_collect(struct sql_cursor *c, sqlite3_int64 k, double lambda);
/* Go to the next of them: sets c->distance, *eof. */
int vdb_mmr_next(struct sql_cursor *c, int *eof);
/* Where the row's columns are read from. */
vecdb_stmt *vdb_mmr_row(struct sql_mmr *m);
void vdb_mmr_free(struct sql_mmr *m);

/* ---- Writing ------------------------------------------------------------ */
int vdb_table_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                     sqlite3_int64 *rowid);
/* Examine everything; CORRUPT_VTAB with the first finding. */
int vdb_table_check(struct sql_table *t, int is_quick, char **err);
int vdb_gpu_mode(const char *z);                 /* VECDB_GPU_* */
int vdb_table_command(struct sql_table *t, sqlite3_value *cmd,
                      sqlite3_value *args);

/* ---- Table-valued functions that are filled at once --------------------- */

struct sql_rows;
struct rows_def {
  const char *name;
  const char *declare;        /* CREATE TABLE x(..) with hidden arguments */
  int n_out, n_arg, n_arg_min;
  int (*fill)(struct sql_rows *r, int argc, sqlite3_value **argv, char **err);
};
struct sql_state *vdb_rows_state(struct sql_rows *r);
/* Add a row of n_out values; NULL text is NULL. */
int vdb_rows_begin(struct sql_rows *r);
int vdb_rows_text(struct sql_rows *r, int i, const char *z);
int vdb_rows_int(struct sql_rows *r, int i, sqlite3_int64 v);
int vdb_rows_real(struct sql_rows *r, int i, double x);
int vdb_rows_value(struct sql_rows *r, int i, sqlite3_value *v);
int vdb_rows_register(struct sql_state *st);
extern const struct rows_def *const vdb_rows_defs[];   /* NULL ends */
extern const struct rows_def vdb_recall_def, vdb_audits_def;  /* vtab_recall.c */
extern const struct rows_def vdb_multi_def;                  /* multi.c */
extern const struct rows_def vdb_tune_def;                    /* vtab_tune.c */
/* Commands: measure recall and keep the result; set what reaches a target
** recall (NULL: 0.95) with the least work. */
int vdb_command_calibrate(struct sql_table *t);
int vdb_command_tune(struct sql_table *t, const char *target);
/* vtab_capture.c: keep the queries this table is asked, if it is set so. A
** search tells its bound, filter text with its values, and the query. */
int vdb_command_capture(struct sql_table *t, const char *value);
void vdb_capture_query(struct sql_table *t, int column, int64_t k, uint32_t ef,
                       const char *filter, const struct sql_bound *b,
                       sqlite3_value *query);
/* Before a transaction is prepared: what was kept goes with it. */
void vdb_capture_flush(struct sql_table *t);
void vdb_capture_free(struct sql_capture *p);
extern const struct rows_def vdb_queries_def;
int vdb_info_register(struct sql_state *st);           /* the scalars vecdb_* */

/* ---- Small helpers ------------------------------------------------------ */
char *vdb_sql_strdup(const char *z);
/* Replace *err by a formatted sentence and return rc. */
int vdb_sql_fail(char **err, int rc, const char *fmt, ...);
/* Register fn unless a function of that name is there already. */
int vdb_register_function(struct sql_state *st, const char *name, int n_arg,
                          int flags,
                          void (*fn)(sqlite3_context*, int, sqlite3_value**));
/* Register a module whose aux is st, unless the name is taken. */
int vdb_register_module(struct sql_state *st, const char *name,
                        const sqlite3_module *m);
/* What one of them has as user data. */
struct sql_state *vdb_function_state(sqlite3_context *ctx);

#endif
