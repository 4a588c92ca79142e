/* lib_toy.c -- calls whichever toy it is. See lib_toy.h. */
#include "util/common.h"
#include "lab/lib_toy.h"

int toy_open(struct toy *t, const struct toy_config *cfg){
  memset(t, 0, sizeof(*t));
  t->ops = cfg->kind==TOY_ROWS ? &toy_rows_ops : &toy_pager_ops;
  return t->ops->open(t, cfg);
}

int toy_close(struct toy *t){
  int rc = t->db ? t->ops->close(t) : VECDB_OK;
  t->db = NULL;
  return rc;
}

int toy_begin_read(struct toy *t){ return t->ops->begin(t, false); }
int toy_begin_write(struct toy *t){ return t->ops->begin(t, true); }
int toy_commit(struct toy *t){ return t->ops->commit(t); }
int toy_rollback(struct toy *t){ return t->ops->rollback(t); }

int toy_savepoint(struct toy *t, unsigned *n){
  return t->ops->savepoint(t, n);
}
int toy_release(struct toy *t, unsigned n){ return t->ops->release(t, n); }
int toy_rollback_to(struct toy *t, unsigned n){
  return t->ops->rollback_to(t, n);
}

int toy_prepare(struct toy *t, const unsigned char host[16], uint64_t token){
  return t->ops->prepare(t, host, token);
}
int toy_decide(struct toy *t, bool commit){ return t->ops->decide(t, commit); }
int toy_in_doubt(struct toy *t, bool *in_doubt){
  *in_doubt = false;
  return t->ops->in_doubt(t, in_doubt);
}

int toy_checkpoint(struct toy *t, int mode, uint64_t *n_log,
                   uint64_t *n_done){
  return t->ops->checkpoint(t, mode, n_log, n_done);
}
int toy_backup(struct toy *t, const char *path){
  return t->ops->backup(t, path);
}

int toy_change(struct toy *t, uint64_t seed, unsigned n){
  return t->ops->change(t, seed, n);
}
int toy_load(struct toy *t, uint64_t seed, unsigned n){
  return t->ops->load(t, seed, n);
}
int toy_tidy(struct toy *t, bool vacuum){ return t->ops->tidy(t, vacuum); }
int toy_set_state(struct toy *t, uint64_t state){
  return t->ops->set_state(t, state);
}

int toy_digest(struct toy *t, uint64_t *state, uint64_t *digest){
  return t->ops->digest(t, state, digest);
}

int toy_read(struct toy *t, uint64_t *state, uint64_t *digest){
  int rc = toy_begin_read(t), rc_end;
  if( rc!=VECDB_OK ) return rc;
  rc = toy_digest(t, state, digest);
  rc_end = toy_rollback(t);
  return rc!=VECDB_OK ? rc : rc_end;
}

int toy_check(struct toy *t, size_t *n_finding){
  *n_finding = 0;
  return t->ops->check(t, n_finding);
}
