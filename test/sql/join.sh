#!/bin/sh
# join.sh -- searches beside other tables. k counts rows of the vector table,
# whatever it is joined with.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/schema.inc"
setup_pair 200
setup "CREATE TABLE d(id INTEGER PRIMARY KEY, name); INSERT INTO d SELECT id, 'n'||id FROM o;
CREATE TABLE d1(id, name); INSERT INTO d1 SELECT id, name FROM d WHERE id<60;
CREATE TABLE q(n INTEGER PRIMARY KEY, e); INSERT INTO q VALUES(1,'[0,0,0,0]'),(2,$Q),(3,NULL),(4,'[6,5,3,4]');"
D="vec_distance_l2(v,$Q)"
TOP="(SELECT id, $D d FROM o ORDER BY d, id LIMIT 10)"

same rowid_join "SELECT t.id, name, distance FROM t JOIN d ON d.id=t.id WHERE v MATCH $Q AND k=10;" \
  "SELECT id, 'n'||id, d FROM $TOP;"
same rowid_join_other_way "SELECT t.id, name, distance FROM d JOIN t ON d.id=t.rowid WHERE t.v MATCH $Q AND t.k=10 ORDER BY distance;" \
  "SELECT id, 'n'||id, d FROM $TOP;"
same unindexed_join "SELECT t.id, name FROM t JOIN d1 ON d1.id=t.id WHERE v MATCH $Q AND k=10 ORDER BY distance, t.id;" \
  "SELECT id, 'n'||id FROM $TOP WHERE id<60;"
same join_on_metadata "SELECT count(*) FROM t JOIN d1 ON d1.id=t.i*3 WHERE v MATCH $Q AND k=10;" \
  "SELECT count(*) FROM (SELECT i, $D d, id FROM o ORDER BY d, id LIMIT 10) a JOIN d1 ON d1.id=a.i*3;"
same join_order_limit "SELECT t.id, name FROM t JOIN d1 ON d1.id=t.id WHERE v MATCH $Q ORDER BY distance LIMIT 10;" \
  "SELECT o.id, name FROM o JOIN d1 ON d1.id=o.id ORDER BY $D, o.id LIMIT 10;"
same analyzed "ANALYZE; SELECT t.id, name, distance FROM t JOIN d ON d.id=t.id WHERE v MATCH $Q AND k=10;" \
  "SELECT id, 'n'||id, d FROM $TOP;"
same propagated_constant "SELECT t.id FROM t JOIN d ON d.id=t.id WHERE v MATCH $Q AND k=3 AND d.id=30;" "SELECT 30;"
same in_subquery "SELECT t.id FROM t WHERE v MATCH $Q AND k=10 AND id IN (SELECT id FROM d1);" \
  "SELECT id FROM o WHERE id<60 ORDER BY $D, id LIMIT 10;"
same other_condition "SELECT t.id FROM t JOIN d ON d.id=t.id WHERE v MATCH $Q AND k=10 AND name LIKE '%3%';" \
  "SELECT id FROM $TOP WHERE 'n'||id LIKE '%3%';"

# Correlated: one search per row of the other table.
one() { echo "SELECT * FROM (SELECT $1, id, vec_distance_l2(v,(SELECT e FROM q WHERE n=$1)) d FROM o ORDER BY d, id LIMIT 3)"; }
ALL="$(one 1) UNION ALL $(one 2) UNION ALL $(one 4);"
same correlated "SELECT n, t.id, t.distance FROM q, t WHERE t.v MATCH q.e AND t.k=3;" "$ALL"
same correlated_join "SELECT n, t.id, t.distance FROM q JOIN t ON t.v MATCH q.e AND t.k=3;" "$ALL"
same correlated_left "SELECT n, t.id FROM q LEFT JOIN t ON t.v MATCH q.e AND t.k=1;" \
  "SELECT q.n, w.id FROM q LEFT JOIN (SELECT n, id, row_number() OVER (PARTITION BY n ORDER BY vec_distance_l2(v,e), o.id) r
   FROM q JOIN o WHERE e IS NOT NULL) w ON w.n=q.n AND w.r=1;"
