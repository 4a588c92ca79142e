/* lib_order.c -- watches the order of writes and syncs. See lib_order.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/bytes.h"
#include "pager/format.h"
#include "lab/lib_order.h"

enum { N_RULE = 7, HEADER_REGION = 8192, FLAG_CHECKPOINT = 1,
       FRAME_MARK_COMMIT = 2, FRAME_MARK_PREPARE = 3 };

struct order {
  struct vecdb_file_ops *ops;
  char *main, *wal, *shm;         /* the paths watched */
  bool main_dirty;                /* pages or extents not synced */
  bool pages_dirty;               /* pages of a checkpoint not synced */
  bool header_dirty;              /* a header slot not synced */
  bool wal_dirty;                 /* frames not synced */
  bool is_decision;               /* they follow a PREPARE that was synced */
  bool is_prepared;               /* the last mark in the log is a PREPARE */
  bool wal_header_dirty;
  bool main_new, wal_new;         /* names not synced */
  bool checkpointing;             /* the header written last says so */
  size_t n_applied[N_RULE];
  size_t n_violation;
  char first[200];
};

static void rule_check(struct order *o, int rule, bool holds,
                       const char *what){
  o->n_applied[rule]++;
  if( holds ) return;
  if( o->n_violation++==0 ){
    snprintf(o->first, sizeof(o->first), "O%d: %s", rule, what);
  }
}

/* ---- the log ------------------------------------------------------------- */

/* The kind of the last COMMIT, PREPARE or ABORT frame in what was written, 0
** when there is none. Frames are walked from the start, for their sizes
** differ. */
static unsigned wal_write_mark(const struct lab_event *e){
  unsigned char hdr[WALHDR_SIZE], frame[FRAME_SIZE];
  uint64_t at = WALHDR_SIZE, end = e->off + e->n;
  unsigned mark = 0;
  size_t n = 0;

  if( e->lower->ops->read(e->lower, 0, hdr, sizeof(hdr), &n, NULL)!=VECDB_OK
   || n<sizeof(hdr) ) return 0;
  while( at + FRAME_SIZE<=end ){
    unsigned kind;
    if( e->lower->ops->read(e->lower, at, frame, sizeof(frame), &n, NULL)
     || n<sizeof(frame) ) break;
    kind = get_u16(frame + FRAME_KIND);
    if( kind<1 || kind>4 ) break;
    if( at>=e->off && kind!=1 ) mark = kind;
    at += FRAME_SIZE + (kind==1 ? get_u32(hdr + WALHDR_PAGESIZE)
                                : (uint32_t)COMMIT_SIZE);
  }
  return mark;
}

static void wal_written(struct order *o, const struct lab_event *e){
  unsigned mark;
  if( e->off<WALHDR_SIZE ){
    rule_check(o, 5, !o->pages_dirty && !o->header_dirty,
               "the log was restarted before the main file was synced");
    o->wal_header_dirty = true;
    return;
  }
  rule_check(o, 5, !o->wal_header_dirty,
             "a frame was written before the log header was synced");
  mark = wal_write_mark(e);
  if( mark==FRAME_MARK_COMMIT || mark==FRAME_MARK_PREPARE ){
    rule_check(o, 1, !o->main_dirty,
               "a COMMIT was written before the extents were synced");
  }
  o->is_decision = o->is_prepared && !o->wal_dirty && mark!=0;
  if( mark ) o->is_prepared = mark==FRAME_MARK_PREPARE;
  o->wal_dirty = true;
}

/* ---- the main file ------------------------------------------------------- */

static void main_written(struct order *o, const struct lab_event *e){
  const unsigned char *p = e->buf;
  if( e->off>=HEADER_REGION ){
    if( o->checkpointing ){
      rule_check(o, 3, !o->header_dirty, "a page was written before the header "
                 "that announces it was synced");
      o->pages_dirty = true;
    }
    o->main_dirty = true;
    return;
  }
  rule_check(o, 2, !o->wal_dirty, "a header slot was written before the log "
             "was synced");
  rule_check(o, 2, !o->main_dirty, "a header slot was written before the main "
             "file was synced");
  o->header_dirty = true;
  if( e->n>=HDRSLOT_FLAGS + 2 ){
    o->checkpointing = get_u16(p + HDRSLOT_FLAGS) & FLAG_CHECKPOINT;
  }
}

