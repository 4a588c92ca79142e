/* tender.c -- the thread behind optimize=background.
**
** WORK    A commit puts the name of a collection into the queue. The thread
**   opens a connection of its own, does what there is to do (tend.c), and closes
**   it: between jobs it holds nothing of the file, so that the last user's close
**   finds itself alone. It waits for the write lock as long as it takes.
** FUTILE  A job that found nothing to do is not done again before the
**   collection has changed by a little (FUTILE_SHARE).
** ENDS    Jobs poll `interrupted`, which is set to stop the thread or to hold it;
**   a job that was held up is begun again.
** FORK    The child of a fork has no such thread: it forgets the tenders of its
**   parent, whose connections it may not use either.
**
** LOCKS   One mutex for all tenders and all they hold but what only the thread
**   uses. Nobody does any work or takes another lock under it.
*/
#include "util/common.h"
#include "store/tender.h"

#include "util/pool.h"
#include "util/thread.h"

#define FUTILE_SHARE  64u              /* of the age, at least as many */

struct tender_job {
  struct tender_job *next;
  char *name;
  uint64_t age;                        /* when it was asked for last */
  uint64_t age_futile;                 /* nothing to do then; 0: there was */
  bool is_asked;
};

struct tender {
  struct tender *next;                 /* in `tenders` */
  char *path;
  const struct vecdb_file_ops *file;   /* the same path elsewhere is another */
  struct pager_config cfg;             /* of the connection of a job */
  unsigned n_thread;
  uint64_t sz_build;                   /* as a connection has set it last */
  unsigned n_ref;                      /* stores that take part */
  unsigned n_hold;
  pthread_t thread;
  pthread_cond_t wake;                 /* for the thread */
  pthread_cond_t rest;                 /* it has ended a job */
  struct tender_job *job;              /* all collections it was asked for */
  bool is_working, is_stopping;
  volatile int interrupted;
  uint64_t n_done, n_failed;
  struct vdb_err last;
};

static pthread_mutex_t tenders_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct tender *tenders;
static struct tender *tenders_lost;    /* of a parent process, never used */

/* ---- Fork ---------------------------------------------------------------- */

static void fork_prepare(void){ pthread_mutex_lock(&tenders_mutex); }
static void fork_parent(void){ pthread_mutex_unlock(&tenders_mutex); }

static void fork_child(void){
  struct tender **at = &tenders;
  while( *at!=NULL ) at = &(*at)->next;
  *at = tenders_lost;
  tenders_lost = tenders;
  tenders = NULL;
  pthread_mutex_unlock(&tenders_mutex);
}

static void fork_watch_tenders(void){
  pthread_atfork(fork_prepare, fork_parent, fork_child);
}

static bool is_lost(const struct tender *t){
  const struct tender *x = tenders_lost;
  while( x!=NULL && x!=t ) x = x->next;
  return x!=NULL;
}

/* ---- The thread ---------------------------------------------------------- */

static void interrupt_set(struct tender *t, int set){
  __atomic_store_n(&t->interrupted, set, __ATOMIC_RELAXED);
}

/* One job, on a connection of its own. */
static int job_run(struct tender *t, const char *name, uint64_t sz_build,
                   struct vdb_err *err, bool *did){
  struct store *st = NULL;
  struct coll *c = NULL;
  struct read_scope r;
  int rc, rc_close;

  *did = false;
  rc = vdb_store_open(&t->cfg, err, &st);
  if( rc!=VECDB_OK ) return rc;
  st->is_tender = true;
  vdb_store_set_threads(st, t->n_thread);
  vdb_store_set_build_bytes(st, sz_build);
  TRY( vdb_store_read_begin(st, &r) );
  rc = vdb_store_coll_open(st, name, &c);
  vdb_store_read_end(st, &r);
  if( rc==VECDB_OK ) rc = vdb_coll_tend(c, did);
  if( rc==VECDB_NOTFOUND ) rc = VECDB_OK;        /* dropped, or renamed */
done:
  vdb_store_coll_close(c);
  rc_close = vdb_store_close(st);
  return rc!=VECDB_OK ? rc : rc_close;
}

