/* t_catalog.c -- names of collections and their options. */
#include "lib_simple.h"

static int collect(void *arg, const char *name, const char *schema){
  struct vdb_str *s = arg;
  vdb_str_addf(s, "%s:%s;", name, schema);
  return VECDB_OK;
}

static void check_list(struct db *db, const char *want){
  struct vdb_str s = VDB_STR_INIT;
  struct read_scope r;

  OK(db, vdb_store_read_begin(db->st, &r));
  vdb_str_add(&s, "", 0);
  OK(db, vdb_store_list(db->st, collect, &s));
  OK(db, vdb_store_read_end(db->st, &r));
  CHECK_STR(want, s.z ? s.z : "");
  vdb_str_clear(&s);
}

TEST(catalog__names_ignore_case_and_keep_it){
  struct db db;
  struct write_scope w;
  struct coll *c;

  db_open(&db, DB_MEMORY);
  check_list(&db, "");
  create(&db, "Beta", "v float[2] , file='x.vdb'");
  create(&db, "alpha", "w bit[8]");
  check_list(&db, "alpha:w bit[8];Beta:v float[2];");
  OK(&db, vdb_store_write_begin(db.st, &w));
  CHECK_RC(VECDB_EXISTS, vdb_store_write_end(db.st, &w,
           vdb_store_create(db.st, "BETA", "v float[2]")));
  CHECK_STR("there already is a collection \"Beta\"", vdb_error_text(&db.err));
  c = open_coll(&db, "beTA");
  CHECK_STR("Beta", vdb_coll_name(c));
  OK(&db, vdb_store_write_begin(db.st, &w));
  OK(&db, vdb_store_write_end(db.st, &w,
                              vdb_store_rename(db.st, "beta", "Gamma")));
  OK(&db, vdb_store_begin_read(db.st));
  OK(&db, vdb_coll_refresh(c));                  /* the handle follows */
  CHECK_STR("Gamma", vdb_coll_name(c));
  OK(&db, vdb_store_end_read(db.st));
  check_list(&db, "alpha:w bit[8];Gamma:v float[2];");
  OK(&db, vdb_store_write_begin(db.st, &w));
  CHECK_RC(VECDB_EXISTS, vdb_store_write_end(db.st, &w,
           vdb_store_rename(db.st, "gamma", "ALPHA")));
  OK(&db, vdb_store_write_begin(db.st, &w));
  CHECK_RC(VECDB_SYNTAX, vdb_store_write_end(db.st, &w,
           vdb_store_rename(db.st, "gamma", "V")));
  CHECK_STR("column \"v\": the name is the collection's own; choose another",
            vdb_error_text(&db.err));
  OK(&db, vdb_store_write_begin(db.st, &w));
  CHECK_RC(VECDB_NOTFOUND, vdb_store_write_end(db.st, &w,
           vdb_store_drop(db.st, "beta")));
  CHECK_STR("there is no collection \"beta\"", vdb_error_text(&db.err));
  db_check(&db);
  vdb_store_coll_close(c);
  db_close(&db);
}

TEST(catalog__rollback_undoes_create_drop_and_rename){
  struct simple s;
  struct coll *c = NULL;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  OK(&s.db, simple_insert(&s, 5, 6, NULL));
  OK(&s.db, vdb_store_begin_write(s.db.st));
  OK(&s.db, vdb_store_create(s.db.st, "u", "v float[9]"));
  OK(&s.db, vdb_store_coll_open(s.db.st, "u", &c));
  OK(&s.db, vdb_store_drop(s.db.st, "t"));
  CHECK_RC(VECDB_NOTFOUND, vdb_coll_refresh(s.c));
  OK(&s.db, vdb_store_rename(s.db.st, "u", "t"));
  OK(&s.db, vdb_store_rollback(s.db.st));
  check_list(&s.db, "t:v float[2], n int;");
  OK(&s.db, vdb_store_begin_read(s.db.st));
  CHECK_RC(VECDB_NOTFOUND, vdb_coll_refresh(c));
  OK(&s.db, vdb_coll_refresh(s.c));
  CHECK_U64(1, vdb_coll_n_row(s.c));
  OK(&s.db, vdb_store_end_read(s.db.st));
  vdb_store_coll_close(c);
  simple_close(&s);
}

TEST(catalog__stored_options_change){
  struct simple s;
  struct write_scope w;
  const struct schema *schema;
  const char *text;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  schema = vdb_coll_schema(s.c);
  OK(&s.db, vdb_store_write_begin(s.db.st, &w));
  OK(&s.db, vdb_store_write_end(s.db.st, &w,
                                vdb_coll_set(s.c, "merge_rows", "10")));
  OK(&s.db, vdb_store_write_begin(s.db.st, &w));
  CHECK_RC(VECDB_NOTFOUND, vdb_store_write_end(s.db.st, &w,
                                vdb_coll_set(s.c, "merge", "10")));
  OK(&s.db, vdb_store_begin_read(s.db.st));
  OK(&s.db, vdb_coll_schema_text(s.c, &text));
  CHECK_STR("v float[2], n int, merge_rows=10", text);
  CHECK(schema==vdb_coll_schema(s.c));           /* names stay where they are */
  CHECK_U64(10, schema->merge_rows);
  OK(&s.db, vdb_store_end_read(s.db.st));
  simple_close(&s);
}

TEST(store__refused_statements_leave_the_transaction_as_it_was){
  struct simple s;
  struct write_scope w;

  simple_open(&s, DB_MEMORY, "v float[2], n int");
  OK(&s.db, vdb_store_begin_write(s.db.st));
  OK(&s.db, simple_insert(&s, 1, 1, NULL));
  OK(&s.db, vdb_store_write_begin(s.db.st, &w));
  OK(&s.db, vdb_coll_insert(s.c, simple_row(&s, 2, 2), 0, NULL, NULL));
  CHECK_RC(VECDB_CONSTRAINT_PK, vdb_store_write_end(s.db.st, &w,
      vdb_coll_insert(s.c, simple_row(&s, 1, 2), 0, NULL, NULL)));
  CHECK_STR("collection \"t\" already has a row with key 1",
            vdb_error_text(&s.db.err));
  OK(&s.db, vdb_store_commit(s.db.st));
  CHECK_U64(1, simple_stats(&s).n_row);
  simple_close(&s);
}
