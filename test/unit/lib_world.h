/* lib_world.h -- connections to one database in a world of its own in RAM.
**
** Used by   the tests of the file store: t_wal, t_snapshot, t_ckpt, t_conn,
**           t_life.
**
** A connection is a pager, and connections exclude each other as processes do.
*/
#ifndef LIB_WORLD_H
#define LIB_WORLD_H
#include "util/bytes.h"
#include "pager/file.h"
#include "pager/format.h"
#include "lab/lib_layer.h"
#include "unit/lib_pages.h"

static struct vecdb_file_ops *world;

/* A layer above the world shows every call of the connections on it to these
** functions of the test, which may make it fail, or let others act just then.
*/
static struct vecdb_file_ops *layer;
static int (*on_before)(struct lab_event *e);
static void (*on_after)(struct lab_event *e, int rc);

static inline int layer_before(void *arg, struct lab_event *e){
  VDB_UNUSED(arg);
  return on_before ? on_before(e) : VECDB_OK;
}
static inline void layer_after(void *arg, struct lab_event *e, int rc){
  VDB_UNUSED(arg);
  if( on_after ) on_after(e, rc);
}

static inline void begin_world(void){
  struct lab_hook hook = { NULL, layer_before, layer_after };
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(vt_seed(), &world) );
  layer = lab_layer_create(world, "watched", &hook);
}

static inline struct pager_config config(void){
  struct pager_config cfg;
  if( world==NULL ) begin_world();
  memset(&cfg, 0, sizeof(cfg));
  cfg.path = "t.vdb";
  cfg.open_flags = VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE;
  cfg.file = world;
  return cfg;
}

static struct pager *live[16];        /* what open_db gave and close_db not yet */

static inline struct pager *open_with(const struct pager_config *cfg){
  struct pager *p = NULL;
  int i = 0;
  if( vdb_pager_open(cfg, &err, &p)!=VECDB_OK ) FAIL("%s", err.msg);
  REQUIRE( p!=NULL );
  while( live[i] ) i++;
  return live[i] = p;
}

static inline struct pager *open_db(void){
  struct pager_config cfg = config();
  return open_with(&cfg);
}

/* A connection on the layer. */
static inline struct pager *open_watched(void){
  struct pager_config cfg = config();
  cfg.file = layer;
  return open_with(&cfg);
}

static inline int close_db(struct pager *p){
  for(int i=0; i<16; i++) if( live[i]==p ) live[i] = NULL;
  return vdb_pager_close(p);
}

/* Close everything, forget every file. */
static inline void end_world(void){
  on_before = NULL;
  on_after = NULL;
  for(int i=0; i<16; i++){
    vdb_pager_close(live[i]);
    live[i] = NULL;
  }
  lab_layer_destroy(layer);
  vdb_file_mem_destroy(world);
  layer = world = NULL;
}

static inline bool ends_with(const char *z, const char *end){
  size_t n = strlen(z), n_end = strlen(end);
  return n>=n_end && strcmp(z+n-n_end, end)==0;
}

static inline bool exists(const char *path){
  bool yes = false;
  world->exists(world->env, path, &yes);
  return yes;
}

/* A copy of a file's bytes, and putting it back. */
struct image { unsigned char *p; size_t n; };
static inline struct image image_take(const char *path){
  struct image im = { NULL, 0 };
  const unsigned char *p;
  if( vdb_file_mem_peek(world, path, &p, &im.n)!=VECDB_OK ) return im;
  im.p = vdb_memdup(p, im.n);
  return im;
}
static inline void image_put(const char *path, struct image im){
  REQUIRE_RC( VECDB_OK, vdb_file_mem_poke(world, path, im.p, im.n) );
}

/* Files as they are now become the files of a fresh world: a crash in which
** nothing was lost but the last `cut` bytes of the log. */
static inline void crash_keeping(size_t cut){
  struct image main = image_take("t.vdb"), wal = image_take("t.vdb-wal");
  end_world();
  (void)config();
  image_put("t.vdb", main);
  if( wal.p ){
    wal.n -= cut<wal.n ? cut : wal.n;
    image_put("t.vdb-wal", wal);
  }
  vdb_free(main.p);
  vdb_free(wal.p);
}
#endif
