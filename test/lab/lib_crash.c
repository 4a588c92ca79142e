/* lib_crash.c -- logs effects on files, builds the images of a power cut.
**
** REPLAY    crash_explore walks the log once. What is synced is kept per file
**           as bytes (struct disk_file), what is not as a list of effects.
**           An image is made from a verdict over the unsynced effects: a fate
**           for each of them, how many of the unsynced name changes survive,
**           and what became of shared memory.
**
** INVARIANTS
**   C1  A file is known by its inode, so effects follow it through renames.
**   C2  Files that existed before the recording belong to the first image,
**       whenever they were first opened.
**   C3  Candidate images of a boundary are numbered, so that a sample of them
**       can be taken without building the others.
*/
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/rng.h"
#include "lab/lib_crash.h"

#define SECTOR 512u

enum effect_kind {
  EFFECT_WRITE, EFFECT_TRUNCATE, EFFECT_SYNC,
  EFFECT_CREATE, EFFECT_RENAME, EFFECT_UNLINK, EFFECT_SYNC_DIR,
  EFFECT_MARK
};

struct effect {
  enum effect_kind kind;
  size_t i_file;                 /* in crash_log.files */
  uint64_t off;                  /* WRITE: offset; TRUNCATE: size */
  size_t n;                      /* WRITE: bytes at data */
  unsigned char *data;
  char *path, *path_to;          /* CREATE, RENAME, UNLINK */
  int lo, hi;                    /* MARK */
  bool doubt;                    /* MARK */
  unsigned char *shm;            /* shared memory after it, for "stale" */
  size_t n_shm;
};

struct known_file {              /* every inode ever seen */
  uint64_t ino;
  char *path;                    /* when first seen */
  bool existed;                  /* before the recording (C2) */
  bool is_shm;                   /* its bytes are shared memory */
  unsigned char *base;           /* bytes before the recording */
  size_t n_base;
};

struct crash_log {
  struct vecdb_file_ops *ops, *mem;
  struct effect *effects;
  size_t n_effect, n_effect_cap;
  struct known_file *files;
  size_t n_file, n_file_cap;
};

static void *array_push(void *array, size_t *n, size_t *n_cap, size_t sz,
                        void **out){
  if( *n==*n_cap ){
    *n_cap = *n_cap ? *n_cap*2 : 16;
    array = lab_grow(array, *n_cap*sz);
  }
  *out = (unsigned char*)array + (*n)++*sz;
  memset(*out, 0, sz);
  return array;
}

static unsigned char *bytes_copy(const void *p, size_t n){
  unsigned char *copy = lab_alloc(n);
  if( n ) memcpy(copy, p, n);
  return copy;
}

/* ---- recording ----------------------------------------------------------- */

/* The file of that inode; a new entry when it was never seen. */
static size_t log_file(struct crash_log *c, uint64_t ino, const char *path,
                       bool existed){
  struct known_file *f;
  const unsigned char *p;
  void *slot;

  for(size_t i=0; i<c->n_file; i++){
    if( c->files[i].ino==ino ) return i;
  }
  c->files = array_push(c->files, &c->n_file, &c->n_file_cap, sizeof(*f),
                        &slot);
  f = slot;
  f->ino = ino;
  f->path = lab_strdup(path);
  f->existed = existed;
  if( existed && vdb_file_mem_peek(c->mem, path, &p, &f->n_base)==VECDB_OK ){
    f->base = bytes_copy(p, f->n_base);
  }
  return c->n_file - 1;
}

static struct effect *log_effect(struct crash_log *c, enum effect_kind kind){
  void *slot;
  struct effect *e;
  c->effects = array_push(c->effects, &c->n_effect, &c->n_effect_cap,
                          sizeof(*e), &slot);
  e = slot;
  e->kind = kind;
  return e;
}

