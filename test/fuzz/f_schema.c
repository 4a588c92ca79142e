/* f_schema.c -- the text of a schema: printing what was parsed and parsing
** that is a fixed point, and a schema that parses can be used.
**
** One input in eight, by its hash, is also made a collection of a database in
** memory, where a row is put and read. */

#include "fuzz/fuzz.h"
#include "lab/lib_layer.h"
#include "store/schema.h"
#include "util/mem.h"

static const char *const words[] = {
  "float[8]", "float[", "float16[3]", "bfloat16[4]", "int8[8]", "uint8[8]",
  "bit[64]", "]", "primary key", "integer", "int", "real", "text", "blob",
  "boolean", "not null", "partition key", "+", ",", "=", "distance_metric=l2",
  "cosine", "ip", "l1", "hamming", "jaccard", "index=", "graph(", "flat(",
  "ivf(", "r=32", "bits=2", "alpha=1.2", "nav=pca", "nav_dims=8", "codec=sq8",
  "rabitq", "pq4", "nlist=16", "nprobe=2", "spill=soar", "build_l=64", ")",
  "recall=0.9", "ef=50", "optimize=manual", "merge_rows=100", "page_size=4096",
  "chunk_size=1024", "durability=full", "file='x.vdb'", "collection='c'",
  "\"", "'", "[", "`", "--", "/*", "*/", "65535", "65536", "-1", "1e9",
  "\xc3\xa9", NULL
};

static int parse(const char *z, struct schema **out){
  struct vdb_err err = { VECDB_OK, "" };
  int rc = vdb_schema_parse(z, &err, out);
  fuzz_clean(rc, "parsing", err.msg);
  if( rc!=VECDB_OK && err.msg[0]==0 ) fuzz_fail("refused without a word");
  return rc;
}

/* Parse what was printed and print it: the same text. */
static void expect_fixed_point(const struct schema *s, bool stored){
  struct schema *again = NULL;
  char *z = NULL, *z_again = NULL;
  FUZZ_OK( vdb_schema_print(s, stored, &z) );
  if( parse(z, &again)!=VECDB_OK ){
    fuzz_fail("the canonical text is refused: %s", z);
  }
  FUZZ_OK( vdb_schema_print(again, stored, &z_again) );
  if( strcmp(z, z_again)!=0 ){
    fuzz_fail("not a fixed point:\n%s\n%s", z, z_again);
  }
  vdb_free(z);
  vdb_free(z_again);
  vdb_schema_destroy(again);
}

static void row_put(vecdb *db, vecdb_collection *c){
  static const unsigned char zeros[4*SCHEMA_DIMS_MAX];
  vecdb_stmt *s = NULL;
  FUZZ_OK( vecdb_prepare_insert(c, 0, &s) );
  for(int i=0; i<vecdb_column_count(c); i++){
    vecdb_column_info info = { .size = sizeof(info) };
    FUZZ_OK( vecdb_column_describe(c, i, &info) );
    if( info.type==VECDB_VECTOR ){
      FUZZ_OK( vecdb_bind_vector(s, i, (int)info.element, zeros,
                                 info.vector_bytes, VECDB_STATIC) );
    }else if( info.type==VECDB_TEXT ){
      FUZZ_OK( vecdb_bind_text(s, i, "a", 1, VECDB_STATIC) );
    }else if( info.type!=VECDB_BLOB ){
      FUZZ_OK( vecdb_bind_int64(s, i, 1) );
    }
  }
  if( fuzz_clean(vecdb_step(s), "insert", vecdb_errmsg(db)) ){
    vecdb_stmt *scan = NULL;
    FUZZ_OK( vecdb_prepare_scan(c, NULL, &scan) );
    if( vecdb_step(scan)!=VECDB_ROW ) fuzz_fail("the row is not there");
  }
}

static void schema_use(const char *z){
  vecdb *db = NULL;
  vecdb_collection *c = NULL;
  FUZZ_OK( vecdb_open(":memory:", VECDB_OPEN_MEMORY, NULL, &db) );
  if( fuzz_clean(vecdb_create_collection(db, "t", z), "create",
                 vecdb_errmsg(db)) ){
    FUZZ_OK( vecdb_collection_open(db, "t", &c) );
    row_put(db, c);
  }
  FUZZ_OK( vecdb_close(db) );
}

static void schema_one(const uint8_t *p, size_t n){
  struct schema *s = NULL;
  char *z = vdb_strndup((const char*)p, n);
  if( parse(z, &s)==VECDB_OK ){
    expect_fixed_point(s, false);
    expect_fixed_point(s, true);
    if( lab_hash(0, p, n) % 8==0 ) schema_use(z);
  }
  vdb_schema_destroy(s);
  vdb_free(z);
}

static void schema_seeds(void){
  static const char *const text[] = {
    "id integer primary key, embedding float[768] distance_metric=cosine, "
      "year int, title text, +thumbnail blob",
    "v float[8]", "name text primary key, v int8[16] distance_metric=l1",
    "v float[64] index=graph(r=32, bits=2, alpha=1.2, build_l=100)",
    "v float[64] index=flat(codec=rabitq), w float[8] index=flat",
    "v bit[128] distance_metric=hamming, u integer partition key, b boolean",
    "v float16[4] distance_metric=ip, w bfloat16[4], optimize=manual, "
      "merge_rows=500, recall=0.95, ef=64",
    "\"a b\" float[3], [c d] text, `e` real not null, 'f' blob",
    "v float[3] -- comment\n, /* another */ n int",
    "a float[2], file='x.vdb', collection='c', page_size=8192, durability="
      "relaxed",
    "v float[8] index=graph(nav=pca, nav_dims=4)",
    "v float[8] index=ivf(nlist=4, nprobe=2, spill=soar)"
  };
  for(size_t i=0; i<VDB_ARRAY_LEN(text); i++){
    fuzz_seed_text("", i, -1, text[i]);
  }
}

const struct fuzz_target fuzz_target = {
  .name = "schema", .sz_max = 2048, .mem_max = 32<<20, .seconds_max = 2,
  .words = words, .one = schema_one, .seeds = schema_seeds
};
