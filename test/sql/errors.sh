#!/bin/sh
# errors.sh -- what a search says when it is asked wrongly, and that nothing
# is held afterwards.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/schema.inc"
setup_pair 30
M="SELECT id FROM t WHERE v MATCH $Q"

fails k_negative 'k must not be negative, found -1' "$M AND k=-1;"
fails k_real 'k must be an integer, found FLOAT' "$M AND k=2.5;"
fails k_text 'k must be an integer, found TEXT' "$M AND k='many';"
fails k_huge 'the limit is 2147483647' "$M AND k=3000000000;"
is k_integral_real '2' "SELECT count(*) FROM t WHERE v MATCH $Q AND k=2.0;"
fails ef_zero 'ef must be at least 1' "$M AND k=1 AND ef=0;"
fails recall_range 'recall must be a number from above 0 to 1' "$M AND k=1 AND recall=2;"
fails exact_text 'exact must be 0 or 1, found TEXT' "$M AND k=1 AND exact='x';"
fails exact_number 'exact must be 0 or 1, found 2' "$M AND k=1 AND exact=2;"
fails exact_in_json 'exact must be 0 or 1, found TEXT' "SELECT id FROM t($Q,'{\"k\":1,\"exact\":\"yes\"}');"
fails k_twice 'k of table "t" is given twice' "$M AND k=3 AND k=5;"
fails k_twice_bound 'k of table "t" is given twice' ".parameter set :k 5
$M AND k=3 AND k=:k;"
fails k_in_both 'k of table "t" is given twice' "SELECT id FROM t($Q,'{\"k\":1}') WHERE k=2;"
fails k_twice_in_json 'k of table "t" is given twice' "SELECT id FROM t($Q,'{\"k\":1,\"k\":2}');"
fails ef_twice 'ef of table "t" is given twice' "$M AND k=3 AND ef=30 AND ef=50;"
fails ef_in_both 'ef of table "t" is given twice' "SELECT id FROM t($Q,'{\"k\":3,\"ef\":30}') WHERE ef=50;"
fails exact_in_both 'exact of table "t" is given twice' "SELECT id FROM t($Q,'{\"k\":3,\"exact\":1}') WHERE exact=0;"
is ef_agreed 3 "SELECT count(*) FROM t($Q,'{\"k\":3,\"ef\":30}') WHERE ef=30;"
fails k_compared 'k of table "t" is said with =, not compared' "$M AND k<5;"
fails recall_compared 'recall of table "t" is said with =, not compared' "$M AND k=5 AND recall>=0.9;"
is k_compared_beside 3 "SELECT count(*) FROM (SELECT id, k FROM t WHERE v MATCH $Q AND k=3) WHERE k<5;"
fails filter_twice 'filter of table "t" is given twice; join the two texts by AND' "$M AND k=3 AND filter='i>1' AND filter='i<3';"
fails mmr_range 'mmr_lambda must be a number from 0 to 1' "$M AND k=1 AND mmr_lambda=-1;"
fails mmr_without_k 'mmr_lambda needs k' "$M AND mmr_lambda=0.5;"
fails k_without_match '"k" of table "t" needs a MATCH' "SELECT id FROM t WHERE k=3;"
fails two_matches 'only 1 MATCH operator is allowed' "$M AND v MATCH $Q AND k=3;"
fails match_and_call 'one query vector' "SELECT id FROM t($Q) WHERE v MATCH $Q AND k=3;"
fails match_metadata 'MATCH needs a vector column' "SELECT id FROM t WHERE s MATCH 'a' AND k=3;"
fails match_table 'MATCH needs a vector column' "SELECT id FROM t WHERE t MATCH $Q AND k=3;"
fails query_dims '2 dimensions' "SELECT id FROM t WHERE v MATCH vec_f32('[1,2]') AND k=3;"
fails query_dims_json 'dimensions' "SELECT id FROM t WHERE v MATCH '[1,2]' AND k=3;"
fails query_type 'query vector for "v" is int8, expected float32' "SELECT id FROM t WHERE v MATCH vec_int8('[1,2,3,4]') AND k=3;"
fails query_number 'INTEGER' "SELECT id FROM t WHERE v MATCH 5 AND k=3;"
fails query_json 'byte' "SELECT id FROM t WHERE v MATCH '[1,2,3,x]' AND k=3;"
fails query_nan 'NaN' "SELECT id FROM t WHERE v MATCH x'0000c07f000000000000000000000000' AND k=3;"
fails filter_syntax 'filter' "$M AND k=3 AND filter='i = = 3';"
fails args_unknown 'unknown argument "limit" for table "t"; known: k, ef' "SELECT id FROM t($Q,'{\"limit\":3}');"
fails args_array 'must be a JSON object' "SELECT id FROM t($Q,'[1]');"
fails args_malformed 'must be a JSON object' "SELECT id FROM t($Q,'{k:3');"
fails args_k 'k must not be negative' "SELECT id FROM t($Q,'{\"k\":-3}');"
fails args_column 'has no vector column "s"' "SELECT id FROM t($Q,'{\"k\":3,\"column\":\"s\"}');"
fails not_in_json 'vecdb_not_in' "$M AND k=3 AND vecdb_not_in(i,'3,4');"
fails knn_unknown_table 'nosuch' "SELECT * FROM vecdb_knn('nosuch',$Q,3);"
fails knn_other_table 'is not a vecdb table' "SELECT * FROM vecdb_knn('o',$Q,3);"
fails knn_arguments 'vecdb_knn() needs 3 arguments' "SELECT * FROM vecdb_knn('t',$Q);"
fails stats_unknown 'nosuch' "SELECT * FROM vecdb_stats('nosuch');"
fails check_mode "must be 'quick'" "SELECT * FROM vecdb_check('t','fast');"
fails resolve_word 'adopt' "SELECT vecdb_resolve('t','x');"
fails args_of_command 'takes no args' "INSERT INTO t(t,args) VALUES('flush','{}');"
fails args_of_optimize 'optimize takes ms=N, device=cpu, gpu or auto, and fallback=cpu, found "{}"' "INSERT INTO t(t,args) VALUES('optimize','{}');"