/* Note what shared memory holds at this moment. */
static void log_shm(struct crash_log *c, struct effect *e){
  const unsigned char *p;
  size_t n;
  for(size_t i=0; i<c->n_file; i++){
    if( !c->files[i].is_shm ) continue;
    if( vdb_file_mem_peek(c->mem, c->files[i].path, &p, &n)!=VECDB_OK ) return;
    e->shm = bytes_copy(p, n);
    e->n_shm = n;
    return;
  }
}

/* C2: before the first change of a file, its bytes are kept. */
static void crash_note_base(struct crash_log *c, const char *path){
  struct file_id id;
  if( c->mem->path_id(c->mem->env, path, &id)==VECDB_OK ){
    log_file(c, id.ino, path, true);
  }
}

static int crash_before(void *arg, struct lab_event *e){
  struct crash_log *c = arg;
  if( e->call==CALL_OPEN || e->call==CALL_RENAME || e->call==CALL_UNLINK ){
    crash_note_base(c, e->path);
    if( e->path_to ) crash_note_base(c, e->path_to);
  }
  return VECDB_OK;
}

static void crash_after_path(struct crash_log *c, struct lab_event *e){
  struct effect *x;
  struct file_id id;

  if( e->call==CALL_OPEN ){
    if( e->existed || c->mem->path_id(c->mem->env, e->path, &id) ) return;
    x = log_effect(c, EFFECT_CREATE);
    x->i_file = log_file(c, id.ino, e->path, false);
  }else if( e->call==CALL_RENAME ){
    x = log_effect(c, EFFECT_RENAME);
    x->path_to = lab_strdup(e->path_to);
  }else{
    x = log_effect(c, EFFECT_UNLINK);
  }
  x->path = lab_strdup(e->path);
  log_shm(c, x);
}

static void crash_after_file(struct crash_log *c, struct lab_event *e){
  struct file_id id;
  struct effect *x;
  size_t i_file;

  e->lower->ops->id(e->lower, &id);
  i_file = log_file(c, id.ino, e->path, false);
  if( e->call==CALL_SHM_MAP ){
    c->files[i_file].is_shm = true;
    return;
  }
  if( c->files[i_file].is_shm ) return;
  x = log_effect(c, e->call==CALL_WRITE ? EFFECT_WRITE :
                    e->call==CALL_SYNC ? EFFECT_SYNC : EFFECT_TRUNCATE);
  x->i_file = i_file;
  x->off = e->off;
  if( e->call==CALL_WRITE ){
    x->n = e->n;
    x->data = bytes_copy(e->buf, e->n);
  }
  log_shm(c, x);
}

static void crash_after(void *arg, struct lab_event *e, int rc){
  struct crash_log *c = arg;
  if( rc!=VECDB_OK ) return;
  switch( e->call ){
    case CALL_OPEN: case CALL_RENAME: case CALL_UNLINK:
      crash_after_path(c, e);
      break;
    case CALL_SYNC_DIR:
      log_effect(c, EFFECT_SYNC_DIR);
      break;
    case CALL_WRITE: case CALL_SYNC: case CALL_TRUNCATE: case CALL_SHM_MAP:
      crash_after_file(c, e);
      break;
    default:
      break;
  }
}

struct crash_log *crash_log_create(struct vecdb_file_ops *mem){
  struct crash_log *c = lab_alloc(sizeof(*c));
  struct lab_hook hook = { c, crash_before, crash_after };
  c->mem = mem;
  c->ops = lab_layer_create(mem, "crash", &hook);
  return c;
}

void crash_log_destroy(struct crash_log *c){
  if( !c ) return;
  lab_layer_destroy(c->ops);
  for(size_t i=0; i<c->n_effect; i++){
    free(c->effects[i].data);
    free(c->effects[i].path);
    free(c->effects[i].path_to);
    free(c->effects[i].shm);
  }
  for(size_t i=0; i<c->n_file; i++){
    free(c->files[i].path);
    free(c->files[i].base);
  }
  free(c->effects);
  free(c->files);
  free(c);
}

