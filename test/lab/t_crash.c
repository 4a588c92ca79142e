/* t_crash.c -- power cuts at every boundary of scripted lives.
**
** Each script of lib_script.c runs once over a layer that logs its effects;
** lib_crash builds what the disk may hold after a cut at any place; every
** distinct image is opened by the ordinary recovery, and must be
**
**   1  in one of the states allowed there, every byte of it;
**   2  sound, with no space lost;
**   3  in the same state when opened again, and after being copied home;
**   4  writable;
**   5  without its log: refused, or in an older state that is sound;
**   6  as good when the power fails again during recovery or checkpoint (for
**      a part of the images).
**
** The order of writes and syncs is watched while the scripts run. */
#include <stdlib.h>

#include "vt.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"
#include "pager/format.h"
#include "lab/lib_crash.h"
#include "lab/lib_order.h"
#include "lab/lib_script.h"

static const char db_path[] = "x.vdb";

struct hunt {                      /* one script and its images */
  const struct script *script;
  struct script_run run;
  struct crash_seen *seen;
  bool is_second;                  /* inside a recovery (depth 2) */
  size_t n_probe, n_second, n_alone, n_in_doubt;
};

static int probe_fail(const struct crash_image *img, const char *what,
                      const struct toy *t, int rc){
  FAIL("cut after %zu effects, %s: %s (%d, %s); states %d..%d are allowed",
       img->i_boundary, img->what, what, rc,
       t && t->err.msg[0] ? t->err.msg : "no message", img->lo, img->hi);
  return -1;
}

static struct toy_config probe_config(const struct hunt *h,
                                      const struct vecdb_file_ops *ops){
  struct toy_config cfg = h->run.cfg;
  cfg.ops = ops;
  return cfg;
}

/* Number of the state of an open toy, which must be sound. */
static int probe_state(struct hunt *h, const struct crash_image *img,
                       struct toy *t){
  uint64_t state = 0, digest = 0;
  size_t n = 0;
  int rc = toy_read(t, &state, &digest);
  if( rc!=VECDB_OK ) return probe_fail(img, "cannot be read", t, rc);
  if( !script_knows(&h->run, state, digest) ){
    return probe_fail(img, "holds a state that never was", t, (int)state);
  }
  rc = toy_check(t, &n);
  if( rc!=VECDB_OK || n>0 ) return probe_fail(img, "is not sound", t, rc);
  return (int)state;
}

/* 1, 2: the state that recovery finds; the toy stays open. */
static int probe_open(struct hunt *h, const struct crash_image *img,
                      const struct vecdb_file_ops *ops, struct toy *t){
  struct toy_config cfg = probe_config(h, ops);
  int rc = toy_open(t, &cfg);
  if( rc!=VECDB_OK ) return probe_fail(img, "cannot be opened", t, rc);
  return probe_state(h, img, t);
}

/* 3: close writes everything home; the state is the same. */
static int probe_again(struct hunt *h, const struct crash_image *img,
                       const struct vecdb_file_ops *ops, int state){
  struct toy t;
  int again = probe_open(h, img, ops, &t);
  if( again>=0 && again!=state ){
    again = probe_fail(img, "holds another state when opened again", &t,
                       again);
  }
  if( toy_close(&t)!=VECDB_OK && again>=0 ){
    return probe_fail(img, "cannot be closed", &t, 0);
  }
  return again;
}

/* 4: a transaction goes through and is there afterwards. */
static int probe_write(struct hunt *h, const struct crash_image *img,
                       const struct vecdb_file_ops *ops){
  struct toy_config cfg = probe_config(h, ops);
  uint64_t state, before = 0, after = 0;
  size_t n = 0;
  struct toy t;
  int rc;

  TRY( toy_open(&t, &cfg) );
  TRY( toy_begin_write(&t) );
  TRY( toy_change(&t, 4242, 5) );
  TRY( toy_digest(&t, &state, &before) );
  TRY( toy_commit(&t) );
  TRY( toy_close(&t) );
  TRY( toy_open(&t, &cfg) );
  TRY( toy_read(&t, &state, &after) );
  TRY( toy_check(&t, &n) );
done:
  if( rc!=VECDB_OK || before!=after || n>0 ){
    rc = probe_fail(img, "cannot be written", &t, rc);
  }
  toy_close(&t);
  return rc;
}

