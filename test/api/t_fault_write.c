/* t_fault_write.c -- schemas and rows that change, with each call and each
** allocation failing once (lib_rowsweep.h).
*/
#include "vt.h"
#include "lab/lib_rowsweep.h"

#define ALL_TYPES "id integer primary key, v float[4], w int8[4] " \
  "distance_metric=l1, h float16[4], b bit[16], p int partition key, " \
  "n int not null, r real, s text, f boolean, +x text, +y blob, +z int, " \
  "+q float"
#define ROW_7  "7|[1,2,3,4]|[1,-1,2,-2]|[0.5,1,2,4]|[1,0,1,0,1,0,1,0,1,0,1,0," \
  "1,0,1,0]|2|5|0.25|a text of more than twelve bytes|1|x|blob|9|2.5"
#define VECTORS "[4,3,2,1]|[1,-1,2,-2]|[0.5,1,2,4]|[1,0,1,0,1,0,1,0,1,0,1,0," \
  "1,0,1,0]"
#define WORDS  "word text primary key, v float[3] distance_metric=cosine, s text"

static int make_rows(vecdb *db){
  int rc;
  TRY( vecdb_create_collection(db, "t", ALL_TYPES) );
  TRY( rows_fill(db, "t", 1, 7) );
done:
  return rc;
}

/* Half of them sealed, one of these dead. */
static int make_sealed(vecdb *db){
  int rc;
  TRY( vecdb_create_collection(db, "t", ALL_TYPES) );
  TRY( rows_fill(db, "t", 10, 18) );
  TRY( coll_optimize(db, "t", VECDB_OPTIMIZE_SEAL) );
  TRY( row_delete(db, "t", "12") );
  TRY( rows_fill(db, "t", 1, 7) );
done:
  return rc;
}

static int make_words(vecdb *db){
  int rc;
  TRY( vecdb_create_collection(db, "words", WORDS) );
  TRY( rows_fill(db, "words", 0, 12) );
  TRY( coll_optimize(db, "words", 0) );
  TRY( rows_fill(db, "words", 12, 16) );
done:
  return rc;
}

/* ---- schemas ------------------------------------------------------------- */

static int act_create(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return vecdb_create_collection(db, "new", ALL_TYPES ", merge_rows=300, "
                                 "recall=0.9, ef=50, optimize=manual");
}
static int act_drop(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return vecdb_drop_collection(db, "t");
}
static int act_rename(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return vecdb_rename_collection(db, "t", "another name");
}
static int act_set(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return coll_set(db, "t", "merge_rows", "500");
}
static int act_set_index(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return coll_set(db, "t", "v.index",
                  "graph(bits=2, r=32, nav=none, build_l=100, alpha=1.5)");
}
static int act_schema(vecdb *db, uint64_t *answer){
  char *z = NULL;
  int rc = vecdb_check_schema(db, "[a key] text primary key, \"v\" f32[3] "
    "NOT NULL index=ivf(nlist=8, nprobe=2, spill=soar), `w` uint8[3] "
    "index=flat(bits=4) recall=0.5 ef=9, p text partition key, +a int, "
    "file='x.vdb', collection='c', durability=relaxed, page_size=8192, "
    "chunk_size=64", &z);
  if( rc==VECDB_OK ) *answer = strlen(z);
  vecdb_free(z);
  return rc;
}

TEST(fault__schemas){
  struct rowsweep s = { .name="create", .act=act_create };
  rowsweep_run(&s);
  s.name = "create beside others";
  s.make = make_rows;
  rowsweep_run(&s);
  s.name = "rename";
  s.act = act_rename;
  rowsweep_run(&s);
  s.name = "set an option";
  s.act = act_set;
  rowsweep_run(&s);
  s.name = "set an index";
  s.act = act_set_index;
  rowsweep_run(&s);
  s.name = "parse and print";
  s.act = act_schema;
  s.reads = true;
  rowsweep_run(&s);
}

TEST(fault__dropping){
  struct rowsweep s = { .name="drop", .make=make_sealed, .act=act_drop };
  rowsweep_run(&s);
}

/* ---- rows one by one ----------------------------------------------------- */

