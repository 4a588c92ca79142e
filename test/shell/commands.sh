#!/bin/sh
# commands.sh -- every dot-command and option that session.sh and import.sh do
# not come to.
# shellcheck disable=SC1091,SC2154
. "$VECDB_SRC/test/shell/lib.inc"

run 0 a.vdb "CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[2], n int)" \
  "INSERT INTO t(id,v,n) VALUES(1,'[1,0]',5),(2,'[0,1]',6)"
run 0 b.vdb "CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[2])" \
  "INSERT INTO t(id,v) VALUES(7,'[1,0]')"

# ---- several files -----------------------------------------------------------
run 0 a.vdb ".attach b.vdb AS b" ".databases" "INSERT INTO b.t(id,v) VALUES(8,'[3,3]')" \
  "SELECT t.id, u.id FROM t JOIN b.t u ON u.v MATCH t.v AND u.k=1 ORDER BY 1" ".detach b" ".databases"
is '.attach mounts, .detach lets go' 'main: a.vdb
b: DIR/b.vdb
1|7
2|7
main: a.vdb' "$(printf '%s\n' "$out" | sed "s|$(pwd -P)|DIR|")"
run 0 b.vdb "SELECT count(*) FROM t"
is 'what was written there is there' 2 "$out"
run 1 a.vdb ".attach b.vdb b" "BEGIN; INSERT INTO t(id,v) VALUES(9,'[9,9]'); INSERT INTO b.t(id,v) VALUES(9,'[9,9]')"
has 'a transaction writes one file' 'they cannot commit together' "$out"
run 3 a.vdb ".attach nosuch.vdb b"
has 'a file that is not there' 'cannot attach "nosuch.vdb"' "$out"
run 1 a.vdb ".detach nosuch"
has 'detaching what is not attached' 'no such database: nosuch' "$out"
run 1 a.vdb ".attach b.vdb"
has '.attach wants a name' 'usage: .attach FILE [AS] NAME' "$out"

# ---- copies ------------------------------------------------------------------
run 0 a.vdb ".backup copy.vdb" "DELETE FROM t" "SELECT count(*) FROM t" ".restore copy.vdb" "SELECT count(*) FROM t"
has '.restore brings the rows back' 'restored from "copy.vdb"
2' "$out"
is 'and leaves nothing beside' 'a.vdb b.vdb copy.vdb' "$(echo ./*.vdb* | sed 's|\./||g')"
run 3 a.vdb ".restore nosuch.vdb"
run 1 a.vdb "BEGIN" ".restore copy.vdb"
has 'not inside a transaction' 'inside a transaction' "$out"
run 0 :memory: "CREATE VIRTUAL TABLE t USING vecdb(v float[1])" ".save kept.vdb" "INSERT INTO t(v) VALUES('[1]')"
run 0 kept.vdb "SELECT count(*) FROM t"
is 'a temporary database goes on in what it was saved to' 1 "$out"

# ---- salvage -----------------------------------------------------------------
i=1
{ echo 'CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[8], s text);'
  echo 'CREATE VIRTUAL TABLE u USING vecdb(id text primary key, v float[1]);'
  echo "INSERT INTO u VALUES('a','[1]'),('b','[2]'); BEGIN;"
  while [ $i -le 600 ]; do
    echo "INSERT INTO t VALUES($i,'[$i,1,2,3,4,5,6,7]','row $i of the table that is to be saved');"
    i=$((i+1))
  done
  echo "COMMIT; INSERT INTO t(t) VALUES('flush');"
} >fill.sql
run 0 whole.vdb ".read fill.sql"
cp whole.vdb hurt.vdb
for at in 70000 90000 120000; do
  printf 'XXXXXXXXXXXXXXXX' | dd of=hurt.vdb bs=1 seek=$at conv=notrunc 2>/dev/null
done
run 4 hurt.vdb .check
has '.check says how to go on' '.recover' "$out"
run 0 ".recover whole.vdb same.vdb"
is 'all of a sound file is found' 't: 600 rows
u: 2 rows' "$out"
"$V" ".recover hurt.vdb saved.vdb" >said.txt 2>&1
has 'a damaged one says what is lost' 'lost' "$(cat said.txt)"
run 0 saved.vdb .check "SELECT count(*)>100 FROM t" "SELECT count(*) FROM t WHERE s <> 'row '||id||' of the table that is to be saved'"
is 'what was saved is sound and right' 'ok
1
0' "$out"
run 1 ".recover whole.vdb same.vdb"
has 'nothing is overwritten' '"same.vdb" exists' "$out"

