/* f_vecjson.c -- the text of a vector: what is accepted round-trips bit for
** bit. The first byte of an input is the element type, the rest is text. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "lab/lib_layer.h"

static const char *const words[] = {
  "[", "]", ",", " ", "-", "+", ".", "0", "1", "1e", "e+38", "e-45", "65504",
  "65520", "3.4028235e38", "3.4028236e38", "1.17549435e-38", "nan", "inf",
  "Infinity", "null", "true", "127", "-128", "128", "255", "256", "0.1",
  "4.9e-324", "1e400", "-0", "00", "\t", "\n", "\"1\"", "[1,2,3]", NULL
};

/* Printed and parsed again it must be the same bytes. */
static void expect_same(int element, size_t dims, const void *v, size_t sz){
  void *again = lab_alloc(sz + 1);
  size_t dims_again = 0;
  char *z = NULL, err[200] = "";
  FUZZ_OK( vecdb_vector_print(element, dims, v, &z) );
  if( vecdb_vector_parse(element, z, strlen(z), again, sz, &dims_again, err,
                         sizeof(err))!=VECDB_OK ){
    fuzz_fail("printed \"%.60s\", which is refused: %s", z, err);
  }
  if( dims_again!=dims || memcmp(v, again, sz)!=0 ){
    fuzz_fail("printed \"%.60s\", which is another vector", z);
  }
  vecdb_free(z);
  free(again);
}

/* By way of every other float type: no error that is not documented. */
static void convert(int element, size_t dims, const void *v){
  char err[200];
  for(int to=VECDB_F32; to<=VECDB_BF16; to++){
    void *out = lab_alloc(dims*4 + 1);
    int rc = vecdb_vector_convert(element, to, dims, v, out, err,
                                  sizeof(err));
    fuzz_clean(rc, "converting", err);
    free(out);
  }
}

static void vecjson_one(const uint8_t *p, size_t n){
  char err[200] = "";
  size_t dims = 0, dims_again = 0, sz;
  int element, rc;
  void *v;

  if( n==0 ) return;
  element = 1 + p[0] % 6;
  rc = vecdb_vector_parse(element, (const char*)p + 1, n - 1, NULL, 0, &dims,
                          err, sizeof(err));
  if( !fuzz_clean(rc, "counting", err) || dims==0 ) return;
  sz = vecdb_vector_bytes(element, dims);
  if( sz==0 ) return;                    /* bits that fill no byte */
  v = lab_alloc(sz);
  rc = vecdb_vector_parse(element, (const char*)p + 1, n - 1, v, sz,
                          &dims_again, err, sizeof(err));
  if( rc!=VECDB_OK || dims!=dims_again ){
    fuzz_fail("counted %zu elements, then %s: %s", dims, vecdb_errname(rc),
              err);
  }
  expect_same(element, dims, v, sz);
  if( element<=VECDB_BF16 ) convert(element, dims, v);
  free(v);
}

static void vecjson_seeds(void){
  static const char *const text[] = {
    "[1, 2.5, -3e4]", "[]", " [ 0.1 ,\t-0.0, 1e-45, 3.4028235e38 ] ",
    "[65504, -65504, 5.9604645e-8, 0.333]", "[127,-128,0,1]", "[0,255,128]",
    "[1,0,1,1,0,0,1,0]", "[1e400]", "[1,]", "[nan]", "[1 2]",
    "[0.1234567890123456789012345678901234567890e10]"
  };
  for(size_t i=0; i<VDB_ARRAY_LEN(text); i++){
    fuzz_seed_text("", i, (int)(i % 6), text[i]);
  }
}

const struct fuzz_target fuzz_target = {
  .name = "vecjson", .sz_max = 4096, .mem_max = 1<<20, .seconds_max = 1,
  .words = words, .one = vecjson_one, .seeds = vecjson_seeds
};
