#!/bin/sh
# plan.sh -- the sentences of EXPLAIN QUERY PLAN.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/schema.inc"
setup_pair 20
setup "CREATE VIRTUAL TABLE odd USING vecdb(file='t.vdb', \"the key\" text primary key, \"a vector\" float[2], \"my col\" int, \"q\"\"uote\" text);
CREATE TABLE d(id INTEGER PRIMARY KEY);
INSERT INTO odd VALUES('k1','[1,2]',5,'x'),('k2','[2,2]',6,'X');"

plan() {
  out=$(sql "EXPLAIN QUERY PLAN $3;" | grep 'VIRTUAL TABLE' | sed 's/.*VIRTUAL TABLE INDEX //')
  if [ "$out" = "$2" ]; then passed
  else failed "$1" "query    $3" "expected $2" "found    $out"; fi
}
M="SELECT id FROM t WHERE v MATCH $Q"
plan knn '3:KNN(v) FLAT' "$M AND k=3"
plan exact '3:KNN(v) EXACT EXACT(?)' "$M AND k=3 AND exact=1"
plan hints '3:KNN(v) FLAT EF(?) RECALL(?)' "$M AND k=3 AND ef=9 AND recall=0.9"
plan filters '3:KNN(v) FLAT PK(id>?) PARTITION(c=?) FILTER(i>=? AND s>?) AUX(x IS ?)' \
  "$M AND k=3 AND i>=2 AND c='a' AND s>'a' AND x IS NULL AND id>3"
plan in_list '3:KNN(v) FLAT PK(id IN ?)' "$M AND k=3 AND id IN (1,2)"
plan collate '3:KNN(v) FLAT FILTER(s=? COLLATE NOCASE)' "$M AND k=3 AND s='a' COLLATE NOCASE"
plan distance '3:KNN(v) FLAT DISTANCE(>? AND <?)' "$M AND k=3 AND distance>1 AND distance<2"
plan within '4:WITHIN(v) EXACT DISTANCE(<=?)' "$M AND distance<=2"
plan stream '3:KNN(v) EXACT STREAM' "$M"
plan stream_of_pk '3:KNN(v) EXACT STREAM PK(id IN ?)' "$M AND id IN (1,2)"
plan stream_hint '3:KNN(v) FLAT STREAM EF(?)' "$M AND ef=100"
plan expr '3:KNN(v) FLAT EXPR(?)' "$M AND k=3 AND filter='i=3'"
plan call '3:KNN(v) FLAT STREAM ARGS(?)' "SELECT id FROM t($Q, '{}')"
plan mmr '3:KNN(v) FLAT MMR(?)' "$M AND k=3 AND mmr_lambda=0.5"
plan point '1:POINT(id=?)' "SELECT * FROM t WHERE id=3"
plan point_rowid '1:POINT(id=?)' "SELECT * FROM t WHERE rowid=3"
plan pk_list '2:PK(id IN ?)' "SELECT * FROM t WHERE id IN (1,2)"
plan pk_range '2:PK(id>? AND id<?)' "SELECT * FROM t WHERE id>1 AND id<9"
plan filter '5:FILTER(i=?)' "SELECT * FROM t WHERE i=3"
plan scan '0:SCAN' "SELECT * FROM t"
plan odd_names '3:KNN("a vector") FLAT PK("the key">?) FILTER("my col"=? AND "q""uote" IS NOT ?)' \
  "SELECT * FROM odd WHERE \"a vector\" MATCH '[1,2]' AND k=3 AND \"my col\"=5 AND \"q\"\"uote\" IS NOT NULL AND \"the key\">'a'"
is odd_names_work 'k1' "SELECT \"the key\" FROM odd WHERE \"a vector\" MATCH '[1,2]' AND k=3 AND \"my col\"=5 AND \"q\"\"uote\" IS NOT NULL AND \"the key\">'a';"
plan join_keeps_k '3:KNN(v) FLAT' "SELECT * FROM t JOIN d ON d.id=t.id WHERE v MATCH $Q AND k=3"
plan join_uses_point '1:POINT(id=?)' "SELECT * FROM d JOIN t ON d.id=t.id WHERE d.id=5"
plan or_is_not_taken_apart '3:KNN(v) FLAT FILTER(i>?)' "$M AND k=3 AND i>1 AND (id=3 OR s='a')"

# Order by distance costs no sort, another order does.
sorts() {
  out=$(sql "EXPLAIN QUERY PLAN $3;" | grep -c 'TEMP B-TREE')
  if [ "$out" = "$2" ]; then passed; else failed "$1" "$3" "found $out"; fi
}
sorts distance 0 "$M AND k=3 ORDER BY distance"
sorts distance_pk 0 "$M AND k=3 ORDER BY distance, id"
sorts distance_rowid 0 "$M AND k=3 ORDER BY distance, rowid"
sorts descending 1 "$M AND k=3 ORDER BY distance DESC"
sorts by_column 1 "$M AND k=3 ORDER BY i"
sorts scan_by_pk 0 "SELECT * FROM t ORDER BY id"
sorts scan_by_pk_desc 1 "SELECT * FROM t ORDER BY id DESC"

# The last query tells what it did.
is last_query_rows 'KNN(v) FLAT FILTER(i>?)|"i">?1|3' "CREATE TEMP TABLE x AS SELECT id FROM t WHERE v MATCH $Q AND k=3 AND i>1;
SELECT (SELECT value FROM vecdb_last_query WHERE key='plan'), (SELECT value FROM vecdb_last_query WHERE key='filter'), (SELECT value FROM vecdb_last_query WHERE key='rows');"
finish
