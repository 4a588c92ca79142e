#!/bin/sh
# traps.sh -- what vector tables elsewhere get wrong, on both modules, both
# storages, and columns with index=flat and with a graph, against an ordinary
# table.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"

# sheet MODULE STORAGE INDEX: the table t(id, v, b, i, f, s, c, x) of 2,500
# rows, and o, which is an ordinary table of the same. Vectors have ties.
sheet() {
  module=$1
  rm -f ./*.db ./*.db-* ./*.vdb*
  file=
  [ "$2" = file ] && file="file='t.vdb', "
  rebuild=optimize
  [ "$3" = graph ] && rebuild=rebuild
  setup "CREATE VIRTUAL TABLE t USING $module(${file}id integer primary key, v float[4] index=$3,
    b boolean, i int, f float, s text, c text partition key, +x text);
  CREATE TABLE o(id INTEGER PRIMARY KEY, v, b, i INTEGER, f REAL, s TEXT, c TEXT, x TEXT);
  WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE n<2500)
  INSERT INTO o SELECT n, vec_f32(printf('[%d,%d,%d,%d]', (n*7919)%61-30, (n*104729)%53-25, (n*1299709)%47-20, n%7)),
    CASE WHEN n%7=0 THEN NULL ELSE n%2 END, CASE WHEN n%11=0 THEN NULL ELSE n%10 END,
    CASE WHEN n%13=0 THEN NULL ELSE (n%8)/4.0 END, CASE WHEN n%17=0 THEN NULL ELSE substr('aAbBcdefgh',n%10+1,1)||(n%4) END,
    substr('abcde',n%5+1,1), CASE WHEN n%19=0 THEN NULL ELSE 'x'||(n%6) END FROM n;
  INSERT INTO t(id,v,b,i,f,s,c,x) SELECT * FROM o;
  INSERT INTO t(t) VALUES('$rebuild');
  CREATE TABLE d(id INTEGER PRIMARY KEY, w); INSERT INTO d SELECT id, id%3 FROM o WHERE id%5=0;
  CREATE TABLE small(id INTEGER PRIMARY KEY); INSERT INTO small VALUES(5),(10),(9999);"
}
Q="'[1,-1,0.5,2]'"
D="vec_distance_l2(v,$Q)"
M="SELECT id, distance FROM t WHERE v MATCH $Q AND exact=1"
top() { echo "SELECT id, $D d FROM o WHERE $1 ORDER BY d, id LIMIT $2;"; }
# Approximate: as many rows, all of them right, in order.
count() { # NAME N WHERE
  is "$1" "$2|1|1" "WITH r AS MATERIALIZED (SELECT id, distance, row_number() OVER () n FROM t WHERE v MATCH $Q AND k=$4 AND $3)
SELECT count(*), total(r.distance=$D AND ($3))=count(*), count(*)=(SELECT count(*) FROM (SELECT n, row_number() OVER (ORDER BY distance, id) m FROM r) WHERE n=m) FROM r JOIN o USING(id);"
}

traps() {
  same t1_point     "$M AND k=3 AND id=7;"            "$(top 'id=7' 3)"
  same t1_range     "$M AND k=3 AND id>700;"          "$(top 'id>700' 3)"
  same t2_missing   "$M AND k=3 AND id IN (3,99999);" "$(top 'id=3' 3)"
  same t3_partition "$M AND k=3 AND c IN ('a','b');"  "$(top "c IN ('a','b')" 3)"
  same t4_distance  "$M AND k=30 AND distance<9.5;"   "$(top "$D<9.5" 30)"
  same t4_rowid_in  "$M AND k=3 AND rowid IN (1,2);"  "$(top 'id IN (1,2)' 3)"
  same t5_function  "SELECT sum(distance=$D), count(*) FROM t WHERE v MATCH $Q AND k=50;" "SELECT 50, 50;"
  same t6_nocase    "$M AND k=3 AND s='A1' COLLATE NOCASE;" "$(top "s='A1' COLLATE NOCASE" 3)"
  is   t6_real ''   "$M AND k=3 AND i=3.5;"
  same t6_text      "$M AND k=3 AND i='3';"           "$(top 'i=3' 3)"
  for w in 'b' 'NOT b' 'i NOT IN (3,4)' 'length(s)>1' 'EXISTS(SELECT 1 FROM d WHERE d.id=t.id)' \
           'b IS TRUE' 's NOT LIKE '"'a%'" 'i=1 OR f=0.5'; do
    same "t7 $w"    "$M AND ($w) ORDER BY distance LIMIT 3;" "$(top "$w" 3 | sed 's/t\.id/o.id/')"
  done
  same t7_filter    "$M AND k=3 AND filter='i NOT IN (3,4) AND NOT b';" "$(top 'i NOT IN (3,4) AND NOT b' 3)"
  for w in 'i IS NULL' 'b>0' 'b IN (0,1)' 'f IN (1.0,0.5)' "s GLOB 'a*'" "x='x1'" "x IS NULL" "s LIKE 'A_'" 'i<>3' 'i IS NOT 3'; do
    same "t8 $w"    "$M AND k=3 AND $w;"              "$(top "$w" 3)"
  done
  same t9_desc      "$M ORDER BY distance DESC, id LIMIT 3;" "SELECT id, $D d FROM o ORDER BY d DESC, id LIMIT 3;"
  same t9_other     "SELECT id FROM t WHERE v MATCH $Q AND exact=1 ORDER BY i, id LIMIT 3;" "SELECT id FROM o ORDER BY i, id LIMIT 3;"
  same t9_id_desc   "SELECT id FROM t WHERE v MATCH $Q AND exact=1 ORDER BY id DESC LIMIT 3;" "SELECT id FROM o ORDER BY id DESC LIMIT 3;"
  same t9_scan_desc "SELECT id FROM t ORDER BY id DESC LIMIT 3;" "SELECT id FROM o ORDER BY id DESC LIMIT 3;"
  same t10_offset   "$M ORDER BY distance LIMIT 3 OFFSET 2;" "$(top 1 '3 OFFSET 2')"
  same t10_pages    "SELECT * FROM (SELECT * FROM ($M ORDER BY distance, id LIMIT 4) UNION ALL SELECT * FROM ($M ORDER BY distance, id LIMIT 4 OFFSET 4));" "$(top 1 8)"
  same t11_k_limit  "$M AND k=3 LIMIT 2;"             "$(top 1 2)"
  same t11_scalar   "SELECT (SELECT id FROM t WHERE v MATCH o.v AND k=1 AND exact=1) FROM o WHERE id IN (3,4,900);" \
    "SELECT (SELECT min(p.id) FROM o p WHERE p.v=o.v) FROM o WHERE id IN (3,4,900);"
  for d in small d; do
    same "t12 $d"   "SELECT t.id, distance FROM t JOIN $d ON $d.id=t.id WHERE v MATCH $Q AND k=2400 AND exact=1;" \
      "SELECT id, d FROM ($(top 1 2400 | tr -d ';')) WHERE id IN (SELECT id FROM $d);"
  done
  sql "ANALYZE;" >/dev/null
  same t12_analyzed "SELECT t.id, distance FROM t JOIN d ON d.id=t.id WHERE v MATCH $Q AND k=30 AND exact=1;" \
    "SELECT id, d FROM ($(top 1 30 | tr -d ';')) WHERE id IN (SELECT id FROM d);"
  same t13_join     "SELECT t.id, distance FROM t JOIN d ON d.id=t.id WHERE v MATCH $Q AND exact=1 ORDER BY distance LIMIT 3;" \
    "$(top 'id IN (SELECT id FROM d)' 3)"
  fails t13_left    'MATCH' "SELECT t.id FROM small LEFT JOIN t ON t.id=small.id WHERE v MATCH $Q OR small.id=5;"
  same t13_left_on  "SELECT small.id, t.id FROM small LEFT JOIN t ON t.v MATCH $Q AND t.k=2 AND t.exact=1 ORDER BY 1, 2;" \
    "SELECT small.id, n.id FROM small, (SELECT id FROM ($(top 1 2 | tr -d ';'))) n ORDER BY 1, 2;"
  same t14_many     "$M AND k=3 AND i>=1 AND i<9 AND i<>5 AND i<>6 AND f>=0 AND f<=2 AND f<>0.25 AND s>='a' AND s<'z' AND s<>'q' AND id>0 AND id<>4 AND x>='a' AND x<>'x9' AND c<>'zz' AND b>=0 AND b<=1 AND i<>7;" \
    "$(top "i>=1 AND i<9 AND i<>5 AND i<>6 AND f>=0 AND f<=2 AND f<>0.25 AND s>='a' AND s<'z' AND s<>'q' AND id>0 AND id<>4 AND x>='a' AND x<>'x9' AND c<>'zz' AND b>=0 AND b<=1 AND i<>7" 3)"
  same t15_rowid    "SELECT _rowid_ FROM t WHERE v MATCH $Q AND k=3 AND exact=1;" "SELECT id FROM ($(top 1 3 | tr -d ';'));"
  fails t16_null    '' "UPDATE t SET v=NULL WHERE id=1;"
  same t16_rowid    "BEGIN; UPDATE t SET rowid=99999 WHERE id=1; SELECT count(*), sum(id=99999) FROM t; ROLLBACK;" "SELECT 2500, 1;"
  same t17_ignore   "INSERT OR IGNORE INTO t(id,v) VALUES(1,'[0,0,0,0]'); SELECT changes(), count(*) FROM t;" "SELECT 0, 2500;"
  fails t17_code    '(19)' "INSERT INTO t(id,v) VALUES(1,'[0,0,0,0]');"
  same t22_ties     "SELECT id FROM t WHERE v MATCH (SELECT v FROM o WHERE id=5) AND k=4 AND exact=1;" \
    "SELECT id FROM o ORDER BY vec_distance_l2(v,(SELECT v FROM o WHERE id=5)), id LIMIT 4;"
  # 23: as many rows as there are, whatever the selectivity.
  for w in 'id%1000=7' 'id=77' 'i=3' "c='a'" 'i>=1' "c='a' AND i=2 AND f>0.5" 'id>2400' '1'; do
    case $w in id%*) w=" id IN (7,1007,2007)" ;; esac
    n=$(sql "SELECT min(20,count(*)) FROM o WHERE $w;")
    count "t23 $w" "$n" "$w" 20
  done
  same t23_k_all    "SELECT count(*), count(DISTINCT id) FROM t WHERE v MATCH $Q AND k=100000;" "SELECT 2500, 2500;"
  same t25_twins    "BEGIN; INSERT INTO t(id,v) VALUES(5001,'[99,99,99,99]'),(5002,'[99,99,99,99]'); DELETE FROM t WHERE id=5001;
SELECT id FROM t WHERE v MATCH '[99,99,99,99]' AND k=1; ROLLBACK;" "SELECT 5002;"
  same t26_undone   "BEGIN; INSERT INTO t(id,v) VALUES(5001,$Q); SAVEPOINT a; INSERT INTO t(id,v) VALUES(5002,$Q); UPDATE t SET v='[50,50,50,50]' WHERE id=5001;
SELECT id FROM t WHERE v MATCH $Q AND k=1; ROLLBACK TO a; SELECT id FROM t WHERE v MATCH $Q AND k=1; ROLLBACK; $M AND k=1;" "SELECT 5002; SELECT 5001; $(top 1 1)"
  same t28_drop     "BEGIN; DROP TABLE t; ROLLBACK; $M AND k=3;" "$(top 1 3)"
  same t31_vacuum   "VACUUM; $M AND k=3;"             "$(top 1 3)"
  same t31_rename   "ALTER TABLE t RENAME TO t2; ALTER TABLE t2 RENAME TO t; $M AND k=3;" "$(top 1 3)"
  same t32_hint     "SELECT count(*) FROM t WHERE v MATCH $Q AND k=3 AND ef=500; SELECT ef IS NULL FROM t WHERE v MATCH $Q AND k=1;" "SELECT 3; SELECT 1;"
  # 23, 26, 27: most rows deleted, then all; others put in; space used again.
  same t23_deleted  "DELETE FROM t WHERE id%10<>3; DELETE FROM o WHERE id%10<>3; $M AND k=7;
SELECT count(*) FROM t WHERE v MATCH $Q AND k=100;" "$(top 'id%10=3' 7) SELECT 100;"
  same t26_update   "UPDATE t SET v='[7,7,7,7]', i=77 WHERE id<500; UPDATE o SET v=vec_f32('[7,7,7,7]'), i=77 WHERE id<500; $M AND k=60; $M AND k=5 AND i=77;" \
    "$(top 1 60) $(top 'i=77' 5)"
  is   check ''     "SELECT * FROM vecdb_check('t') WHERE severity='damage';"
}
# Each pair of the three once; all of them with VECDB_TRAPS=all.
run() {
  sheet "$1" "$2" "$3"
  # shellcheck disable=SC2154
  before=$n_failed
  traps
  [ "$n_failed" = "$before" ] || echo "  in $1, $2, $3"
}
run vecdb database graph
run vecdb file flat
run vec0 database flat
run vec0 file graph
if [ "${VECDB_TRAPS-}" = all ]; then
  run vecdb database flat
  run vecdb file graph
  run vec0 database graph
  run vec0 file flat
fi
finish