/* ---- shared memory ------------------------------------------------------- */

static bool is_visible_word(uint64_t off){
  return off==SHM_HDRA + SHMHDR_NVISIBLE || off==SHM_HDRB + SHMHDR_NVISIBLE;
}

static void shm_before(struct order *o, const struct lab_event *e){
  uint64_t now;
  if( e->off==SHM_BACKFILL && (uint32_t)e->word>(uint32_t)e->word_old ){
    rule_check(o, 4, !o->pages_dirty && !o->header_dirty,
               "the backfill word moved before the main file was synced");
  }
  if( e->call!=CALL_SHM_STORE || !is_visible_word(e->off) ) return;
  now = e->lower->ops->shm_load(e->lower, (size_t)e->off);
  if( e->word<=now ) return;
  rule_check(o, 6, !o->wal_dirty || o->is_decision,
             "a commit was published before the log was synced");
  rule_check(o, 6, !o->main_new && !o->wal_new, "a commit was published before "
             "the folder was synced");
}

/* ---- hooks --------------------------------------------------------------- */

static int order_before(void *arg, struct lab_event *e){
  struct order *o = arg;
  if( (e->call==CALL_SHM_STORE || e->call==CALL_SHM_CAS)
   && strcmp(e->path, o->shm)==0 ) shm_before(o, e);
  return VECDB_OK;
}

static void order_created(struct order *o, const struct lab_event *e){
  if( e->existed ) return;
  if( strcmp(e->path, o->main)==0 ) o->main_new = true;
  if( strcmp(e->path, o->wal)==0 ) o->wal_new = true;
}

static void order_synced(struct order *o, const struct lab_event *e){
  if( strcmp(e->path, o->main)==0 ){
    o->main_dirty = o->pages_dirty = o->header_dirty = false;
  }
  if( strcmp(e->path, o->wal)==0 ) o->wal_dirty = o->wal_header_dirty = false;
}

static void order_after(void *arg, struct lab_event *e, int rc){
  struct order *o = arg;
  if( rc!=VECDB_OK ) return;
  switch( e->call ){
    case CALL_OPEN:
      order_created(o, e);
      break;
    case CALL_SYNC_DIR:
      o->main_new = o->wal_new = false;
      break;
    case CALL_SYNC:
      order_synced(o, e);
      break;
    case CALL_WRITE:
      if( strcmp(e->path, o->main)==0 ) main_written(o, e);
      if( strcmp(e->path, o->wal)==0 ) wal_written(o, e);
      break;
    default:
      break;
  }
}

static char *path_join(const char *path, const char *suffix){
  size_t n = strlen(path) + strlen(suffix) + 1;
  char *z = lab_alloc(n);
  snprintf(z, n, "%s%s", path, suffix);
  return z;
}

struct order *order_create(const struct vecdb_file_ops *lower,
                           const char *path){
  struct order *o = lab_alloc(sizeof(*o));
  struct lab_hook hook = { o, order_before, order_after };
  o->main = path_join(path, "");
  o->wal = path_join(path, "-wal");
  o->shm = path_join(path, "-shm");
  o->ops = lab_layer_create(lower, "order", &hook);
  return o;
}

void order_destroy(struct order *o){
  if( !o ) return;
  lab_layer_destroy(o->ops);
  free(o->main);
  free(o->wal);
  free(o->shm);
  free(o);
}

const struct vecdb_file_ops *order_ops(struct order *o){ return o->ops; }
size_t order_n_violation(const struct order *o){ return o->n_violation; }
const char *order_violation(const struct order *o){ return o->first; }
size_t order_n_applied(const struct order *o, int rule){
  return rule>0 && rule<N_RULE ? o->n_applied[rule] : 0;
}
