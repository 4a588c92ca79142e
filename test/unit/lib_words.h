/* lib_words.h -- the words of "t.vdb-shm", looked at and set from outside.
**
** Used by   t_races, t_shared, t_lies, t_log_lies, lib_fail.h: what no
**           connection would write stands for one that died half way, or for
**           somebody who lies.
*/
#ifndef LIB_WORDS_H
#define LIB_WORDS_H
#include "unit/lib_world.h"
#include "pager/fstore.h"

static inline struct vdb_file *words_open(void){
  struct vdb_file *f = NULL;
  REQUIRE_RC( VECDB_OK, world->open(world->env, "t.vdb-shm", 0, &f, NULL) );
  REQUIRE_RC( VECDB_OK, world->shm_map(f, SHM_SIZE, NULL) );
  return f;
}

static inline uint64_t word_get(size_t at){
  struct vdb_file *f = words_open();
  uint64_t v = world->shm_load(f, at);
  world->close(f);
  return v;
}

static inline void word_put(size_t at, uint64_t v){
  struct vdb_file *f = words_open();
  world->shm_store(f, at, v);
  world->close(f);
}

/* One word of both copies of the published state, hash right. */
static inline void state_lie(size_t at, uint64_t v){
  struct vdb_file *f = words_open();
  for(int k=0; k<2; k++){
    size_t off = k ? SHM_HDRB : SHM_HDRA;
    uint64_t h = 0x76656364622d7368u;
    world->shm_store(f, off + at, v);
    for(size_t i=0; i<SHMHDR_SIZE/8-1; i++){
      h = vdb_mix64(h ^ world->shm_load(f, off + 8*i)) + i;
    }
    world->shm_store(f, off + SHMHDR_CHECK, h);
  }
  world->close(f);
}

/* The generation in the word of the backfill moves. */
static inline void generation_bump(uint64_t by){
  uint64_t w = word_get(SHM_BACKFILL);
  word_put(SHM_BACKFILL, BACKFILL(BACKFILL_GEN(w) + by, 0));
}

/* A writer began to restart the log and died. */
static inline void restart_and_die(void){
  generation_bump(1);
  word_put(SHM_WRITERPID, 99);
}
#endif