# The connection closes and the next transaction works after each of these.
out=$(sql "$M AND k=-1;
BEGIN;
INSERT INTO t(id,v) VALUES(1000,'[1]');
SELECT id FROM t WHERE v MATCH '[1]' AND k=3;
INSERT INTO t(id,v) VALUES(1000,'[1,2,3,4]');
COMMIT;
SELECT count(*) FROM t;" | tail -n 1)
if [ "$out" = 31 ]; then passed; else failed goes_on "$out"; fi

on_files || finish

# A file that is gone, or is another one.
mv t.vdb kept.vdb
fails file_gone 't.vdb' "SELECT count(*) FROM t;"
fails file_gone_write 't.vdb' "INSERT INTO t(id,v) VALUES(1,$Q);"
fails file_gone_stats 't.vdb' "SELECT * FROM vecdb_stats('t');"
is file_gone_drop '0' "BEGIN; DROP TABLE t; SELECT count(*) FROM sqlite_schema WHERE name='t'; ROLLBACK;"
is others_work '30' "SELECT count(*) FROM o;"
mv kept.vdb t.vdb
is file_back '31' "SELECT count(*) FROM t;"
is collection_gone '0' "CREATE VIRTUAL TABLE again USING vecdb(file='t.vdb', collection='t'); DROP TABLE again; SELECT 0;"
fails collection_gone_read 'no collection "t"' "SELECT count(*) FROM t;"
is collection_gone_drop '0' "DROP TABLE t; SELECT count(*) FROM sqlite_schema WHERE name='t';"
setup_pair 31
chmod 444 t.vdb host.db
is read_only_host '31' "SELECT count(*) FROM t WHERE v MATCH $Q AND k=99;"
chmod 644 t.vdb host.db
finish
