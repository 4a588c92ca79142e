/* session.c -- transactions of a handle, and what they do to statements.
**
** INVARIANTS
**   S1  in_tx: the pager is in READ or WRITE (or ERROR), n_auto is 0.
**   S2  not in_tx: the pager is in READ exactly while n_auto>0.
**   S3  sp_id[0..n_sp-1] ascend strictly; savepoint i of the pager's stack has
**       the number sp_id[i]. Statements nest theirs inside.
*/
#include "util/common.h"
#include "store/session.h"

#include "store/stmt.h"
#include "util/mem.h"

static enum pager_state session_state(const struct session *ss){
  return vdb_pager_state(vdb_store_pager(ss->st));
}

int vdb_session_read_begin(struct session *ss, bool *held){
  int rc = VECDB_OK;
  if( *held || ss->in_tx ) return VECDB_OK;
  if( ss->n_auto==0 ) rc = vdb_store_begin_read(ss->st);
  if( rc!=VECDB_OK ) return rc;
  ss->n_auto++;
  *held = true;
  return VECDB_OK;
}

int vdb_session_read_end(struct session *ss, bool *held){
  if( !*held ) return VECDB_OK;
  *held = false;
  if( VDB_NEVER(ss->n_auto==0) ) return VECDB_OK;
  if( --ss->n_auto>0 ) return VECDB_OK;
  return vdb_store_end_read(ss->st);
}

int vdb_session_suspend(struct session *ss){
  int rc = VECDB_OK;
  for(struct stmt *s=ss->first; s && rc==VECDB_OK; s=vdb_stmt_next(s)){
    rc = vdb_stmt_suspend(s);
  }
  return rc;
}

void vdb_session_abort(struct session *ss){
  for(struct stmt *s=ss->first; s; s=vdb_stmt_next(s)) vdb_stmt_abort(s);
}

/* ---- Writing calls ------------------------------------------------------ */

int vdb_session_write_begin(struct session *ss, struct write_scope *w){
  int rc;
  TRY( vdb_session_suspend(ss) );
  if( ss->in_tx && session_state(ss)==PAGER_READ ){
    TRY( vdb_store_begin_write(ss->st) );
  }
  rc = vdb_store_write_begin(ss->st, w);
done:
  return rc;
}

int vdb_session_write_end(struct session *ss, struct write_scope *w, int rc){
  return vdb_store_write_end(ss->st, w, rc);
}

/* ---- Transactions ------------------------------------------------------- */

static int session_none(struct session *ss){
  return vdb_error(ss->err, VECDB_MISUSE, "no transaction is open");
}

int vdb_session_require_none(struct session *ss, const char *what){
  if( !ss->in_tx ) return vdb_session_suspend(ss);
  return vdb_error(ss->err, VECDB_MISUSE,
                   "cannot %s: a transaction is open; commit or roll back "
                   "first", what);
}

int vdb_session_begin(struct session *ss, int mode){
  int rc;
  if( mode!=VECDB_READ && mode!=VECDB_WRITE ){
    return vdb_error(ss->err, VECDB_MISUSE,
                     "%d is neither VECDB_READ nor VECDB_WRITE", mode);
  }
  TRY( vdb_session_require_none(ss, "begin") );
  TRY( mode==VECDB_WRITE ? vdb_store_begin_write(ss->st)
                         : vdb_store_begin_read(ss->st) );
  ss->in_tx = true;
done:
  return rc;
}

int vdb_session_begin_read_at(struct session *ss, uint64_t token){
  int rc;
  TRY( vdb_session_require_none(ss, "begin") );
  TRY( vdb_store_begin_read_at(ss->st, token) );
  ss->in_tx = true;
done:
  return rc;
}

static void session_ended(struct session *ss){
  if( session_state(ss)!=PAGER_NONE ) return;
  ss->in_tx = false;
  ss->n_sp = 0;
}

