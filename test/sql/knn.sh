#!/bin/sh
# knn.sh -- every form of a search against brute force.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/schema.inc"
setup_pair 300

# oracle WHERE LIMIT: rows of o in the order a search gives them.
oracle() {
  echo "SELECT id, vec_distance_l2(v,$Q) d FROM o WHERE $1 ORDER BY d, id LIMIT $2;"
}
M="SELECT id, distance FROM t WHERE v MATCH $Q"

same k_10              "$M AND k=10;"                      "$(oracle 1 10)"
same k_text            "$M AND k='10';"                    "$(oracle 1 10)"
same k_all             "$M AND k=1000;"                    "$(oracle 1 1000)"
same k_said_again      "$M AND k=7 AND k=7;"               "$(oracle 1 7)"
same k_pushed_down     "SELECT id, distance FROM (SELECT id, distance, k FROM t WHERE v MATCH $Q AND k=7) WHERE k=7;" "$(oracle 1 7)"
# One prepared search serves statements that differ in what is bound to it.
same one_after_other   "$M AND k=7 AND id IN (3,5,8); $M AND k=4; $M AND k=7 AND i>3;
$M AND k=2 AND i>5; $M AND k=3 AND id IN (2,9); $M LIMIT 2; $M AND k=1;" \
  "$(oracle 'id IN (3,5,8)' 7) $(oracle 1 4) $(oracle 'i>3' 7) $(oracle 'i>5' 2)
$(oracle 'id IN (2,9)' 3) $(oracle 1 2) $(oracle 1 1)"
same exact_as_text     "$M AND k=7 AND exact='1';"         "$(oracle 1 7)"
same filters_of_both   "SELECT id, distance FROM t($Q, '{\"k\":5,\"filter\":\"i>1\"}') WHERE filter='i<9';" "$(oracle 'i>1 AND i<9' 5)"
same k_bound           ".parameter set :k 7
$M AND k=:k;"                                              "$(oracle 1 7)"
same order_by          "$M AND k=10 ORDER BY distance;"    "$(oracle 1 10)"
same order_by_pk       "$M AND k=10 ORDER BY distance, id;" "$(oracle 1 10)"
same order_by_desc     "$M AND k=5 ORDER BY distance DESC, id DESC;" \
  "SELECT * FROM ($(oracle 1 5 | tr -d ';')) ORDER BY 2 DESC, 1 DESC;"
same limit             "$M ORDER BY distance LIMIT 10;"    "$(oracle 1 10)"
same limit_bare        "$M LIMIT 10;"                      "$(oracle 1 10)"
same limit_offset      "$M ORDER BY distance LIMIT 10 OFFSET 20;" \
  "$(oracle 1 '10 OFFSET 20')"
same k_with_limit      "$M AND k=5 LIMIT 2;"               "$(oracle 1 2)"
same k_cuts_first      "$M AND k=5 LIMIT 10;"              "$(oracle 1 5)"
same k_offset          "$M AND k=5 LIMIT 10 OFFSET 3;" \
  "SELECT * FROM ($(oracle 1 5 | tr -d ';')) LIMIT 10 OFFSET 3;"
same stream            "$M;"                               "$(oracle 1 1000)"
same stream_order      "$M ORDER BY distance;"             "$(oracle 1 1000)"
same limit_desc        "$M ORDER BY distance DESC, id LIMIT 3;" \
  "SELECT id, vec_distance_l2(v,$Q) d FROM o ORDER BY d DESC, id LIMIT 3;"
same limit_other_order "SELECT id FROM t WHERE v MATCH $Q ORDER BY i, id LIMIT 5;" \
  "SELECT id FROM o ORDER BY i, id LIMIT 5;"
same unseen_with_limit "$M AND length(s)=2 AND NOT b ORDER BY distance LIMIT 6;" \
  "$(oracle 'length(s)=2 AND NOT b' 6)"
same group_by "SELECT c, count(*), min(distance) FROM t WHERE v MATCH $Q GROUP BY c;" \
  "SELECT c, count(*), min(vec_distance_l2(v,$Q)) FROM o GROUP BY c;"
same aggregate "SELECT count(*), sum(id) FROM t WHERE v MATCH $Q AND k=25;" \
  "SELECT count(*), sum(id) FROM ($(oracle 1 25 | tr -d ';'));"