static struct tender_job *job_next(struct tender *t){
  struct tender_job *j = t->job;
  if( t->n_hold>0 ) return NULL;
  while( j!=NULL && !j->is_asked ) j = j->next;
  return j;
}

/* A job that ended early because it had to. Whatever it was waiting for may
** have said BUSY instead of INTERRUPT. */
static bool job_was_held(struct tender *t, int rc){
  return rc!=VECDB_OK && __atomic_load_n(&t->interrupted, __ATOMIC_RELAXED);
}

static void job_end(struct tender *t, struct tender_job *j, uint64_t age,
                    int rc, const struct vdb_err *err, bool did){
  t->is_working = false;
  if( job_was_held(t, rc) ){
    j->is_asked = true;
  }else if( rc!=VECDB_OK ){
    t->n_failed++;
    t->last = *err;
    if( t->last.rc!=rc ) (void)vdb_error(&t->last, rc, "%s", "");
  }else{
    t->n_done++;
    j->age_futile = did ? 0 : age;
  }
  pthread_cond_broadcast(&t->rest);
}

static void *tender_main(void *arg){
  struct tender *t = arg;
  struct tender_job *j;

  pthread_mutex_lock(&tenders_mutex);
  while( !t->is_stopping ){
    struct vdb_err err = { VECDB_OK, "" };
    uint64_t age, sz_build;
    bool did;
    int rc;
    if( (j = job_next(t))==NULL ){
      pthread_cond_wait(&t->wake, &tenders_mutex);
      continue;
    }
    j->is_asked = false;
    age = j->age;
    sz_build = t->sz_build;
    t->is_working = true;
    interrupt_set(t, 0);
    pthread_mutex_unlock(&tenders_mutex);
    rc = job_run(t, j->name, sz_build, &err, &did);
    if( rc!=VECDB_OK && !job_was_held(t, rc) ){
      vdb_log(rc, "optimize=background of \"%.100s\": %s", j->name,
              vdb_error_text(&err));
    }
    pthread_mutex_lock(&tenders_mutex);
    job_end(t, j, age, rc, &err, did);
  }
  pthread_mutex_unlock(&tenders_mutex);
  return NULL;
}

/* ---- Making one, taking part --------------------------------------------- */

static void tender_free(struct tender *t){
  while( t->job!=NULL ){
    struct tender_job *j = t->job;
    t->job = j->next;
    vdb_free(j->name);
    vdb_free(j);
  }
  pthread_cond_destroy(&t->wake);
  pthread_cond_destroy(&t->rest);
  vdb_free(t->path);
  vdb_free(t);
}

/* Half of the threads that the connection would use itself. */
static struct tender *tender_create(const struct store *st, const char *path){
  unsigned n = st->n_thread ? st->n_thread : vdb_cpu_count();
  struct tender *t = vdb_calloc(1, sizeof(*t));

  if( t==NULL ) return NULL;
  pthread_cond_init(&t->wake, NULL);
  pthread_cond_init(&t->rest, NULL);
  t->path = vdb_strdup(path);
  t->file = st->cfg.file;
  t->cfg = st->cfg;
  t->cfg.path = t->path;
  t->cfg.open_flags = VECDB_OPEN_READWRITE;
  t->cfg.busy_ms = INT32_MAX;
  t->cfg.interrupted = &t->interrupted;
  t->n_thread = (n+1)/2;
  t->sz_build = st->sz_build;
  if( t->path==NULL || vdb_thread_start(&t->thread, tender_main, t) ){
    tender_free(t);
    return NULL;
  }
  return t;
}

/* Is there a file that another connection may change as this one does? */
static bool can_be_tended(struct store *st){
  return !st->is_tender && vdb_pager_is_shared(st->p)
      && !vdb_pager_is_readonly(st->p);
}