const struct vecdb_file_ops *crash_log_ops(struct crash_log *c){
  return c->ops;
}

void crash_mark(struct crash_log *c, int lo, int hi, bool doubt){
  struct effect *e = log_effect(c, EFFECT_MARK);
  e->lo = lo;
  e->hi = hi;
  e->doubt = doubt;
}

size_t crash_log_size(const struct crash_log *c){ return c->n_effect; }

/* ---- images seen --------------------------------------------------------- */

struct seen_entry { uint64_t hash; int state; bool used; };

struct crash_seen {
  struct seen_entry *slots;         /* open addressing */
  size_t n_slot, n;
};

struct crash_seen *crash_seen_create(void){
  struct crash_seen *s = lab_alloc(sizeof(*s));
  s->n_slot = 1024;
  s->slots = lab_alloc(s->n_slot*sizeof(*s->slots));
  return s;
}

void crash_seen_destroy(struct crash_seen *s){
  if( s ) free(s->slots);
  free(s);
}

size_t crash_seen_count(const struct crash_seen *s){ return s->n; }

static struct seen_entry *seen_find(struct crash_seen *s, uint64_t hash){
  size_t i = (size_t)hash & (s->n_slot - 1);
  while( s->slots[i].used && s->slots[i].hash!=hash ) i = (i+1) & (s->n_slot-1);
  return &s->slots[i];
}

static void seen_add(struct crash_seen *s, uint64_t hash, int state){
  struct seen_entry *e;
  if( s->n*2>=s->n_slot ){
    struct crash_seen old = *s;
    s->n_slot *= 2;
    s->slots = lab_alloc(s->n_slot*sizeof(*s->slots));
    for(size_t i=0; i<old.n_slot; i++){
      if( old.slots[i].used ) *seen_find(s, old.slots[i].hash) = old.slots[i];
    }
    free(old.slots);
  }
  e = seen_find(s, hash);
  e->hash = hash;
  e->state = state;
  e->used = true;
  s->n++;
}

/* ---- replay -------------------------------------------------------------- */

struct disk_file {                  /* synced bytes of a file */
  unsigned char *p;
  size_t n, n_cap;
};

struct disk_name { const char *path; size_t i_file; };

struct disk_names {
  struct disk_name list[64];        /* a scenario has a handful of files */
  size_t n;
};

struct replay {
  struct crash_log *log;
  struct disk_file *files;          /* synced, by file number */
  struct disk_names names;          /* synced */
  size_t *pending, n_pending;       /* unsynced writes and truncates */
  size_t *renames, n_rename;        /* unsynced name changes */
  size_t i;                         /* effects before this boundary */
  int lo, hi;
  bool doubt;
  const struct effect *last_shm;    /* newest that noted shared memory */
};

enum fate {
  FATE_DROP, FATE_KEEP,
  FATE_LENGTH,                      /* the length it gives, not the bytes */
  FATE_NO_LENGTH,                   /* the bytes within the old length */
  FATE_HEAD,                        /* sectors before the tear are new */
  FATE_HEAD_ZERO,                   /* and the one at the tear is zero */
  FATE_HEAD_GARBAGE,                /* or garbage */
  FATE_TAIL,                        /* sectors from the tear on are new */
  FATE_HOLE                         /* all but the one at the tear are new */
};
#define N_TEAR 5                    /* kinds of tears: FATE_HEAD and later */

enum shm_fate { SHM_ABSENT, SHM_EMPTY, SHM_STALE, SHM_GARBAGE, SHM_N_FATE };

struct verdict {
  unsigned char *fates;             /* of each pending effect */
  size_t tear;                      /* sector where the torn write is torn */
  size_t n_rename;                  /* name changes that survive */
  enum shm_fate shm;
  uint64_t seed;                    /* of garbage */
};

static void disk_reserve(struct disk_file *f, size_t n){
  if( n<=f->n_cap ) return;
  f->n_cap = n + n/2 + 4096;
  f->p = lab_grow(f->p, f->n_cap);
}