# Distances as constraints.
D="vec_distance_l2(v,$Q)"
same within            "$M AND distance<=5;"               "$(oracle "$D<=5" 1000)"
same within_strict     "$M AND distance<5.5 ORDER BY distance;" "$(oracle "$D<5.5" 1000)"
same window            "$M AND distance BETWEEN 4 AND 6;"  "$(oracle "$D BETWEEN 4 AND 6" 1000)"
same window_k          "$M AND k=4 AND distance>4.5;"      "$(oracle "$D>4.5" 4)"
same beyond            "$M AND distance>9;"                "$(oracle "$D>9" 1000)"
same distance_text     "$M AND k=5 AND distance<'5';"      "$(oracle "$D<5" 5)"
is   distance_null ''  "$M AND k=5 AND distance<NULL;"
first=$(sql "$M AND k=1;" | cut -d'|' -f2)
same distance_equal    "SELECT id FROM t WHERE v MATCH $Q AND k=500 AND distance=(SELECT distance FROM t WHERE v MATCH $Q AND k=1);" \
  "SELECT id FROM o WHERE $D=(SELECT min($D) FROM o) ORDER BY id;"
same paging "SELECT id, distance FROM t WHERE v MATCH $Q AND k=5 AND distance>$first;" \
  "$(oracle "$D>$first" 5)"
same distance_is_the_function "SELECT sum(distance) FROM t WHERE v MATCH $Q AND k=40;" \
  "SELECT sum(d) FROM ($(oracle 1 40 | tr -d ';'));"

# Where the query comes from.
same subquery  "SELECT id, distance FROM t WHERE v MATCH (SELECT v FROM o WHERE id=9) AND k=3;" \
  "SELECT id, vec_distance_l2(v,(SELECT v FROM o WHERE id=9)) d FROM o ORDER BY d,id LIMIT 3;"
same json_and_blob "SELECT id FROM t WHERE v MATCH vec_f32($Q) AND k=3;" \
  "SELECT id FROM t WHERE v MATCH $Q AND k=3;"
is   null_query '' "SELECT id FROM t WHERE v MATCH NULL AND k=3;"
is   k_zero '' "$M AND k=0;"
is   k_null '' "$M AND k=NULL;"
same call      "SELECT id, distance FROM t($Q, '{\"k\":6}');" "$(oracle 1 6)"
same call_where "SELECT id, distance FROM t($Q) WHERE k=6 AND i>3;" "$(oracle 'i>3' 6)"
same call_json "SELECT id, distance FROM t($Q, '{\"k\":6,\"filter\":\"i>3 AND s LIKE ''e%''\",\"exact\":true}');" \
  "$(oracle "i>3 AND s LIKE 'e%'" 6)"
same call_distance "SELECT id, distance FROM t($Q, '{\"distance\":5}');" "$(oracle "$D<=5" 1000)"
same call_stream "SELECT id, distance FROM t($Q);" "$(oracle 1 1000)"
same knn_function "SELECT id, distance FROM vecdb_knn('t',$Q,6);" "$(oracle 1 6)"
same knn_schema "SELECT id, distance FROM vecdb_knn('main.t',$Q,6,'{\"filter\":\"b=1\"}');" "$(oracle 'b=1' 6)"
same within_function "SELECT id, distance FROM vecdb_within('t',$Q,5.5);" "$(oracle "$D<=5.5" 1000)"
same hints "$M AND k=5 AND ef=200 AND recall=0.99 AND exact=1;" "$(oracle 1 5)"
is   echo_of_k '5|100|1' "SELECT k, ef, exact FROM t WHERE v MATCH $Q AND k=5 AND ef=100 AND exact=1 LIMIT 1;"
is   no_distance_in_a_scan '|' "SELECT distance, k FROM t LIMIT 1;"
is   rowid_alias '1' "SELECT count(*)=8 FROM t WHERE v MATCH $Q AND k=8 AND _rowid_=id AND rowid=id;"

# Re-ranking: lambda 1 is the plain order; the first row is the nearest.
same mmr_1 "SELECT id FROM t WHERE v MATCH $Q AND k=8 AND mmr_lambda=1;" \
  "SELECT id FROM ($(oracle 1 8 | tr -d ';'));"
