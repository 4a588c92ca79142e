/* t_file_mem.c -- the ends of the file layer in RAM: names, sizes, disks. */
#include "vt.h"
#include "util/common.h"
#include "util/mem.h"
#include "pager/file.h"

static struct vecdb_file_ops *world;
static struct vdb_err err;

static struct vdb_file *make(const char *path){
  struct vdb_file *f = NULL;
  if( world==NULL ) REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &world) );
  REQUIRE_RC( VECDB_OK, world->open(world->env, path, FILE_CREATE, &f, &err) );
  return f;
}

static void end(void){
  struct vdb_mem_stats st;
  vdb_file_mem_destroy(world);
  world = NULL;
  vdb_mem_stats(&st);
  CHECK_U64( 0, st.n_block );
}

TEST(file_mem__no_file_is_larger_than_the_disk){
  struct vdb_file *f = make("a"), *g;
  char b[100] = "x";
  vdb_file_mem_limit(world, 10000);
  g = make("b");
  for(int i=0; i<2; i++){
    struct vdb_file *h = i ? g : f;
    CHECK_RC( VECDB_OK, world->write(h, 9900, b, 100, &err) );
    CHECK_RC( VECDB_FULL, world->write(h, 9901, b, 100, &err) );
    CHECK( strstr(err.msg, "too large")!=NULL );
    CHECK_RC( VECDB_FULL, world->truncate(h, 10001, &err) );
    CHECK_RC( VECDB_FULL, world->shm_map(h, 20000, &err) );
  }
  vdb_file_mem_limit(world, 0);
  CHECK_RC( VECDB_OK, world->write(f, 9901, b, 100, &err) );
  CHECK_RC( VECDB_FULL, world->truncate(f, UINT64_MAX/2, &err) );
  CHECK_RC( VECDB_FULL, world->write(f, UINT64_MAX/2, b, 100, &err) );
  CHECK_RC( VECDB_FULL, world->write(f, 0, b, SIZE_MAX/2, &err) );
  world->close(f);
  world->close(g);
  end();
}

TEST(file_mem__a_file_may_be_renamed_to_itself){
  struct vdb_file *f = make("a");
  bool yes = false;
  CHECK_RC( VECDB_OK, world->rename(world->env, "a", "a", &err) );
  CHECK_RC( VECDB_OK, world->exists(world->env, "a", &yes) );
  CHECK( yes );
  CHECK_RC( VECDB_NOTFOUND, world->rename(world->env, "none", "a", &err) );
  world->close(f);
  end();
}

TEST(file_mem__mappings_lie_within_the_file){
  struct vdb_file *f = make("a");
  const void *p, *q;
  const unsigned char *bytes;
  size_t n;
  CHECK_RC( VECDB_OK, vdb_file_mem_peek(world, "a", &bytes, &n) );
  CHECK_U64( 0, n );                       /* and bytes may be looked at */
  CHECK( bytes!=NULL );
  CHECK_RC( VECDB_OK, world->truncate(f, 0, &err) );
  CHECK_RC( VECDB_OK, world->write(f, 0, "abcdefgh", 8, &err) );
  CHECK_RC( VECDB_IOERR_MAP, world->map(f, 0, 0, &p, &err) );
  CHECK_RC( VECDB_IOERR_MAP, world->map(f, 9, 1, &p, &err) );
  CHECK_RC( VECDB_IOERR_MAP, world->map(f, 4, 5, &p, &err) );
  REQUIRE_RC( VECDB_OK, world->map(f, 2, 6, &p, &err) );
  CHECK_RC( VECDB_OK, world->truncate(f, 100000, &err) );   /* elsewhere */
  REQUIRE_RC( VECDB_OK, world->map(f, 0, 8, &q, &err) );
  CHECK_RC( VECDB_OK, world->write(f, 2, "CD", 2, &err) );
  CHECK_MEM( "CDefgh", p, 6 );             /* both see it */
  CHECK_MEM( "abCDefgh", q, 8 );
  world->unmap(f, p, 6);
  world->unmap(f, q, 8);
  world->close(f);
  end();
}

TEST(file_mem__setting_a_file_may_fail_for_want_of_memory){
  struct vecdb_file_ops *none = NULL;
  unsigned char b[10] = "x";
  size_t n;
  const unsigned char *p;
  world = NULL;
  vdb_mem_fail_at(1, false);
  CHECK_RC( VECDB_NOMEM, vdb_file_mem_create(1, &none) );
  vdb_mem_fail_at(0, false);
  CHECK( none==NULL );
  REQUIRE_RC( VECDB_OK, vdb_file_mem_create(1, &world) );
  for(uint64_t i=1; i<10; i++){
    int rc;
    vdb_mem_fail_at(i, false);
    rc = vdb_file_mem_poke(world, "a", b, 10);
    vdb_mem_fail_at(0, false);
    if( rc==VECDB_OK ) break;
    CHECK_RC( VECDB_NOMEM, rc );
  }
  CHECK_RC( VECDB_OK, vdb_file_mem_peek(world, "a", &p, &n) );
  CHECK_U64( 10, n );
  CHECK_RC( VECDB_OK, vdb_file_mem_poke(world, "a", b, 0) );
  CHECK_RC( VECDB_OK, vdb_file_mem_peek(world, "a", &p, &n) );
  CHECK_U64( 0, n );
  end();
}