# ---- parameters --------------------------------------------------------------
run 0 a.vdb ".parameter set :q '[1,0]'" ".parameter set @n 5+1" ".parameter set ?1 abc def" ".parameter list" \
  "SELECT id FROM t WHERE v MATCH :q AND k=1" "SELECT id FROM t WHERE n=@n" "SELECT ?1" ".parameter unset @n" "SELECT @n IS NULL" \
  ".parameter clear" ".parameter list"
is '.parameter' ":q           '[1,0]'
?1           'abc def'
@n           6
1
2
abc def
1" "$out"
run 1 a.vdb ".parameter unset :nosuch"
has 'an unknown parameter' 'no parameter ":nosuch"' "$out"
run 1 a.vdb ".parameter set q 1"
has 'a name without its sign' 'begins with' "$out"

# ---- measuring ---------------------------------------------------------------
run 0 whole.vdb ".recall t" ".recall t k=3 samples=20"
has '.recall audits' '10|0|100|1.0|0.963|1.0' "$out"
has '.recall takes arguments' '3|0|20|1.0|' "$out"
run 0 whole.vdb "INSERT INTO t(t) VALUES('capture=4')" "SELECT count(*) FROM t WHERE v MATCH zeroblob(32) AND k=2" ".recall t k=3" "INSERT INTO t(t) VALUES('capture=0')"
has '.recall tells rows from captured queries' 'captured|3|0|1|1.0' "$out"
run 1 whole.vdb ".recall t k=x"
has '.recall takes whole numbers' 'k is x, expected 1 to 10000' "$out"
run 1 whole.vdb ".recall t k=2.5"
has 'and no others' 'k is 2.5, expected 1 to 10000' "$out"
run 0 whole.vdb ".recall t keep" "SELECT count(*) FROM vecdb_audits('t')" .tables
has '.recall keep remembers' '
1
t
u' "$out"
run 0 whole.vdb "DELETE FROM t WHERE id=5" ".stat t"
has '.stat shows the drift' 'recall of v|1 (0.963 to 1) at k 10, ' "$out"
has '.stat shows the drift' ', 1 changes ago' "$out"
run 1 whole.vdb "SELECT * FROM tt"
is 'a table that is nearly there' 'error: no such table: tt; did you mean "t"?' "$out"
run 1 whole.vdb "SELECT disance FROM t"
is 'a column that is nearly there' 'error: no such column: disance; did you mean "distance"?' "$out"
run 1 whole.vdb "SELECT vec_lenght('[1]')"
has 'a function that is nearly there' 'did you mean "vec_length"?' "$out"
run 1 whole.vdb ".recall t nonsense"
has 'its usage' 'usage: .recall' "$out"
run 0 whole.vdb ".bench t k=2 queries=20 b.csv" ".bench t queries=10 b.svg"
has '.bench sweeps' 'exact   1.0000' "$out"
has 'the csv says where it ran' 'table,rows,type,metric,k,queries,threads,machine,ef,recall,qps' "$(cat b.csv)"
has 'the svg is one' '</svg>' "$(cat b.svg)"
run 1 whole.vdb ".bench u"
has '.bench of text keys' 'batches need integer keys' "$out"
run 0 whole.vdb ".tune t recall=0.9" ".tune t apply"
has '.tune proposes' 'table|as it is|' "$out"
run 0 whole.vdb ".rebuild t ef=50 v.index=graph(bits=2)" ".schema t"
has '.rebuild with options' 'index=graph(bits=2)' "$out"
has '.rebuild with options' 'ef=50' "$out"
run 1 whole.vdb ".rebuild t v.index=graph(bits=3)"
has 'options are checked' 'bits is 3' "$out"
run 1 whole.vdb ".rebuild t nosuch.index=flat"
has 'columns are checked' 'no vector column "nosuch"' "$out"

# ---- in doubt ----------------------------------------------------------------
run 0 a.vdb .resolve
is 'nothing is in doubt' 'nothing is in doubt' "$out"

