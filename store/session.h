/* session.h -- one handle's transaction, savepoint numbers and statements.
**
** Used by   vecdb.c (which embeds one in each handle) and store/stmt*.c.
** Threads   the handle's; `interrupted` may be set by any.
** Errors    VECDB_ codes; the sentence is in *err, which is the pager's.
**
** TRANSACTIONS  in_tx says that vecdb_begin opened one. Without it, a reading
**   statement holds the automatic read transaction (n_auto counts the
**   holders), and a writing one has a transaction of its own.
**
** STATEMENTS IN PROGRESS  Before anything that writes or begins or ends a
**   transaction, all statements are suspended: they copy the row they stand
**   on, remember their place by key, and hold neither pins nor the automatic
**   transaction. They go on from there when they are stepped again, seeing
**   the rows as they are then. A rollback, also to a savepoint, aborts them:
**   their next step says VECDB_ABORT.
*/
#ifndef VDB_SESSION_H
#define VDB_SESSION_H
#include "store/store.h"

struct stmt;

/* What the last search did (vecdb_last_search); the strings are constants. */
struct search_note {
  const char *plan, *why;      /* NULL: there was none */
  uint32_t ef;                 /* 0: no graph was walked */
  double recall;               /* expected of it; 0: unknown */
  uint64_t n_match;            /* rows that qualified */
  uint64_t n_distance;         /* rows compared */
  uint64_t n_row;              /* live rows */
  uint64_t n_block, n_bridge;  /* blocks of graphs; of rows that fail */
  uint32_t n_far;              /* walks for which the filter was far away */
  uint32_t n_switch;           /* times that a search went on exactly */
  double share_near;           /* of rows near the query; 0: not looked at */
  double cost_exact, cost_through, cost_within, cost_codes; /* as in graph_plan */
};

struct session {
  struct store *st;            /* NULL: not open */
  struct vdb_err *err;
  bool in_tx;                  /* vecdb_begin opened the transaction */
  unsigned n_auto;             /* holders of the automatic transaction */
  struct stmt *first;          /* all statements of the handle */
  uint32_t *sp_id;             /* numbers of the savepoints, by depth */
  size_t n_sp, n_sp_cap;
  volatile int interrupted;
  unsigned n_thread;           /* for batches; 0: cores */
  int gpu;                     /* VECDB_GPU_OFF.. */
  uint64_t n_distance;         /* rows compared so far */
  struct search_note last;
  int64_t last_key;            /* integer key of the last insert */
};

/* The flag is set by other threads and signal handlers. */
static inline bool vdb_session_interrupted(const struct session *ss){
  return __atomic_load_n(&ss->interrupted, __ATOMIC_RELAXED)!=0;
}
static inline void vdb_session_interrupt(struct session *ss, int set){
  __atomic_store_n(&ss->interrupted, set, __ATOMIC_RELAXED);
}

/* Hold the automatic read transaction, or the open one; *held is to be given
** to read_end. A held one is given back only once. */
int  vdb_session_read_begin(struct session *ss, bool *held);
int  vdb_session_read_end(struct session *ss, bool *held);

/* Scope of a writing call: suspends statements, upgrades an open read
** transaction. As vdb_store_write_begin and _end. */
int  vdb_session_write_begin(struct session *ss, struct write_scope *w);
int  vdb_session_write_end(struct session *ss, struct write_scope *w, int rc);

/* vecdb_begin and so on: MISUSE when the state does not allow it. */
int  vdb_session_begin(struct session *ss, int mode);
int  vdb_session_begin_read_at(struct session *ss, uint64_t token);
int  vdb_session_commit(struct session *ss);
int  vdb_session_rollback(struct session *ss);
int  vdb_session_prepare(struct session *ss, const unsigned char uuid[16],
                         uint64_t token);
int  vdb_session_decide(struct session *ss, bool commit, bool undoable);
int  vdb_session_rewind(struct session *ss, uint64_t token, uint64_t newest);
int  vdb_session_savepoint(struct session *ss, uint32_t id);
int  vdb_session_release(struct session *ss, uint32_t id);
int  vdb_session_rollback_to(struct session *ss, uint32_t id);
/* MISUSE with `what` when a transaction is open; else nothing is, statements
** are suspended. */
int  vdb_session_require_none(struct session *ss, const char *what);

int  vdb_session_suspend(struct session *ss);
void vdb_session_abort(struct session *ss);
#endif
