/* f_shm.c -- shared memory that lies: somebody with the right to write it sets
** any word at any moment. Whoever can do that can also write the database, so
** answers may be wrong; but nothing may crash, hang, take much memory or
** report anything that is not documented.
**
** An input is a program of 4-byte steps: set a word (most of the time the
** checks are made right again), or let one of two connections do something.
** The first byte chooses the database. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/lib_files.h"
#include "pager/fstore.h"
#include "util/bytes.h"

enum { N_STEP_MAX = 60, N_WORLD = 2 };

struct stage {
  struct vecdb_file_ops *mem;
  struct vdb_file *shm;                /* the liar's own view; NULL: none */
  vecdb *db[2];
};

static struct file_pair pairs[N_WORLD];

static void shm_begin(void){
  for(size_t i=0; i<N_WORLD; i++) recipe_make(i, true, 1, &pairs[i]);
}

/* ---- lying --------------------------------------------------------------- */

static uint64_t word_get(struct stage *g, size_t off){
  return g->mem->shm_load(g->shm, off);
}

/* Both headers say what their words say, as pager/shm.c would compute it. */
static void checks_repair(struct stage *g){
  static const size_t at[] = { SHM_HDRA, SHM_HDRB };
  for(size_t k=0; k<2; k++){
    uint64_t h = 0x76656364622d7368u;
    for(size_t i=0; i<SHMHDR_CHECK/8; i++){
      h = vdb_mix64(h ^ word_get(g, at[k] + 8*i)) + i;
    }
    g->mem->shm_store(g->shm, at[k] + SHMHDR_CHECK, h);
  }
}

/* Words of interest: the whole head, both headers, the first slots of either
** kind. */
static size_t word_offset(unsigned x){
  static const size_t n_head = SHM_RESERVED0/8;
  if( x<40 ) return SHM_BACKFILL + 8*(x % (n_head-1));
  if( x<200 ) return SHM_HDRA + 8*(x % (SHMHDR_RESERVED0/8));
  if( x<220 ) return SHM_SLOTS + 8*(x % 4);
  if( x<240 ) return SHM_SLOTS + 8*(N_OWN + x%2);
  return 8*(x % (SHM_SIZE/8));
}

static uint64_t word_value(uint64_t now, unsigned how, unsigned x){
  switch( how % 12 ){
    case 0:  return 0;
    case 1:  return ~(uint64_t)0;
    case 2:  return now + x;
    case 3:  return now - x;
    case 4:  return x;
    case 5:  return (uint64_t)1<<(x % 64);
    case 6:  return now ^ (uint64_t)1<<(x % 64);
    case 7:  return now*(x + 2);
    case 8:  return 0x7fffffffu + (uint64_t)x;
    case 9:  return 0xffffffffu - (uint64_t)x;
    case 10: return (uint64_t)x<<32 | (uint32_t)now;
    default: return vdb_mix64(x);
  }
}

/* Into both copies of the header, or a reader would only try the other. */
static void word_set(struct stage *g, const uint8_t *step){
  size_t off = word_offset(step[1]);
  uint64_t v;
  if( !g->shm ) return;
  v = word_value(word_get(g, off), step[2], step[3]);
  g->mem->shm_store(g->shm, off, v);
  if( off>=SHM_HDRA && off<SHM_HDRB && step[0]%8!=0 ){
    g->mem->shm_store(g->shm, off + SHMHDR_SIZE, v);
  }
  if( step[0]%16!=0 ) checks_repair(g);
}

static void shm_find(struct stage *g){
  if( g->shm ) return;
  if( g->mem->open(g->mem->env, "x.vdb-shm", 0, &g->shm, NULL)!=VECDB_OK ){
    g->shm = NULL;
  }else if( g->mem->shm_map(g->shm, SHM_SIZE, NULL)!=VECDB_OK ){
    g->mem->close(g->shm);
    g->shm = NULL;
  }
}

static void shm_lose(struct stage *g){
  if( !g->shm ) return;
  g->mem->shm_unmap(g->shm);
  g->mem->close(g->shm);
  g->shm = NULL;
}

/* ---- believing it -------------------------------------------------------- */

static void write_something(vecdb *db, unsigned key){
  vecdb_collection *c = NULL;
  vecdb_stmt *s = NULL;
  int rc = vecdb_collection_open(db, "t", &c);
  if( fuzz_clean(rc, "opening", vecdb_errmsg(db))
   && fuzz_clean(vecdb_prepare_insert(c, VECDB_OR_REPLACE, &s), "preparing",
                 vecdb_errmsg(db)) ){
    vecdb_bind_int64(s, 0, key);
    vecdb_bind_vector_text(s, 1, "[1,2,3,4]",
                           (size_t)-1);
    fuzz_clean(vecdb_step(s), "insert", vecdb_errmsg(db));
  }
  vecdb_finalize(s);
  vecdb_collection_close(c);
}

static void db_do(struct stage *g, vecdb **db, const uint8_t *step){
  uint64_t n_log, n_done;
  int rc;
  if( !*db ){
    *db = files_open(g->mem, step[1]);
    return;
  }
  switch( step[2] % 8 ){
    case 0: case 1:
      files_digest(*db, &rc);
      break;
    case 2: case 3:
      write_something(*db, step[3]);
      break;
    case 4:
      if( vecdb_in_transaction(*db) ) break;
      rc = vecdb_checkpoint(*db, step[3] % 4, &n_log, &n_done);
      fuzz_clean(rc, "checkpoint", vecdb_errmsg(*db));
      break;
    case 5:
      rc = vecdb_begin(*db, step[3] % 2);
      if( rc==VECDB_MISUSE ) rc = vecdb_rollback(*db);   /* it was in one */
      fuzz_clean(rc, "begin", vecdb_errmsg(*db));
      break;
    case 6:
      rc = vecdb_in_transaction(*db) ? vecdb_commit(*db) : VECDB_OK;
      fuzz_clean(rc, "commit", vecdb_errmsg(*db));
      break;
    default:
      fuzz_clean(vecdb_close(*db), "close", "");
      *db = NULL;
  }
}

static void shm_one(const uint8_t *p, size_t n){
  struct stage g;
  memset(&g, 0, sizeof(g));
  if( n<5 ) return;
  g.mem = files_world(&pairs[p[0] % N_WORLD]);
  p++;
  n--;
  g.db[0] = files_open(g.mem, 0);
  for(size_t i=0; i+4<=n && i<4*N_STEP_MAX; i+=4){
    const uint8_t *step = p + i;
    shm_find(&g);
    if( step[0]<144 ) word_set(&g, step);
    else db_do(&g, &g.db[step[0] & 1], step);
  }
  for(int i=0; i<2; i++) fuzz_clean(vecdb_close(g.db[i]), "close", "");
  shm_lose(&g);
  vdb_file_mem_destroy(g.mem);
}

static void shm_seeds(void){
  struct vdb_rng r;
  uint8_t buf[4*20 + 1];
  char name[20];
  vdb_rng_init(&r, 7);
  for(int i=0; i<40; i++){
    for(size_t k=0; k<sizeof(buf); k++){
      buf[k] = (uint8_t)vdb_rng_below(&r, 256);
    }
    snprintf(name, sizeof(name), "%02d", i);
    fuzz_seed(name, buf, sizeof(buf));
  }
}

const struct fuzz_target fuzz_target = {
  .name = "shm", .sz_max = 4*N_STEP_MAX + 1, .mem_max = 64<<20,
  .seconds_max = 2, .begin = shm_begin, .one = shm_one, .seeds = shm_seeds
};