static void disk_resize(struct disk_file *f, size_t n){
  disk_reserve(f, n);
  if( n>f->n ) memset(f->p + f->n, 0, n - f->n);
  f->n = n;
}

static void disk_put(struct disk_file *f, uint64_t off, const void *p,
                     size_t n){
  if( off + n>f->n ) disk_resize(f, (size_t)off + n);
  memcpy(f->p + off, p, n);
}

static void disk_apply(struct disk_file *f, const struct effect *e){
  if( e->kind==EFFECT_WRITE ) disk_put(f, e->off, e->data, e->n);
  else disk_resize(f, (size_t)e->off);
}

/* Bytes lo..hi-1 of the write, or a filling of them; never past the length
** that the file has when `fixed` is set. */
static void torn_put(struct disk_file *f, const struct effect *e, size_t lo,
                     size_t hi, const unsigned char *fill, bool fixed){
  const unsigned char *src = fill ? fill : e->data + lo;
  if( hi>e->n ) hi = e->n;
  if( fixed ){
    size_t room = f->n>e->off ? f->n - (size_t)e->off : 0;
    if( hi>room ) hi = room;
  }
  if( lo<hi ) disk_put(f, e->off + lo, src, hi - lo);
}

/* Sectors are those of the disk: the first one of a write may be short. */
static size_t sector_start(const struct effect *e, size_t i){
  size_t skip = (size_t)(e->off % SECTOR);
  size_t at = i*SECTOR;
  return at>skip ? vdb_min_sz(at - skip, e->n) : 0;
}

static size_t sector_count(const struct effect *e){
  return ((size_t)(e->off % SECTOR) + e->n + SECTOR - 1)/SECTOR;
}

static void disk_apply_torn(struct disk_file *f, const struct effect *e,
                            enum fate fate, const struct verdict *v){
  size_t lo = sector_start(e, v->tear), hi = sector_start(e, v->tear + 1);
  unsigned char fill[SECTOR];
  struct vdb_rng r;

  /* The length may have grown before the bytes came. */
  if( (v->seed & 1) && e->off + e->n>f->n ){
    disk_resize(f, (size_t)e->off + e->n);
  }
  memset(fill, 0, sizeof(fill));
  if( fate==FATE_HEAD_GARBAGE ){
    vdb_rng_init(&r, v->seed);
    for(size_t i=0; i<SECTOR; i++) fill[i] = (unsigned char)vdb_rng_u64(&r);
  }
  if( fate!=FATE_TAIL ) torn_put(f, e, 0, lo, NULL, false);
  if( fate==FATE_HEAD_ZERO || fate==FATE_HEAD_GARBAGE ){
    torn_put(f, e, lo, hi, fill, false);
  }
  if( fate==FATE_TAIL ) torn_put(f, e, lo, e->n, NULL, false);
  if( fate==FATE_HOLE ) torn_put(f, e, hi, e->n, NULL, false);
}

static void disk_apply_fate(struct disk_file *f, const struct effect *e,
                            enum fate fate, const struct verdict *v){
  if( fate==FATE_DROP ) return;
  if( fate==FATE_KEEP || e->kind==EFFECT_TRUNCATE ){
    disk_apply(f, e);
  }else if( fate==FATE_LENGTH ){
    if( e->off + e->n>f->n ) disk_resize(f, (size_t)e->off + e->n);
  }else if( fate==FATE_NO_LENGTH ){
    torn_put(f, e, 0, e->n, NULL, true);
  }else{
    disk_apply_torn(f, e, fate, v);
  }
}

static size_t names_find(const struct disk_names *d, const char *path){
  size_t i = 0;
  while( i<d->n && strcmp(d->list[i].path, path)!=0 ) i++;
  return i;
}