/* An undecided transaction may be decided either way; both are tried. */
static int probe_in_doubt(struct hunt *h, const struct crash_image *img,
                          int state){
  for(int commit=0; commit<2; commit++){
    struct vecdb_file_ops *mem = crash_world(img, 1);
    struct toy_config cfg = probe_config(h, mem);
    bool in_doubt = false;
    struct toy t;
    int rc = toy_open(&t, &cfg), now = state;

    if( rc==VECDB_OK ) rc = toy_in_doubt(&t, &in_doubt);
    if( rc==VECDB_OK && in_doubt ){
      h->n_in_doubt += (size_t)commit;
      if( toy_begin_write(&t)!=VECDB_BUSY_INDOUBT ){
        rc = probe_fail(img, "lets somebody write while in doubt", &t, 0);
      }
      if( rc==VECDB_OK ) rc = toy_decide(&t, commit);
      if( rc==VECDB_OK ) now = probe_state(h, img, &t);
      if( rc==VECDB_OK && now>=0 && now!=state + commit ){
        now = probe_fail(img, "was decided otherwise", &t, now);
      }
      /* A decided file is the base of the write test, so do it here. */
      toy_close(&t);
      if( rc==VECDB_OK && now>=0 ) now = probe_again(h, img, mem, now);
    }
    toy_close(&t);
    vdb_file_mem_destroy(mem);
    if( rc!=VECDB_OK ) return probe_fail(img, "cannot be decided", &t, rc);
    if( now<0 || !in_doubt ) return now<0 ? -1 : 0;
  }
  return 1;
}

/* Is a checkpoint under way, by the header in force? */
static bool image_in_checkpoint(const struct crash_image_file *f){
  uint64_t seq_best = 0;
  bool flag = false;
  for(size_t off=0; off+HDRSLOT_SIZE<=f->n && off<=4096; off+=4096){
    const unsigned char *p = f->p + off;
    if( get_u64(p + HDRSLOT_SEQ)<=seq_best ) continue;
    seq_best = get_u64(p + HDRSLOT_SEQ);
    flag = get_u16(p + HDRSLOT_FLAGS)!=0;
  }
  return flag;
}

/* 5: the main file alone. A header that says so may have it refused. */
static int probe_alone(struct hunt *h, const struct crash_image *img,
                       int state){
  struct vecdb_file_ops *mem = crash_world(img, 2);
  struct toy_config cfg = probe_config(h, mem);
  bool may_refuse = false;
  struct toy t;
  int rc, found = 0;

  for(size_t i=0; i<img->n_file; i++){
    const struct crash_image_file *f = &img->files[i];
    if( strcmp(f->path, db_path)==0 ) may_refuse = image_in_checkpoint(f);
    else mem->unlink(mem->env, f->path, NULL);
  }
  h->n_alone++;
  rc = toy_open(&t, &cfg);
  if( rc==VECDB_OK ){
    found = probe_state(h, img, &t);
    if( found>state ) found = probe_fail(img, "is newer without its log", &t,
                                         found);
  }else if( !may_refuse ){
    found = probe_fail(img, "is refused without its log", &t, rc);
  }
  toy_close(&t);
  vdb_file_mem_destroy(mem);
  return found<0 ? -1 : VECDB_OK;
}

static int hunt_probe(void *arg, const struct crash_image *img);

/* 6: recover, commit nothing, checkpoint, close; cut the power in there. */
static int probe_second(struct hunt *h, const struct crash_image *img,
                        int state){
  struct crash_plan plan = { img->hash, 6, 24 };
  struct vecdb_file_ops *mem = crash_world(img, 3);
  struct crash_log *log = crash_log_create(mem);
  struct toy_config cfg = probe_config(h, crash_log_ops(log));
  uint64_t n_log, n_done;
  bool failed = false;
  struct toy t;

  crash_mark(log, state, state, false);
  if( toy_open(&t, &cfg)==VECDB_OK ){
    toy_checkpoint(&t, VECDB_CHECKPOINT_TRUNCATE, &n_log, &n_done);
  }
  toy_close(&t);
  h->is_second = true;
  h->n_second += crash_explore(log, &plan, h->seen, hunt_probe, h, &failed);
  h->is_second = false;
  crash_log_destroy(log);
  vdb_file_mem_destroy(mem);
  if( failed ) FAIL("that was a second cut; the first: after %zu effects, %s",
                    img->i_boundary, img->what);
  return failed ? -1 : VECDB_OK;
}

/* Until the call has returned, the copy may be an error or empty. */
static int probe_backup(struct hunt *h, const struct crash_image *img,
                        const struct vecdb_file_ops *ops){
  struct toy_config cfg = probe_config(h, ops);
  struct toy t;
  int rc, found;

  cfg.path = "backup.vdb";
  cfg.flags = VECDB_OPEN_READWRITE;
  rc = toy_open(&t, &cfg);
  if( rc==VECDB_OK ){
    found = probe_state(h, img, &t);
    if( found>=0 && found!=h->run.state_backup
     && (found!=0 || img->i_boundary>=h->run.i_backup) ){
      found = probe_fail(img, "has a wrong backup", &t, found);
    }
  }else{
    found = 0;
    if( h->run.i_backup && img->i_boundary>=h->run.i_backup ){
      found = probe_fail(img, "has lost its backup", &t, rc);
    }
  }
  toy_close(&t);
  return found<0 ? -1 : VECDB_OK;
}