# ---- a SQLite database -------------------------------------------------------
cp copy.vdb h.vdb
printf 'CREATE TABLE o(x); INSERT INTO o VALUES(1);\n' >o.sql
run 0 a.vdb ".shell true"
if command -v sqlite3 >/dev/null 2>&1; then
  sqlite3 h.db <o.sql
  run 0 h.db "CREATE VIRTUAL TABLE t USING vecdb(file='h.vdb')" "SELECT id FROM t WHERE v MATCH '[1,0]' AND k=1" \
    .tables .collections ".knn t [0,1] 1" ".stat t" .check .schema .optimize ".backup h2.db" .databases
  has 'a SQLite file opens as such' '1
o
t
t|2|v|float[2]
2|[0,1]|6|0.0' "$out"
  has '.stat of a table' 'rows|2' "$out"
  has '.check of both' '
ok
' "$out"
  has '.schema' 'CREATE TABLE o(x);' "$out"
  has '.databases' '(SQLite)' "$out"
  is '.backup' 'o|1' "$(sqlite3 h2.db "SELECT 'o', x FROM o")"
  run 1 h.db .checkpoint
  has 'what needs a .vdb' 'it is a SQLite database' "$out"
  run 0 a.vdb ".attach h.db AS h" "SELECT x FROM h.o"
  is 'a SQLite file can be attached' 1 "$out"
fi

# ---- options -----------------------------------------------------------------
run 0 "SELECT 41+1"
is 'a first argument that is SQL runs' 42 "$out"
run 0 .tables
run 0 --threads 2 --memory 8M --build-memory 16M --timeout 10 --nullvalue nil --separator , a.vdb "SELECT id, NULL FROM t" .show
has 'options that take a value' '1,nil' "$out"
has 'options that take a value' 'timeout: 10 ms' "$out"
run 2 -memory lots a.vdb "SELECT 1"
has 'values are checked' 'has a bad value' "$out"
run 1 -build-memory 9 a.vdb "SELECT 1"
has '-build-memory too small' 'build_bytes 9 is not 0 and less than 1048576' "$out"
run 2 -threads
has 'a value that is missing' 'needs a value' "$out"
printf '.print from init\n' >init.sql
run 0 -init init.sql -cmd ".print from cmd" a.vdb "SELECT 1"
is '-init, then -cmd, then the rest' 'from init
from cmd
1' "$out"
run 0 -echo a.vdb "SELECT 1"
is '-echo' 'SELECT 1
1' "$out"
run 0 -stats a.vdb "SELECT 1"
has '-stats' 'memory' "$out"
run 1 -safe a.vdb ".attach b.vdb b"
has '-safe has no .attach' 'not allowed with -safe' "$out"
for c in '.open b.vdb' '.read o.sql' '.output x' '.once x' '.backup x.vdb' '.save x.vdb' '.restore b.vdb' '.recover a.vdb x.vdb' '.export t x.csv' '.import x.csv t'; do
  run 1 -safe a.vdb "$c"
  has "-safe has no $c" 'not allowed with -safe' "$out"
done
ln -s a.vdb link.vdb
run 3 -nofollow link.vdb "SELECT 1"
run 0 -immutable a.vdb "SELECT count(*) FROM t"
is '-immutable reads' 2 "$out"
for mode in box table markdown json jsonl csv tabs line list html quote; do
  run 0 -$mode -header a.vdb "SELECT 1 AS a, 'x' AS b"
  has "-$mode" x "$out"
done
run 0 -html -header a.vdb "SELECT '<&>' AS a"
is 'html' '<tr><th>a</th></tr>
<tr><td>&lt;&amp;&gt;</td></tr>' "$out"
run 0 a.vdb ".prompt a> b>" ".show" ".width 3 4" ".headers on" ".separator ;" ".nullvalue nil" "SELECT 1 AS x, NULL AS y"
has 'settings' 'x;y
1;nil' "$out"
run 0 a.vdb ".tab" ".sch t"
has 'unique prefixes work' 'CREATE VIRTUAL TABLE' "$out"
run 1 a.vdb ".re"
has 'others are ambiguous' 'ambiguous' "$out"

# ---- busy and interrupted ----------------------------------------------------
run 0 a.vdb "BEGIN; DELETE FROM t" ".shell '$V' -timeout 0 a.vdb 'DELETE FROM t' || echo status \$?" "ROLLBACK"
has 'somebody else writes' 'holds the write lock' "$out"
"$V" a.vdb "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r) SELECT count(*) FROM r" >int.txt 2>&1 &
pid=$!
sleep 0.3
kill -INT $pid
wait $pid
is 'Ctrl-C ends a statement with 130' 130 $?
has 'and says so' 'interrupted' "$(cat int.txt)"
done_testing