static void names_set(struct disk_names *d, const char *path, size_t i_file){
  size_t i = names_find(d, path);
  if( i==d->n ){
    if( d->n==VDB_ARRAY_LEN(d->list) ){
      fprintf(stderr, "the lab knows too many files\n");
      abort();
    }
    d->n++;
  }
  d->list[i].path = path;
  d->list[i].i_file = i_file;
}

static void names_remove(struct disk_names *d, size_t i){
  d->list[i] = d->list[--d->n];
}

static void names_apply(struct disk_names *d, const struct effect *e){
  size_t i;
  if( e->kind==EFFECT_CREATE ){
    names_set(d, e->path, e->i_file);
    return;
  }
  i = names_find(d, e->path);
  if( i==d->n ) return;
  if( e->kind==EFFECT_RENAME ) names_set(d, e->path_to, d->list[i].i_file);
  names_remove(d, names_find(d, e->path));
}

/* ---- building an image --------------------------------------------------- */

static struct crash_image_file *image_file(struct crash_image *img,
                                           const char *path, size_t n){
  struct crash_image_file *f = &img->files[img->n_file++];
  if( n>f->n_cap ){
    f->n_cap = n + n/2 + 4096;
    f->p = lab_grow(f->p, f->n_cap);
  }
  f->path = path;
  f->n = n;
  return f;
}

static void image_add_shm(struct crash_image *img, const struct replay *r,
                          const char *path, const struct verdict *v){
  size_t n = r->last_shm ? r->last_shm->n_shm : 0;
  struct crash_image_file *f;
  struct vdb_rng rng;

  if( v->shm==SHM_ABSENT ) return;
  f = image_file(img, path, v->shm==SHM_EMPTY ? 0 : n);
  if( v->shm==SHM_STALE && n ) memcpy(f->p, r->last_shm->shm, n);
  if( v->shm==SHM_GARBAGE ){
    vdb_rng_init(&rng, v->seed);
    for(size_t i=0; i<n; i++) f->p[i] = (unsigned char)vdb_rng_u64(&rng);
  }
}

static void image_add_file(struct crash_image *img, const struct replay *r,
                           const struct disk_name *name,
                           const struct verdict *v){
  const struct disk_file *synced = &r->files[name->i_file];
  struct crash_image_file *f;
  struct disk_file work;

  f = image_file(img, name->path, synced->n);
  if( synced->n ) memcpy(f->p, synced->p, synced->n);
  work.p = f->p;
  work.n = f->n;
  work.n_cap = f->n_cap;
  for(size_t i=0; i<r->n_pending; i++){
    const struct effect *e = &r->log->effects[r->pending[i]];
    if( e->i_file!=name->i_file ) continue;
    disk_apply_fate(&work, e, (enum fate)v->fates[i], v);
  }
  f->p = work.p;
  f->n = work.n;
  f->n_cap = work.n_cap;
}

/* The image does not depend on the order in which names were made. */
static int name_compare(const void *a, const void *b){
  return strcmp(((const struct disk_name*)a)->path,
                ((const struct disk_name*)b)->path);
}

static void image_build(struct crash_image *img, const struct replay *r,
                        const struct verdict *v){
  struct disk_names names = r->names;

  for(size_t i=0; i<v->n_rename; i++){
    names_apply(&names, &r->log->effects[r->renames[i]]);
  }
  if( names.n ){
    qsort(names.list, names.n, sizeof(names.list[0]), name_compare);
  }
  img->n_file = 0;
  for(size_t i=0; i<names.n; i++){
    const struct known_file *k = &r->log->files[names.list[i].i_file];
    if( k->is_shm ) image_add_shm(img, r, names.list[i].path, v);
    else image_add_file(img, r, &names.list[i], v);
  }
  img->hash = img->n_file;
  for(size_t i=0; i<img->n_file; i++){
    struct crash_image_file *f = &img->files[i];
    img->hash = lab_hash(img->hash, f->path, strlen(f->path));
    img->hash = lab_hash(img->hash, f->p, f->n);
  }
  img->lo = r->lo;
  img->hi = r->hi;
  img->doubt = r->doubt;
  img->i_boundary = r->i;
}