static int hunt_probe(void *arg, const struct crash_image *img){
  struct hunt *h = arg;
  struct vecdb_file_ops *mem = crash_world(img, img->hash);
  bool in_doubt = false;
  struct toy t;
  int state, rc = VECDB_OK;

  h->n_probe++;
  state = probe_open(h, img, mem, &t);
  if( state>=0 && (state<img->lo || state>img->hi) ){
    probe_fail(img, "holds a state not allowed here", &t, state);
  }
  if( state>=0 ) toy_in_doubt(&t, &in_doubt);
  if( state==img->lo && img->doubt && !in_doubt ){
    state = probe_fail(img, "has lost a prepared transaction", &t, state);
  }
  toy_close(&t);
  if( state>=0 ) rc = probe_again(h, img, mem, state)<0 ? -1 : VECDB_OK;
  if( state>=0 && rc==VECDB_OK && in_doubt ){
    rc = probe_in_doubt(h, img, state)<0 ? -1 : VECDB_OK;
  }
  if( state>=0 && rc==VECDB_OK && !in_doubt && h->n_probe%4==0 ){
    rc = probe_write(h, img, mem);
  }
  if( state>=0 && rc==VECDB_OK && h->run.i_backup ){
    rc = probe_backup(h, img, mem);
  }
  vdb_file_mem_destroy(mem);
  if( state>=0 && rc==VECDB_OK && h->n_probe%3==0 ){
    rc = probe_alone(h, img, state);
  }
  if( state>=0 && rc==VECDB_OK && !h->is_second && h->n_probe%16==1 ){
    rc = probe_second(h, img, state);
  }
  return rc==VECDB_OK ? state : -1;
}

/* ---- the hunts ----------------------------------------------------------- */

/* Run script number i, watching the order; then cut the power everywhere. */
static size_t hunt_script(size_t i, struct crash_seen *seen,
                          size_t n_per_boundary, size_t n_max){
  struct crash_plan plan = { vt_seed() + i, n_per_boundary, n_max };
  struct vecdb_file_ops *mem = NULL;
  struct crash_log *log;
  struct order *order;
  struct hunt h;
  bool failed = false;
  size_t n;

  memset(&h, 0, sizeof(h));
  h.script = &scripts[i];
  h.seen = seen;
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(vt_seed() + i, &mem) );
  log = crash_log_create(mem);
  order = order_create(crash_log_ops(log), db_path);
  if( !CHECK_RC( VECDB_OK, script_run(h.script, order_ops(order), db_path, log,
                                      vt_seed() + i, false, &h.run) ) ){
    FAIL("script %s: %s", h.script->name, h.run.toy.err.msg);
    vt_stop();
  }
  if( h.script->sync==VECDB_SYNC_FULL ) CHECK_STR( "", order_violation(order) );
  n = crash_explore(log, &plan, seen, hunt_probe, &h, &failed);
  n += h.n_second;
  printf("  %-12s %4zu effects, %6zu images (%zu of them second cuts, %zu "
         "without log, %zu in doubt)\n", h.script->name, crash_log_size(log),
         n, h.n_second, h.n_alone, h.n_in_doubt);
  if( failed ) FAIL("in script %s", h.script->name);
  order_destroy(order);
  crash_log_destroy(log);
  vdb_file_mem_destroy(mem);
  return n;
}

TEST(crash__leaves_the_state_before_or_after){
  struct crash_seen *seen = crash_seen_create();
  bool full = vt_scale()>=100;
  size_t n_max = full ? 0 : (size_t)(30*vt_scale());
  size_t n_per = full ? 60 : 2;
  size_t n = 0;
  struct vdb_mem_stats st;

  for(size_t i=0; i<n_script; i++) n += hunt_script(i, seen, n_per, n_max);
  CHECK_U64( n, crash_seen_count(seen) );
  CHECK( n>=250 );
  vt_figure("crash-states", n, 100000);
  crash_seen_destroy(seen);
  vdb_mem_stats(&st);
  CHECK_U64( 0, st.n_block );
}

/* The watcher of the order must have had something to watch. */
TEST(crash__order_of_writes_and_syncs_is_kept){
  size_t n_applied[7] = {0};
  for(size_t i=0; i<n_script; i++){
    struct vecdb_file_ops *mem = NULL;
    struct script_run run;
    struct order *order;
    if( scripts[i].sync!=VECDB_SYNC_FULL ) continue;
    REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &mem) );
    order = order_create(mem, db_path);
    CHECK_RC( VECDB_OK, script_run(&scripts[i], order_ops(order), db_path,
                                   NULL, vt_seed(), false, &run) );
    CHECK_STR( "", order_violation(order) );
    for(int k=1; k<=6; k++) n_applied[k] += order_n_applied(order, k);
    order_destroy(order);
    vdb_file_mem_destroy(mem);
  }
  for(int k=1; k<=6; k++){
    if( n_applied[k]==0 ) FAIL("rule O%d was never applied", k);
  }
}