int vdb_session_commit(struct session *ss){
  int rc;
  if( !ss->in_tx ) return session_none(ss);
  TRY( vdb_session_suspend(ss) );
  rc = session_state(ss)==PAGER_READ ? vdb_store_end_read(ss->st)
                                     : vdb_store_commit(ss->st);
done:
  session_ended(ss);
  return rc;
}

int vdb_session_rollback(struct session *ss){
  int rc;
  if( !ss->in_tx ) return session_none(ss);
  vdb_session_abort(ss);
  rc = session_state(ss)==PAGER_READ ? vdb_store_end_read(ss->st)
                                     : vdb_store_rollback(ss->st);
  session_ended(ss);
  return rc;
}

int vdb_session_prepare(struct session *ss, const unsigned char uuid[16],
                        uint64_t token){
  int rc;
  if( !ss->in_tx || session_state(ss)!=PAGER_WRITE ){
    return vdb_error(ss->err, VECDB_MISUSE,
                     "cannot prepare: no write transaction is open");
  }
  TRY( vdb_session_suspend(ss) );
  rc = vdb_store_prepare(ss->st, uuid, token);
done:
  return rc;
}

/* Ends this handle's prepared transaction, or one whose owner is gone. */
int vdb_session_decide(struct session *ss, bool commit, bool undoable){
  int rc;
  if( commit ) TRY( vdb_session_suspend(ss) );
  else vdb_session_abort(ss);
  if( ss->in_tx && session_state(ss)==PAGER_READ ){
    TRY( vdb_error(ss->err, VECDB_MISUSE,
                   "cannot decide inside a read transaction") );
  }
  rc = vdb_store_decide(ss->st, commit, undoable);
done:
  session_ended(ss);
  return rc;
}

int vdb_session_rewind(struct session *ss, uint64_t token, uint64_t newest){
  int rc;
  TRY( vdb_session_require_none(ss, "rewind") );
  rc = vdb_store_rewind(ss->st, token, newest);
done:
  return rc;
}

/* ---- Savepoints --------------------------------------------------------- */

int vdb_session_savepoint(struct session *ss, uint32_t id){
  unsigned depth = 0;
  int rc;
  if( !ss->in_tx || session_state(ss)!=PAGER_WRITE ){
    return vdb_error(ss->err, VECDB_MISUSE,
                     "savepoint %u: no write transaction is open", id);
  }
  if( ss->n_sp>0 && id<=ss->sp_id[ss->n_sp-1] ){
    return vdb_error(ss->err, VECDB_MISUSE,
                     "savepoint %u cannot be inside savepoint %u: numbers "
                     "grow inwards", id, ss->sp_id[ss->n_sp-1]);
  }
  TRY( vdb_grow(&ss->sp_id, &ss->n_sp_cap, ss->n_sp+1, sizeof(*ss->sp_id)) );
  TRY( vdb_store_savepoint(ss->st, &depth) );
  ss->sp_id[ss->n_sp++] = id;
  assert( depth+1==ss->n_sp );                                      /* S3 */
done:
  return rc;
}

/* Depth of the outermost savepoint with a number >= id; n_sp: none. */
static size_t savepoint_find(const struct session *ss, uint32_t id){
  size_t i = ss->n_sp;
  while( i>0 && ss->sp_id[i-1]>=id ) i--;
  return i;
}

int vdb_session_release(struct session *ss, uint32_t id){
  size_t i = savepoint_find(ss, id);
  int rc;
  if( i==ss->n_sp ) return VECDB_OK;
  rc = vdb_store_release(ss->st, (unsigned)i);
  if( rc==VECDB_OK ) ss->n_sp = i;
  return rc;
}

int vdb_session_rollback_to(struct session *ss, uint32_t id){
  size_t i = savepoint_find(ss, id);
  int rc;
  if( i==ss->n_sp ) return VECDB_OK;
  vdb_session_abort(ss);
  rc = vdb_store_rollback_to(ss->st, (unsigned)i);
  if( rc==VECDB_OK ) ss->n_sp = i+1;
  return rc;
}