/* ---- candidates of a boundary (C3) --------------------------------------- */

struct candidates {
  size_t n_prefix, n_drop, n_keep, n_random, n_torn, n_length, n_name, n_shm;
  size_t i_last;                /* newest pending write; n_pending: none */
};

static size_t last_write(const struct replay *r){
  for(size_t i=r->n_pending; i>0; i--){
    if( r->log->effects[r->pending[i-1]].kind==EFFECT_WRITE ) return i-1;
  }
  return r->n_pending;
}

/* Only the newest effect opens new possibilities; those of older ones were
** candidates at earlier boundaries, so the numbers stay small. */
static size_t candidates_count(const struct replay *r, struct candidates *c){
  memset(c, 0, sizeof(*c));
  c->i_last = last_write(r);
  c->n_prefix = r->n_pending + 1;
  c->n_drop = c->n_keep = r->n_pending>1 ? r->n_pending : 0;
  c->n_random = r->n_pending>1 ? 4 + r->n_pending/2 : 0;
  if( c->i_last<r->n_pending ){
    const struct effect *e = &r->log->effects[r->pending[c->i_last]];
    c->n_torn = sector_count(e)*N_TEAR*2;
    c->n_length = 4;
  }
  c->n_name = r->n_rename*2;
  c->n_shm = r->last_shm ? SHM_N_FATE - 1 : 0;
  return c->n_prefix + c->n_drop + c->n_keep + c->n_random + c->n_torn
       + c->n_length + c->n_name + c->n_shm;
}

static void fates_fill(const struct replay *r, struct verdict *v,
                       size_t n_keep){
  memset(v->fates, FATE_DROP, r->n_pending);
  memset(v->fates, FATE_KEEP, n_keep);
}

static void verdict_random(const struct replay *r, struct verdict *v){
  struct vdb_rng rng;
  vdb_rng_init(&rng, v->seed);
  for(size_t i=0; i<r->n_pending; i++){
    v->fates[i] = vdb_rng_below(&rng, 2) ? FATE_KEEP : FATE_DROP;
  }
  v->n_rename = vdb_rng_below(&rng, (uint32_t)r->n_rename + 1);
  v->shm = (enum shm_fate)vdb_rng_below(&rng, SHM_N_FATE);
}

/* Verdict number k of the boundary; says in what[] what it is. */
static void verdict_make(const struct replay *r, const struct candidates *c,
                         size_t k, struct verdict *v, char *what, size_t sz){
  static const char *const tear[N_TEAR] = {
    "head", "head, then zeros", "head, then garbage", "tail", "all but one"
  };
  static const char *const shm[SHM_N_FATE] = {
    "absent", "empty", "stale", "garbage"
  };
  size_t n = r->n_pending;

  fates_fill(r, v, n);
  v->n_rename = r->n_rename;
  v->shm = SHM_ABSENT;
  v->tear = 0;
  if( k<c->n_prefix ){
    fates_fill(r, v, k);
    snprintf(what, sz, "first %zu of %zu writes", k, n);
    return;
  }
  k -= c->n_prefix;
  if( k<c->n_drop ){
    v->fates[k] = FATE_DROP;
    snprintf(what, sz, "all but write %zu of %zu", k+1, n);
    return;
  }
  k -= c->n_drop;
  if( k<c->n_keep ){
    fates_fill(r, v, 0);
    v->fates[k] = FATE_KEEP;
    snprintf(what, sz, "only write %zu of %zu", k+1, n);
    return;
  }
  k -= c->n_keep;
  if( k<c->n_random ){
    verdict_random(r, v);
    snprintf(what, sz, "a random part of %zu writes, %zu of %zu names", n,
             v->n_rename, r->n_rename);
    return;
  }
  k -= c->n_random;
  if( k<c->n_torn ){
    if( k & 1 ) fates_fill(r, v, 0);
    v->tear = (k>>1) / N_TEAR;
    v->fates[c->i_last] = (unsigned char)(FATE_HEAD + (k>>1) % N_TEAR);
    snprintf(what, sz, "write %zu of %zu torn at sector %zu (%s), others %s",
             c->i_last+1, n, v->tear, tear[(k>>1) % N_TEAR],
             k & 1 ? "lost" : "kept");
    return;
  }
  k -= c->n_torn;
  if( k<c->n_length ){
    if( k & 1 ) fates_fill(r, v, 0);
    v->fates[c->i_last] = k & 2 ? FATE_LENGTH : FATE_NO_LENGTH;
    snprintf(what, sz, "write %zu of %zu as its %s, others %s", c->i_last+1, n,
             k & 2 ? "length alone" : "bytes within the old length",
             k & 1 ? "lost" : "kept");
    return;
  }
  k -= c->n_length;
  if( k<c->n_name ){
    if( k & 1 ) fates_fill(r, v, 0);
    v->n_rename = k>>1;
    snprintf(what, sz, "first %zu of %zu name changes, writes %s", v->n_rename,
             r->n_rename, k & 1 ? "lost" : "kept");
    return;
  }
  v->shm = (enum shm_fate)(SHM_EMPTY + (k - c->n_name));
  snprintf(what, sz, "all writes, shared memory %s", shm[v->shm]);
}