static int act_insert(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return row_put(db, "t", 0, ROW_7);
}
static int act_insert_without_key(vecdb *db, uint64_t *answer){
  int rc = row_put(db, "t", 0, "|" VECTORS "||3");
  if( rc==VECDB_OK ) *answer = (uint64_t)vecdb_last_key(db);
  return rc;
}
static int act_replace(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return row_put(db, "t", VECDB_OR_REPLACE, "11|" VECTORS "|1|2");
}
static int act_ignore(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return row_put(db, "t", VECDB_OR_IGNORE, "11|" VECTORS "|1|2");
}
static int act_update_cells(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return row_update(db, "t", "11", "-|-|-|-|-|-|8||another text that is long"
                    "|-|-|other|77");
}
static int act_update_vector(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return row_update(db, "t", "13", "-|[9,9,9,9]|-|-|-|-|-|-|short");
}
static int act_update_key(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return row_update(db, "t", "14", "100|-|-|-|-|-|-|-|-|-|-|-|-");
}
static int act_update_young(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return row_update(db, "t", "3", "-|-|-|-|-|-|8||another text that is long"
                    "|-|-|other|77");
}
static int act_delete_young(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return row_delete(db, "t", "3");
}
static int act_delete_sealed(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return row_delete(db, "t", "15");
}

TEST(fault__inserting){
  struct rowsweep s = { .name="insert", .make=make_rows, .act=act_insert,
                        .for_ever=true };
  rowsweep_run(&s);
  s.for_ever = false;
  s.name = "insert without a key";
  s.act = act_insert_without_key;
  rowsweep_run(&s);
  s.make = make_sealed;
  s.name = "replace";
  s.act = act_replace;
  rowsweep_run(&s);
  s.name = "ignore";
  s.act = act_ignore;
  rowsweep_run(&s);
}

TEST(fault__updating){
  struct rowsweep s = { .name="update cells", .make=make_sealed,
                        .act=act_update_cells };
  rowsweep_run(&s);
  s.name = "update a vector";
  s.act = act_update_vector;
  rowsweep_run(&s);
  s.name = "update a key";
  s.act = act_update_key;
  rowsweep_run(&s);
  s.name = "update a young row";
  s.act = act_update_young;
  rowsweep_run(&s);
}

TEST(fault__deleting){
  struct rowsweep s = { .name="delete a young row", .make=make_sealed,
                        .act=act_delete_young };
  rowsweep_run(&s);
  s.name = "delete a sealed row";
  s.act = act_delete_sealed;
  rowsweep_run(&s);
}

static int act_words(vecdb *db, uint64_t *answer){
  int rc;
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( row_put(db, "words", VECDB_OR_REPLACE, "key 00003|[1,2,3]|new text") );
  TRY( row_update(db, "words", "key 00005", "another key|-|-") );
  TRY( row_delete(db, "words", "key 00014") );
  TRY( row_get(db, "words", "another key", answer) );
  TRY( vecdb_commit(db) );
done:
  return rc;
}

TEST(fault__text_keys){
  struct rowsweep s = { .name="words", .make=make_words, .act=act_words };
  rowsweep_run(&s);
}

/* ---- transactions -------------------------------------------------------- */

static int act_savepoints(vecdb *db, uint64_t *answer){
  int rc;
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( row_put(db, "t", 0, ROW_7) );
  TRY( vecdb_savepoint(db, 1) );
  TRY( rows_erase(db, "t", 1, 4, 1) );
  TRY( vecdb_savepoint(db, 2) );
  TRY( vecdb_drop_collection(db, "t") );
  TRY( vecdb_rollback_to(db, 2) );
  TRY( rows_scan(db, "t", NULL, answer) );
  TRY( vecdb_rollback_to(db, 1) );
  TRY( vecdb_release(db, 1) );
  TRY( vecdb_commit(db) );
done:
  return rc;
}

static int act_two_phases(vecdb *db, uint64_t *answer){
  static const unsigned char host[16] = "a host's number";
  unsigned char got[16];
  uint64_t token = 0;
  int rc;
  TRY( vecdb_begin(db, VECDB_WRITE) );
  TRY( row_put(db, "t", 0, ROW_7) );
  TRY( vecdb_prepare_commit(db, host, 5) );
  TRY( vecdb_decide(db, 1) );
  TRY( vecdb_committed_token(db, got, &token) );
  *answer = token;
done:
  if( rc!=VECDB_OK && vecdb_in_transaction(db)==2 ) vecdb_decide(db, 0);
  return rc;
}