bool vdb_tender_join(struct store *st){
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  const char *path = vdb_pager_path(st->p);
  struct tender *t;

  if( !can_be_tended(st) ) return false;
  if( st->tender!=NULL ) return true;
  pthread_once(&once, fork_watch_tenders);
  pthread_mutex_lock(&tenders_mutex);
  for(t=tenders; t!=NULL; t=t->next){
    if( t->file==st->cfg.file && strcmp(t->path, path)==0 ) break;
  }
  if( t==NULL && (t = tender_create(st, path))!=NULL ){
    t->next = tenders;
    tenders = t;
  }
  if( t!=NULL ) t->n_ref++;
  st->tender = t;
  pthread_mutex_unlock(&tenders_mutex);
  return t!=NULL;
}

void vdb_tender_leave(struct store *st){
  struct tender *t = st->tender, **at;
  bool is_last = false;

  st->tender = NULL;
  if( t==NULL ) return;
  pthread_mutex_lock(&tenders_mutex);
  if( !is_lost(t) && --t->n_ref==0 ){
    for(at=&tenders; *at!=t; at=&(*at)->next);
    *at = t->next;
    is_last = t->is_stopping = true;
    interrupt_set(t, 1);
    pthread_cond_signal(&t->wake);
  }
  pthread_mutex_unlock(&tenders_mutex);
  if( !is_last ) return;
  vdb_thread_join(t->thread);
  tender_free(t);
}

/* ---- Asking -------------------------------------------------------------- */

static struct tender_job *job_find(struct tender *t, const char *name){
  struct tender_job *j = t->job;

  while( j!=NULL && strcmp(j->name, name)!=0 ) j = j->next;
  if( j!=NULL || (j = vdb_calloc(1, sizeof(*j)))==NULL ) return j;
  j->name = vdb_strdup(name);
  if( j->name==NULL ){
    vdb_free(j);
    return NULL;
  }
  j->next = t->job;
  t->job = j;
  return j;
}

static bool job_is_futile(const struct tender_job *j, uint64_t age){
  uint64_t at = j->age_futile;
  return at>0 && age>=at && age-at<=at/FUTILE_SHARE;
}

void vdb_tender_build_bytes(struct store *st){
  struct tender *t = st->tender;

  if( t==NULL ) return;
  pthread_mutex_lock(&tenders_mutex);
  if( !is_lost(t) ) t->sz_build = st->sz_build;
  pthread_mutex_unlock(&tenders_mutex);
}

/* Without memory for it the next commit asks again. */
void vdb_tender_ask(struct store *st, const char *name, uint64_t age){
  struct tender *t = st->tender;
  struct tender_job *j;

  if( t==NULL ) return;
  pthread_mutex_lock(&tenders_mutex);
  j = is_lost(t) ? NULL : job_find(t, name);
  if( j!=NULL && !job_is_futile(j, age) ){
    j->age = age;
    j->is_asked = true;
    pthread_cond_signal(&t->wake);
  }
  pthread_mutex_unlock(&tenders_mutex);
}

void vdb_tender_hold(struct store *st){
  struct tender *t = st->tender;

  if( t==NULL ) return;
  pthread_mutex_lock(&tenders_mutex);
  t->n_hold++;
  interrupt_set(t, 1);
  while( t->is_working ) pthread_cond_wait(&t->rest, &tenders_mutex);
  pthread_mutex_unlock(&tenders_mutex);
}

void vdb_tender_release(struct store *st){
  struct tender *t = st->tender;

  if( t==NULL ) return;
  pthread_mutex_lock(&tenders_mutex);
  t->n_hold--;
  pthread_cond_signal(&t->wake);
  pthread_mutex_unlock(&tenders_mutex);
}

void vdb_tender_note(struct store *st, struct tender_note *out){
  struct tender *t = st->tender;

  memset(out, 0, sizeof(*out));
  if( t==NULL ) return;
  pthread_mutex_lock(&tenders_mutex);
  out->is_there = true;
  out->is_busy = t->is_working || job_next(t)!=NULL;
  out->n_done = t->n_done;
  out->n_failed = t->n_failed;
  out->last = t->last;
  pthread_mutex_unlock(&tenders_mutex);
}