/* ---- exploring ----------------------------------------------------------- */

struct explorer {
  struct replay r;
  const struct crash_plan *plan;
  struct crash_seen *seen;
  crash_probe probe;
  void *arg;
  struct crash_image img;
  struct verdict v;
  size_t n_new;
  bool failed;
};

/* Drop effects of file i_file from the pending list, applying them. */
static void replay_sync(struct replay *r, size_t i_file){
  size_t n = 0;
  for(size_t i=0; i<r->n_pending; i++){
    const struct effect *e = &r->log->effects[r->pending[i]];
    if( e->i_file==i_file ) disk_apply(&r->files[i_file], e);
    else r->pending[n++] = r->pending[i];
  }
  r->n_pending = n;
}

static void replay_step(struct replay *r){
  const struct effect *e = &r->log->effects[r->i];
  switch( e->kind ){
    case EFFECT_WRITE: case EFFECT_TRUNCATE:
      r->pending[r->n_pending++] = r->i;
      break;
    case EFFECT_SYNC:
      replay_sync(r, e->i_file);
      break;
    case EFFECT_CREATE: case EFFECT_RENAME: case EFFECT_UNLINK:
      r->renames[r->n_rename++] = r->i;
      break;
    case EFFECT_SYNC_DIR:
      for(size_t i=0; i<r->n_rename; i++){
        names_apply(&r->names, &r->log->effects[r->renames[i]]);
      }
      r->n_rename = 0;
      break;
    case EFFECT_MARK:
      r->lo = e->lo;
      r->hi = e->hi;
      r->doubt = e->doubt;
      break;
  }
  if( e->shm ) r->last_shm = e;
  r->i++;
}

/* Probe the image that ex->v describes, unless its state is known. */
static void explorer_probe(struct explorer *ex){
  struct crash_image *img = &ex->img;
  struct seen_entry old;
  int state;

  image_build(img, &ex->r, &ex->v);
  old = *seen_find(ex->seen, img->hash);
  if( old.used && old.state>=img->lo && old.state<=img->hi ) return;
  state = ex->probe(ex->arg, img);
  if( state<img->lo || state>img->hi ) ex->failed = true;
  /* A probe that explores a second cut may have seen this very image. */
  if( seen_find(ex->seen, img->hash)->used ) return;
  seen_add(ex->seen, img->hash, state);
  ex->n_new++;
}

static bool explorer_is_done(const struct explorer *ex){
  return ex->failed || (ex->plan->n_max && ex->n_new>=ex->plan->n_max);
}