TEST(fault__savepoints_of_rows){
  struct rowsweep s = { .name="savepoints", .make=make_sealed,
                        .act=act_savepoints };
  rowsweep_run(&s);
}

TEST(fault__two_phases_of_rows){
  struct rowsweep s = { .name="two phases", .make=make_rows,
                        .act=act_two_phases, .may_close=true };
  rowsweep_run(&s);
}

/* ---- many rows ----------------------------------------------------------- */

static int make_small_delta(vecdb *db){
  int rc;
  TRY( vecdb_create_collection(db, "t", ALL_TYPES ", merge_rows=16") );
  TRY( rows_fill(db, "t", 0, 30) );
  TRY( rows_erase(db, "t", 17, 23, 1) );
done:
  return rc;
}

/* The delta is full: it is sealed first. */
static int act_seal(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return rows_fill(db, "t", 30, 40);
}

enum { N_BULK = 40 };
static int64_t bulk_key[N_BULK], bulk_int[N_BULK];
static double bulk_real[N_BULK];
static float bulk_vec[N_BULK][4];
static unsigned char bulk_byte[N_BULK][4];
static const char *bulk_text[N_BULK];
static uint8_t bulk_null[N_BULK];

static int put_bulk(vecdb *db, size_t n, uint32_t flags, bool has_key){
  vecdb_collection *c = NULL;
  int64_t first = 0;
  int rc;
  for(size_t i=0; i<n; i++){
    bulk_key[i] = 100 + (int64_t)i;
    bulk_int[i] = (int64_t)i;
    bulk_real[i] = (double)i/4;
    bulk_text[i] = i%3==0 ? NULL : i%3==1 ? "short" : "more than twelve bytes";
    bulk_null[i] = i%4==0;
    for(size_t j=0; j<4; j++){
      bulk_vec[i][j] = (float)(i*4 + j);
      bulk_byte[i][j] = (unsigned char)(i*4 + j);
    }
  }
  vecdb_column_data d[] = {
    { sizeof(d[0]), 0, VECDB_INTEGER, 0, bulk_key, 0, NULL },
    { sizeof(d[0]), 1, VECDB_VECTOR, VECDB_F32, bulk_vec, 0, NULL },
    { sizeof(d[0]), 2, VECDB_VECTOR, VECDB_I8, bulk_byte, 0, NULL },
    { sizeof(d[0]), 3, VECDB_VECTOR, VECDB_F32, bulk_vec, 0, NULL },
    { sizeof(d[0]), 4, VECDB_VECTOR, VECDB_BIT, bulk_byte, 0, NULL },
    { sizeof(d[0]), 5, VECDB_INTEGER, 0, bulk_int, 0, NULL },
    { sizeof(d[0]), 6, VECDB_INTEGER, 0, bulk_int, 0, NULL },
    { sizeof(d[0]), 7, VECDB_REAL, 0, bulk_real, 0, bulk_null },
    { sizeof(d[0]), 8, VECDB_TEXT, 0, bulk_text, 0, NULL },
    { sizeof(d[0]), 10, VECDB_TEXT, 0, bulk_text, 0, NULL } };
  TRY( vecdb_collection_open(db, "t", &c) );
  TRY( vecdb_put_many(c, n, has_key ? d : d+1, has_key ? 10 : 9, flags,
                      has_key ? NULL : &first) );
done:
  vecdb_collection_close(c);
  return rc;
}

static int act_put_few(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return put_bulk(db, 6, 0, true);
}
static int act_put_many(vecdb *db, uint64_t *answer){
  VDB_UNUSED(answer);
  return put_bulk(db, N_BULK, 0, false);
}

TEST(fault__sealing){
  struct rowsweep s = { .name="seal", .make=make_small_delta, .act=act_seal };
  rowsweep_run(&s);
}

TEST(fault__batches){
  struct rowsweep s = { .name="a small batch", .make=make_small_delta,
                        .act=act_put_few };
  rowsweep_run(&s);
  s.name = "a large batch";
  s.act = act_put_many;
  rowsweep_run(&s);
}