same scalar_subquery "SELECT n, (SELECT id FROM t WHERE v MATCH q.e AND k=1) FROM q;" \
  "SELECT q.n, w.id FROM q LEFT JOIN (SELECT n, id, row_number() OVER (PARTITION BY n ORDER BY vec_distance_l2(v,e), o.id) r
   FROM q JOIN o WHERE e IS NOT NULL) w ON w.n=q.n AND w.r=1;"
same table_function "SELECT n, a.id, a.distance FROM q, t(q.e, '{\"k\":3}') a;" "$ALL"
same self_join "SELECT a.id, b.id FROM t a, t b WHERE a.id IN (3,30,300) AND b.v MATCH a.v AND b.k=2;" \
  "SELECT * FROM (SELECT 3, id FROM o ORDER BY vec_distance_l2(v,(SELECT v FROM o WHERE id=3)), id LIMIT 2)
UNION ALL SELECT * FROM (SELECT 30, id FROM o ORDER BY vec_distance_l2(v,(SELECT v FROM o WHERE id=30)), id LIMIT 2)
UNION ALL SELECT * FROM (SELECT 300, id FROM o ORDER BY vec_distance_l2(v,(SELECT v FROM o WHERE id=300)), id LIMIT 2);"
same correlated_filter "SELECT n, t.id FROM q JOIN t ON t.v MATCH q.e AND t.k=1 AND t.i=q.n;" \
  "SELECT n, id FROM (SELECT n, id, row_number() OVER (PARTITION BY n ORDER BY vec_distance_l2(v,e), o.id) r
   FROM q JOIN o ON o.i=q.n WHERE e IS NOT NULL) WHERE r=1;"

# Point lookups inside joins, unions, subqueries.
same point_join "SELECT d1.name, t.s FROM d1 JOIN t ON t.id=d1.id ORDER BY d1.id;" \
  "SELECT d1.name, o.s FROM d1 JOIN o ON o.id=d1.id ORDER BY d1.id;"
same left_join_lookup "SELECT count(*), count(t.id) FROM (SELECT 3 i UNION SELECT 4) x LEFT JOIN t ON t.id=x.i;" "SELECT 2, 1;"
same or_of_ids "SELECT id FROM t WHERE v MATCH $Q AND k=20 AND (id=3 OR id=9);" \
  "SELECT id FROM o WHERE id IN (3,9) ORDER BY $D, id;"
same or_of_columns "SELECT count(*) FROM t WHERE v MATCH $Q AND k=20 AND (id=3 OR i=4);" \
  "SELECT count(*) FROM (SELECT id, i FROM o ORDER BY $D, id LIMIT 20) WHERE id=3 OR i=4;"
same or_in_scan "SELECT id FROM t WHERE id=3 OR i=4 ORDER BY id;" "SELECT id FROM o WHERE id=3 OR i=4 ORDER BY id;"
same union_all "SELECT id FROM t WHERE v MATCH $Q AND k=2 UNION ALL SELECT id FROM t WHERE id=9;" \
  "SELECT * FROM (SELECT id FROM o ORDER BY $D, id LIMIT 2) UNION ALL SELECT 9;"
same cte "WITH near AS (SELECT id, distance FROM t WHERE v MATCH $Q AND k=5) SELECT max(distance) FROM near;" \
  "SELECT max(d) FROM (SELECT * FROM $TOP LIMIT 5);"
same rrf "WITH a AS (SELECT id, row_number() OVER (ORDER BY distance) r FROM t WHERE v MATCH $Q AND k=5)
SELECT id FROM a GROUP BY id ORDER BY sum(vecdb_rrf(r)) DESC;" "SELECT id FROM $TOP LIMIT 5;"

fails match_in_where_of_left_join 'top-level AND term' \
  "SELECT d.id FROM d LEFT JOIN t ON t.id=d.id WHERE t.v MATCH $Q OR d.id=3;"
fails match_negated 'top-level AND term' "SELECT id FROM t WHERE NOT (v MATCH $Q);"
finish