/* Step that visits 0..n-1 in an order without pattern: coprime to n. */
static size_t coprime_step(size_t n, uint64_t seed){
  size_t step = 1 + (size_t)(seed % n);
  for(;; step++){
    size_t a = step, b = n;
    while( b ){ size_t t = a % b; a = b; b = t; }
    if( a==1 ) return step;
  }
}

static void explore_boundary(struct explorer *ex){
  struct candidates c;
  size_t n = candidates_count(&ex->r, &c);
  uint64_t seed = vdb_mix64(ex->plan->seed + ex->r.i*0x9e3779b97f4a7c15u);
  size_t n_try = vdb_min_sz(n, ex->plan->n_per_boundary);
  size_t step = coprime_step(n, seed);
  size_t at = (size_t)(vdb_mix64(seed) % n);

  for(size_t i=0; i<n_try && !explorer_is_done(ex); i++){
    /* "all" always, then a walk through the numbers. */
    size_t k = i==0 ? c.n_prefix - 1 : at;
    if( i>0 ) at = (at + step) % n;
    ex->v.seed = vdb_mix64(seed + k);
    verdict_make(&ex->r, &c, k, &ex->v, ex->img.what, sizeof(ex->img.what));
    explorer_probe(ex);
  }
}

static void explorer_init(struct explorer *ex, struct crash_log *c){
  struct replay *r = &ex->r;
  r->log = c;
  r->files = lab_alloc(c->n_file*sizeof(*r->files) + 1);
  r->pending = lab_alloc(c->n_effect*sizeof(size_t) + 1);
  r->renames = lab_alloc(c->n_effect*sizeof(size_t) + 1);
  ex->v.fates = lab_alloc(c->n_effect + 1);
  ex->img.files = lab_alloc((VDB_ARRAY_LEN(r->names.list) + 1)
                            *sizeof(ex->img.files[0]));
  for(size_t i=0; i<c->n_file; i++){
    const struct known_file *f = &c->files[i];
    if( !f->existed ) continue;
    disk_resize(&r->files[i], f->n_base);
    if( f->n_base ) memcpy(r->files[i].p, f->base, f->n_base);
    names_set(&r->names, f->path, i);
  }
}

static void explorer_clear(struct explorer *ex){
  for(size_t i=0; i<ex->r.log->n_file; i++) free(ex->r.files[i].p);
  for(size_t i=0; i<=VDB_ARRAY_LEN(ex->r.names.list); i++){
    free(ex->img.files[i].p);
  }
  free(ex->r.files);
  free(ex->r.pending);
  free(ex->r.renames);
  free(ex->v.fates);
  free(ex->img.files);
}

size_t crash_explore(struct crash_log *c, const struct crash_plan *plan,
                     struct crash_seen *seen, crash_probe probe, void *arg,
                     bool *failed){
  struct explorer ex;
  memset(&ex, 0, sizeof(ex));
  ex.plan = plan;
  ex.seen = seen;
  ex.probe = probe;
  ex.arg = arg;
  explorer_init(&ex, c);
  while( ex.r.i<c->n_effect && c->effects[ex.r.i].kind==EFFECT_MARK ){
    replay_step(&ex.r);
  }
  for(;;){
    explore_boundary(&ex);
    if( explorer_is_done(&ex) || ex.r.i==c->n_effect ) break;
    replay_step(&ex.r);
  }
  explorer_clear(&ex);
  *failed = ex.failed;
  return ex.n_new;
}

struct vecdb_file_ops *crash_world(const struct crash_image *img,
                                   uint64_t seed){
  struct vecdb_file_ops *mem = NULL;
  int rc = vdb_file_mem_create(seed, &mem);
  for(size_t i=0; i<img->n_file && rc==VECDB_OK; i++){
    const struct crash_image_file *f = &img->files[i];
    rc = vdb_file_mem_poke(mem, f->path, f->p, f->n);
  }
  if( rc!=VECDB_OK ){
    fprintf(stderr, "the lab is out of memory\n");
    abort();
  }
  return mem;
}