same mmr_first "SELECT id FROM t WHERE v MATCH $Q AND k=8 AND mmr_lambda=0.3 LIMIT 1;" \
  "SELECT id FROM ($(oracle 1 1 | tr -d ';'));"
is   mmr_counts '8' "SELECT count(DISTINCT id) FROM t WHERE v MATCH $Q AND k=8 AND mmr_lambda=0;"

# All metrics and element types.
for m in l2 cosine ip l1; do
  sql "CREATE VIRTUAL TABLE m_$m USING vecdb(file='m.vdb', v float[4] distance_metric=$m);
INSERT INTO m_$m(rowid,v) SELECT id, v FROM o;" >/dev/null
  case $m in cosine) d="coalesce(vec_distance_cosine(v,$Q),1.0)" ;;
             *) d="vec_distance_$m(v,$Q)" ;; esac
  same "metric_$m" "SELECT rowid, distance FROM m_$m WHERE v MATCH $Q AND k=20;" \
    "SELECT id, $d d FROM o ORDER BY d, id LIMIT 20;"
done
for e in int8 uint8 float16 bfloat16; do
  f=vec_$(echo $e | sed 's/bfloat/bf/; s/^float/f/')
  j="printf('[%d,%d]', id%7, id%11)"
  sql "CREATE VIRTUAL TABLE e_$e USING vecdb(file='m.vdb', v ${e}[2]);
INSERT INTO e_$e(rowid,v) SELECT id, $f($j) FROM o;" >/dev/null
  same "element_$e" "SELECT rowid, distance FROM e_$e WHERE v MATCH $f('[5,6]') AND k=20;" \
    "SELECT id, vec_distance_l2($f($j),$f('[5,6]')) d FROM o ORDER BY d, id LIMIT 20;"
done
same two_vectors_of_bits \
  "CREATE VIRTUAL TABLE eb USING vecdb(file='m.vdb', v bit[8], w bit[8] distance_metric=jaccard);
INSERT INTO eb(rowid,v,w) VALUES(1,x'0f',x'0f'),(2,x'ff',x'ff'),(3,x'01',x'01'),(4,x'00',x'00');
SELECT rowid, distance FROM eb WHERE v MATCH vec_bit(x'0f') AND k=4;
SELECT rowid, distance FROM eb WHERE w MATCH vec_bit(x'0f') AND k=4;" \
  "WITH e(i,v) AS (VALUES(1,x'0f'),(2,x'ff'),(3,x'01'),(4,x'00'))
SELECT i, vec_distance_hamming(vec_bit(v),vec_bit(x'0f')) d FROM e ORDER BY d,i;
WITH e(i,v) AS (VALUES(1,x'0f'),(2,x'ff'),(3,x'01'),(4,x'00'))
SELECT i, vec_distance_jaccard(vec_bit(v),vec_bit(x'0f')) d FROM e ORDER BY d,i;"

# Text keys.
sql "CREATE VIRTUAL TABLE tk USING vecdb(file='m.vdb', name text primary key, v float[4], i int);
INSERT INTO tk SELECT 'k'||id, v, i FROM o;" >/dev/null
same text_key "SELECT name, distance FROM tk WHERE v MATCH $Q AND k=9;" \
  "SELECT 'k'||id n, $D d FROM o ORDER BY d, n LIMIT 9;"
same text_key_in "SELECT name, distance FROM tk WHERE v MATCH $Q AND k=9 AND name IN ('k3','k30','missing','k300');" \
  "SELECT 'k'||id n, $D d FROM o WHERE id IN (3,30,300) ORDER BY d, n;"
same text_key_point "SELECT name, i FROM tk WHERE name='k30';" "SELECT 'k'||id, i FROM o WHERE id=30;"
same text_key_stream "SELECT name FROM tk WHERE v MATCH $Q;" \
  "SELECT 'k'||id n FROM o ORDER BY $D, n;"
same text_key_range "SELECT name FROM tk WHERE name>'k5' AND name<'k6' ORDER BY name;" \
  "SELECT 'k'||id n FROM o WHERE n>'k5' AND n<'k6' ORDER BY n;"
finish
