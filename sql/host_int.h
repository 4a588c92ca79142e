/* host_int.h -- storage of a table inside its SQLite database.
**
** Private to sql/host.c and sql/host_txn.c; vtab_int.h has what others call.
**
** Threads   the connection's.
*/
#ifndef VDB_HOST_INT_H
#define VDB_HOST_INT_H
#include "sql/vtab_int.h"

#define HOST_FORMAT     1            /* value of t_meta 'format' */
#define HOST_PAGE       4032         /* bytes of a row of t_pages: with its
                                     ** header it fits a page of 4,096 */

enum { SHADOW_META, SHADOW_PAGES, SHADOW_EXTENTS, SHADOW_N };
enum {                               /* statements kept between calls */
  HOST_GENERATION, HOST_SET_GENERATION, HOST_READ_PAGE, HOST_WRITE_PAGE,
  HOST_FREE_PAGE, HOST_WRITE_EXTENT, HOST_FREE_EXTENT, HOST_STMT_N
};

/* What a CREATE, DROP or RENAME inside a transaction has changed, to be undone
** with it. */
struct host_event {
  int level;                         /* innermost savepoint at that time */
  int was_there;
  char *name;                        /* of the table before; NULL: the same */
};

struct sql_host {
  vecdb_page_store ops;              /* ops.arg is this struct */
  struct sql_conn *conn;
  char *schema, *name;               /* of the virtual table, as it is now */
  int is_there;                      /* its shadow tables exist */
  int is_undoing;                    /* SQLite has undone our rows already */
  int is_writing;                    /* one of our statements is running */
  sqlite3_stmt *stmt[HOST_STMT_N];
  sqlite3_int64 generation;          /* of the rows that the engine knows */
  int was_seen;                      /* generation is valid */
  uint32_t n_epoch, n_version;       /* what the engine is told of it */
  int rc_failed, rc_engine;          /* last failure: SQLite's code, and what
                                     ** the engine was told; 0: none */
  char *errmsg;                      /* its sentence */
  struct host_event *events;         /* oldest first */
  int n_event, n_event_max;
};

extern const char *const vdb_host_suffix[SHADOW_N];   /* "meta", .. */
/* host.c */
void vdb_host_ops_init(struct sql_host *h);
void vdb_host_finalize(struct sql_host *h);           /* kept statements */
/* Nothing that the engine has cached is used any more. */
void vdb_host_forget(struct sql_host *h);
/* Record a failure; the code for the engine. */
int vdb_host_failed(struct sql_host *h, int rc, int shadow, const char *msg);
/* Make the rows that were written the next generation. */
int vdb_host_write_generation(struct sql_host *h, sqlite3_int64 generation);
#endif
