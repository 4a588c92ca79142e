#!/bin/sh
# filter.sh -- predicates beside a search, and without one, against SQLite.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/schema.inc"
setup_pair 300
D="vec_distance_l2(v,$Q)"

# Each predicate: with k, with LIMIT, as a range search, in a scan, and with
# k larger than what matches.
pred() {
  same "$1" "SELECT id, distance FROM t WHERE v MATCH $Q AND k=7 AND ($1);
SELECT id, distance FROM t WHERE v MATCH $Q AND ($1) ORDER BY distance LIMIT 7;
SELECT id FROM t WHERE v MATCH $Q AND k=5000 AND ($1);
SELECT id FROM t WHERE $1 ORDER BY id;" \
    "SELECT id, $D d FROM o WHERE $1 ORDER BY d, id LIMIT 7;
SELECT id, $D d FROM o WHERE $1 ORDER BY d, id LIMIT 7;
SELECT id FROM o WHERE $1 ORDER BY $D, id;
SELECT id FROM o WHERE $1 ORDER BY id;"
}
none() {
  is "none: $1" '' "SELECT id FROM t WHERE v MATCH $Q AND k=7 AND ($1);
SELECT id FROM t WHERE $1;"
}

pred 'id=9'
pred 'id>700'
pred 'id BETWEEN 100 AND 200'
pred 'id IN (3,6,9,10,300000)'
pred 'rowid IN (3,6,9)'
pred "id IN ('9', 12.0, 'x', NULL)"
pred 'id IN (SELECT id FROM o WHERE i=3)'
pred 'id=9 AND id IN (9,12)'
pred 'i=3'
pred "i='3'"
pred 'i=3.0'
none 'i=3.5'
none "i='3.5'"
none "i='abc'"
none 'i=NULL'
pred 'i>4'
pred 'i>=4.5'
pred "i<'abc'"
none "i>'abc'"
pred 'i<>3'
pred 'i IS NULL'
pred 'i IS NOT NULL'
pred 'i IS 3'
pred 'i IS NOT 3'
pred 'i IN (1,2,3)'
pred 'i=1 OR i=2'
pred 'i BETWEEN 2 AND 4'
pred 'b=1'
pred 'b>0'
pred 'b IN (0,1)'
pred 'b IS NULL'
pred 'f=0.5'
pred 'f IN (1.0,0.25)'
pred 'f<1 AND f>=0.25'
pred 'f IS NULL'
pred "s='a0'"
pred "s>'c'"
pred "s='A0' COLLATE NOCASE"
pred "s IN ('a1','b2','zz')"
pred "s LIKE 'a%'"
pred "s GLOB 'a*'"
pred "s LIKE '_0'"
pred 's IS NULL'
pred "c='a'"
pred "c IN ('a','b')"
pred "c<>'a' AND i=3"
pred "x='x1'"
pred "x LIKE '%1'"
pred 'x IS NULL'
pred "x>'x3' AND b=1"
pred "id>30 AND id<800 AND i>1 AND i<9 AND f>0 AND b=1 AND s>'A' AND c<>'e'"
pred "id>1 AND id>2 AND id>3 AND id>4 AND id>5 AND id>6 AND id>7 AND id>8 AND id>9 AND id>10 AND id>11 AND id>12 AND id>13 AND id>14 AND id>15 AND id>16 AND id>17 AND id>18"

# What SQLite does not show the module: complete with LIMIT.
unseen() {
  same "limit: $1" "SELECT id, distance FROM t WHERE v MATCH $Q AND ($1) ORDER BY distance LIMIT 7;" \
    "SELECT id, $D d FROM o WHERE $1 ORDER BY d, id LIMIT 7;"
}
unseen 'i NOT IN (3,4)'
unseen 'b'
unseen 'NOT b'
unseen "s NOT LIKE 'a%'"
unseen "i=1 OR s='a0'"
unseen 'length(s)=2'
same exists "SELECT id, distance FROM t WHERE v MATCH $Q AND EXISTS(SELECT 1 FROM o WHERE o.id=t.id AND o.i=3) ORDER BY distance LIMIT 7;" \
  "SELECT id, $D d FROM o WHERE i=3 ORDER BY d, id LIMIT 7;"
unseen "s LIKE 'a\$%' ESCAPE '\$' OR i=4"

# The same with k, by words that are shown.
K="SELECT id, distance FROM t WHERE v MATCH $Q AND k=7"
O="SELECT id, $D d FROM o WHERE"
same not_in "$K AND vecdb_not_in(i,'[3,4]');" "$O i NOT IN (3,4) ORDER BY d,id LIMIT 7;"
same not_in_text "$K AND vecdb_not_in(c,'[\"a\",\"b\"]');" "$O c NOT IN ('a','b') ORDER BY d,id LIMIT 7;"
same not_like "$K AND vecdb_not_like(s,'a%');" "$O s NOT LIKE 'a%' ORDER BY d,id LIMIT 7;"
same filter "$K AND filter='i NOT IN (3,4) OR s IS NULL';" "$O i NOT IN (3,4) OR s IS NULL ORDER BY d,id LIMIT 7;"
same filter_and "$K AND filter='i=3 OR i=4' AND c='d';" "$O (i=3 OR i=4) AND c='d' ORDER BY d,id LIMIT 7;"
same filter_scan "SELECT id FROM t WHERE filter='i=3 OR f>1';" "SELECT id FROM o WHERE i=3 OR f>1 ORDER BY id;"
same not_in_function "SELECT id FROM o WHERE vecdb_not_in(i,'[1,2,3]') ORDER BY id;" \
  "SELECT id FROM o WHERE i NOT IN (1,2,3) ORDER BY id;"
same filter_null "SELECT count(*) FROM t WHERE v MATCH $Q AND k=7 AND filter=NULL;" "SELECT 0;"
fails filter_early_close "filter" "$K AND filter='i=3) OR (i=4';"
fails filter_parameter 'has a parameter' "$K AND filter='i=?1';"
fails filter_column 'nosuch' "$K AND filter='nosuch=1';"

# k never gives fewer: selectivity from nothing to everything.
for p in "i=3 AND c='d'" "i=3 AND c='a'" 'i IN (1,2)' 'i>=0' 'id>0'; do
  n=$(sql "SELECT min(20, count(*)) FROM o WHERE $p;")
  is "count: $p" "$n" "SELECT count(*) FROM t WHERE v MATCH $Q AND k=20 AND $p;"
done
is long_list '300' "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE n<50000)
SELECT count(*) FROM t WHERE v MATCH $Q AND k=1000 AND id IN (SELECT n FROM n);"
is long_list_of_metadata '1' "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE n<50000)
SELECT count(*)=(SELECT count(*) FROM o WHERE i>=1) FROM t WHERE v MATCH $Q AND k=1000 AND i IN (SELECT n FROM n);"

# Only with k can an unknown collation or operator not be helped.
fails regexp_with_k 'REGEXP before the k cut' "SELECT id FROM t WHERE v MATCH $Q AND k=3 AND s REGEXP 'a';"
finish
