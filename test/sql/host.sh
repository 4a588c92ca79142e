#!/bin/sh
# host.sh -- tables stored in their SQLite database: transactions with DDL,
# backup, VACUUM, dump, damage, and what SQLite does with shadow tables.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"

ins() { echo "INSERT INTO $1(id,v) VALUES($2,'[$2,0]');"; }
ids() { echo "SELECT group_concat(id) FROM (SELECT id FROM $1 ORDER BY id);"; }
knn() { echo "SELECT group_concat(id) FROM (SELECT id FROM $1 WHERE v MATCH '[2.2,0]' AND k=2);"; }
T="CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[2], s text);"
fresh() {
  rm -f ./*.db ./*.db-*
  setup "$T $(ins t 1) $(ins t 2) $(ins t 3)"
}
CHECK="SELECT * FROM vecdb_check('t') WHERE severity='damage';"

# What is in the schema; nothing outside of the database.
fresh
is shadow_tables 't,t_extents,t_meta,t_pages' "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type='table' ORDER BY name);"
is page_size '4032|4032' "SELECT min(length(data)), max(length(data)) FROM t_pages;"
if sql "SELECT 1 FROM dbstat LIMIT 1;" | grep -q '^1$'; then
  is no_overflow '0' "SELECT count(*) FROM dbstat WHERE name='t_pages' AND pagetype='overflow';"
fi
is search '2,3' "$(knn t)"
if [ "$(ls)" = host.db ]; then passed; else failed one_file "$(ls)"; fi
is last_insert_rowid '7|1' "$(ins t 7) SELECT last_insert_rowid(), changes();"
is last_insert_rowid_txn '8
8' "BEGIN; $(ins t 8) SELECT last_insert_rowid(); COMMIT; SELECT last_insert_rowid();"
is trigger_and_view '9|1' "CREATE TABLE d(id INTEGER PRIMARY KEY, e);
CREATE TRIGGER di AFTER INSERT ON d BEGIN INSERT INTO t(id,v) VALUES(new.id,new.e); END;
CREATE VIEW w AS SELECT id FROM t; PRAGMA trusted_schema=OFF;
INSERT INTO d VALUES(9,'[9,0]'); SELECT max(id), count(*)>5 FROM w;"
fails needs_columns 'no vector column' "CREATE VIRTUAL TABLE e USING vecdb(i int);"
fails collection_needs_file "give file='name.vdb'" "CREATE VIRTUAL TABLE e USING vecdb(v float[2], collection='x');"
fails background_refused "optimize=background needs file=" "CREATE VIRTUAL TABLE e USING vecdb(v float[2], optimize=background);"
fails detach 'only a table with file= can be detached' "INSERT INTO t(t) VALUES('detach');"
fails durability 'PRAGMA synchronous decides' "CREATE VIRTUAL TABLE e USING vecdb(v float[2], durability=full);"
is audits_beside '3|3' "CREATE VIRTUAL TABLE zz USING vecdb(id integer primary key, v float[2]); $(ins zz 1) $(ins zz 2) $(ins zz 3)
INSERT INTO zz(zz) VALUES('calibrate'); CREATE TABLE e1(x); SELECT count(*), max(id) FROM zz; DROP TABLE e1; DROP TABLE zz;"
fails background_command 'background' "INSERT INTO t(t) VALUES('optimize=background');"
is failed_create_leaves_nothing '0' "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'e*';"
fails shadow_names_taken 'x_pages' "CREATE TABLE x_pages(a); CREATE VIRTUAL TABLE x USING vecdb(v float[2]);"
is nothing_made 'x_pages' "SELECT group_concat(name) FROM sqlite_schema WHERE name GLOB 'x*';"

# CREATE, DROP and RENAME in transactions and savepoints.
try() {
  fresh
  is "$1" "$2" "$3"
  is "$1, afterwards" "${4-$2}" "$(ids t) $(knn t) $CHECK"
}
K='1,2,3
2,3'
try rollback_create "$K" "BEGIN; CREATE VIRTUAL TABLE n USING vecdb(v float[3]); INSERT INTO n(v) VALUES('[1,2,3]'); ROLLBACK; $(ids t) $(knn t)"
try rollback_drop "$K" "BEGIN; DROP TABLE t; ROLLBACK; $(ids t) $(knn t)"
try rollback_drop_written "$K" "BEGIN; $(ins t 4) DROP TABLE t; ROLLBACK; $(ids t) $(knn t)"
try rollback_to_drop '1,2,3,4
2,3' "BEGIN; $(ins t 4) SAVEPOINT a; DROP TABLE t; ROLLBACK TO a; COMMIT; $(ids t) $(knn t)"
try drop_and_create_undone '5
1,2,3,4
2,3' "BEGIN; $(ins t 4) SAVEPOINT a; DROP TABLE t; $T $(ins t 5) $(ids t) ROLLBACK TO a; $(ids t) COMMIT; $(knn t)" '1,2,3,4
2,3'
try drop_and_create '5,6
6,5' "BEGIN; $(ins t 4) SAVEPOINT a; DROP TABLE t; $T $(ins t 5) RELEASE a; $(ins t 6) COMMIT; $(ids t)
SELECT group_concat(id) FROM (SELECT id FROM t WHERE v MATCH '[9,0]' AND k=2);" '5,6
5,6'
try rollback_rename "$K" "BEGIN; $(ins t 4) ALTER TABLE t RENAME TO u; $(ins u 5) ROLLBACK; $(ids t) $(knn t)"
try rename_undone '1,2,3,4,5
1,2,3,4,6' "BEGIN; $(ins t 4) SAVEPOINT a; ALTER TABLE t RENAME TO u; $(ins u 5) $(ids u) ROLLBACK TO a; $(ins t 6) COMMIT; $(ids t)" '1,2,3,4,6
2,3'
try rename_twice '1,2,3,4' "BEGIN; ALTER TABLE t RENAME TO u; $(ins u 4) ALTER TABLE u RENAME TO t; COMMIT; $(ids t)" '1,2,3,4
2,3'
fresh
is rename '1,2,3
u_extents,u_meta,u_pages' "ALTER TABLE t RENAME TO u; $(ids u) SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name GLOB '*_*' ORDER BY 1);"
is rename_command '' "INSERT INTO u(u) VALUES('rebuild');"
fails rename_message 'collection "u" already has a row with key 1' "$(ins u 1)"
fresh
is schema_change_keeps_changes '1,2,3,4
1,2,3,4,5' "BEGIN; $(ins t 4) SAVEPOINT a; CREATE TABLE x(y); ROLLBACK TO a; $(ids t) $(ins t 5) COMMIT; $(ids t)"
is savepoint_begins '1,2,3,4,5,6' "SAVEPOINT a; $(ins t 9) ROLLBACK TO a; $(ins t 6) RELEASE a; $(ids t)"
out=$(sql "BEGIN; $(ins t 7)
INSERT INTO t(id,v) VALUES(8,'[8,0]'),(1,'[1,0]');
COMMIT; $(ids t)" | tail -n 1)
if [ "$out" = '1,2,3,4,5,6,7' ]; then passed; else failed failed_statement "$out"; fi

# Savepoints while the cache spills: what was written before, inside and after.
fresh
spill=$(sql "SELECT vecdb_config('cache_bytes',262144);
CREATE VIRTUAL TABLE b USING vecdb(id integer primary key, v float[64], s text);
CREATE TEMP TABLE n AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE n<3000) SELECT n FROM n;
BEGIN;
INSERT INTO b(id,v,s) SELECT n, vec_f32(zeroblob(256)), printf('%040d',n) FROM n WHERE n<=1000;
SAVEPOINT a;
INSERT INTO b(id,v,s) SELECT n, vec_f32(zeroblob(256)), printf('%040d',n) FROM n WHERE n>1000 AND n<=2000;
UPDATE b SET s='changed' WHERE id<=500;
SAVEPOINT c;
DELETE FROM b WHERE id>700 AND id<=1500;
INSERT INTO b(id,v,s) SELECT n, vec_f32(zeroblob(256)), printf('%040d',n) FROM n WHERE n>2000;
ROLLBACK TO c;
SELECT count(*), sum(s='changed') FROM b;
ROLLBACK TO a;
SELECT count(*), sum(s='changed'), sum(id) FROM b;
INSERT INTO b(id,v,s) SELECT n, vec_f32(zeroblob(256)), 'late' FROM n WHERE n>2500;
COMMIT;
SELECT count(*), sum(id), sum(s='late') FROM b;
SELECT * FROM vecdb_check('b') WHERE severity='damage';")
want='262144
2000|500
1000|0|500500
1500|1875750|500'
if [ "$spill" = "$want" ]; then passed; else failed spill "$want" "$spill"; fi
is spill_stays '1500|1875750' "SELECT count(*), sum(id) FROM b; SELECT * FROM vecdb_check('b') WHERE severity='damage';"

# VACUUM, VACUUM INTO, backup, restore, dump.
fresh
sql "DELETE FROM t WHERE id=2; $(ins t 5)" >/dev/null
is vacuum '1,3,5
3,1' "VACUUM; $(ids t) $(knn t)"
is vacuum_into '' "VACUUM INTO 'copy.db';"
is vacuum_into_read '1,3,5' ".open copy.db
.load $VECDB_BUILD/vecdb
$(ids t)"
is backup '1,3,5
3,1' ".backup copy2.db
.open copy2.db
.load $VECDB_BUILD/vecdb
$(ids t) $(knn t)"
is restore '1,3,5,6
1,3,5
1,3,5,7' "$(ins t 6) $(ids t)
.restore copy2.db
$(ids t) $(ins t 7) $(ids t) $CHECK"
sqlite3 host.db .dump >dump.sql 2>/dev/null
"$SQLITE3" -batch restored.db <dump.sql >/dev/null 2>&1
is dump '1,3,5,7
3,1' ".open restored.db
.load $VECDB_BUILD/vecdb
$(ids t) $(knn t) $CHECK"

# The same statements give the same bytes.
cat >replay.sql <<END
$T
$(ins t 1) $(ins t 2)
BEGIN; $(ins t 3) SAVEPOINT a; $(ins t 4) ROLLBACK TO a; COMMIT;
WITH RECURSIVE n(n) AS (SELECT 10 UNION ALL SELECT n+1 FROM n WHERE n<3000)
INSERT INTO t(id,v,s) SELECT n, vec_f32(printf('[%d,%d]', n%17, n%29)), 'x'||n FROM n;
DELETE FROM t WHERE id%3=0;
INSERT INTO t(t) VALUES('optimize');
UPDATE t SET s='y' WHERE id<100;
ALTER TABLE t RENAME TO t2; ALTER TABLE t2 RENAME TO t;
END
for d in one two; do
  export DB=$d.db
  sql "$(cat replay.sql)" >/dev/null
done
export DB=host.db
is replay '1996|0|0|0' "ATTACH 'one.db' AS o; ATTACH 'two.db' AS w;
SELECT (SELECT count(*) FROM o.t),
(SELECT count(*) FROM (SELECT * FROM o.t_pages EXCEPT SELECT * FROM w.t_pages)),
(SELECT count(*) FROM (SELECT * FROM o.t_extents EXCEPT SELECT * FROM w.t_extents)),
(SELECT count(*) FROM (SELECT * FROM o.t_meta EXCEPT SELECT * FROM w.t_meta));"
if cmp -s one.db two.db; then passed; else failed replay_file; fi

# ATTACH, temp, memory, WAL, read-only.
fresh
is attach '1,2,3
4,5
1,2,3,6|4' "ATTACH 'other.db' AS o; CREATE VIRTUAL TABLE o.t USING vecdb(id integer primary key, v float[2]); $(ins o.t 4) $(ins o.t 5)
$(ids main.t) $(ids o.t)
BEGIN; $(ins t 6) DELETE FROM o.t WHERE id=5; COMMIT;
SELECT (SELECT group_concat(id) FROM main.t), (SELECT group_concat(id) FROM o.t);"
is detach_and_attach '4
4' "ATTACH 'other.db' AS o; SELECT id FROM o.t; DETACH o; ATTACH 'other.db' AS p; SELECT id FROM p.t;"
is temp_table '2|1' "CREATE VIRTUAL TABLE temp.x USING vecdb(id integer primary key, v float[2]); $(ins x 1) $(ins x 2)
BEGIN; DELETE FROM x; ROLLBACK; SELECT count(*), (SELECT id FROM x WHERE v MATCH '[1,0]' AND k=1) FROM x;"
is temp_is_gone '0' "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'x*';"
is wal 'wal
1,2,3,6,7
2,3
delete' "PRAGMA journal_mode=WAL;
$(ins t 7) $(ids t) $(knn t) PRAGMA journal_mode=DELETE;"
is readonly_reads '2,3' ".open file:host.db?mode=ro
.load $VECDB_BUILD/vecdb
$(knn t)"
fails readonly_writes 'readonly' ".open file:host.db?mode=ro
.load $VECDB_BUILD/vecdb
$(ins t 50)"
is readonly_temp '1|2' ".open file:host.db?mode=ro
.load $VECDB_BUILD/vecdb
CREATE VIRTUAL TABLE temp.x USING vecdb(id integer primary key, v float[2]); $(ins x 1)
BEGIN; $(ins x 2) DROP TABLE x; ROLLBACK; $(ins x 2) SELECT min(id), max(id) FROM x; DROP TABLE x;"
is immutable_reads '2,3' ".open file:host.db?immutable=1
.load $VECDB_BUILD/vecdb
$(knn t)"
export DB=small.db
is small_pages '1,2' "PRAGMA page_size=512; $T $(ins t 1) $(ins t 2) $(ids t)"
export DB=:memory:
is in_memory '1,2
2' "$T $(ins t 1) $(ins t 2) BEGIN; DELETE FROM t; ROLLBACK; $(ids t) DELETE FROM t WHERE id=1; $(ids t)"
export DB=host.db

# Shadow tables are protected and their damage is named.
fresh
fails defensive 'may not be modified' ".dbconfig defensive on
DELETE FROM t_pages;"
is defensive_writes '1,2,3,4' ".output /dev/null
.dbconfig defensive on
.output stdout
$(ins t 4) $(ids t)"
damage() { # NAME PART SQL
  fresh
  sql "$3" >/dev/null
  fails "$1" "$2" "$(knn t)"
  fails "$1, write" "$2" "$(ins t 9)"
  is "$1, drop" '0' "DROP TABLE t; SELECT count(*) FROM sqlite_schema;"
}
damage missing_pages 't_pages' "DROP TABLE t_pages;"
damage missing_meta 't_meta' "DROP TABLE t_meta;"
damage missing_generation 't_meta' "DELETE FROM t_meta WHERE key='generation';"
damage text_generation 't_meta' "UPDATE t_meta SET value='x' WHERE key='generation';"
damage missing_root 't_pages' "DELETE FROM t_pages WHERE pgno=1;"
damage missing_all_pages 't_pages' "DELETE FROM t_pages;"
damage short_page 't_pages' "UPDATE t_pages SET data=x'00' WHERE pgno=1;"
damage null_page 't_pages' "UPDATE t_pages SET data=NULL WHERE pgno=1;"
damage changed_page 't_pages' "UPDATE t_pages SET data=zeroblob(4032) WHERE pgno=1;"
damage other_columns 't_pages' "DROP TABLE t_pages; CREATE TABLE t_pages(a,b);"
damage newer_format 'format 99' "UPDATE t_meta SET value=99 WHERE key='format';"
extents() {
  fresh
  sql "WITH RECURSIVE n(n) AS (SELECT 10 UNION ALL SELECT n+1 FROM n WHERE n<6000)
INSERT INTO t(id,v) SELECT n, vec_f32(printf('[%d,%d]', n%17, n%29)) FROM n; INSERT INTO t(t) VALUES('optimize');" >/dev/null
  is "$1, before" 1 "SELECT count(*)>0 FROM t_extents;"
  sql "$2" >/dev/null
  fails "$1" 't_extents' "$(knn t)"
  fails "$1, check" 'extent' "INSERT INTO t(t) VALUES('integrity-check');"
  is "$1, drop" '0' "DROP TABLE t; SELECT count(*) FROM sqlite_schema;"
}
extents missing_extents 'DELETE FROM t_extents;'
extents no_extents_table 'DROP TABLE t_extents;'
extents short_extents 'UPDATE t_extents SET data=substr(data,1,100);'
extents changed_extents 'UPDATE t_extents SET data=zeroblob(length(data));'
fresh
is drop_pages_undone '2,3
2,3' "$(knn t)
BEGIN; DROP TABLE t_pages; ROLLBACK; $(knn t)"

# No space is left, in the middle of a statement: SQLite rolls back at once, and
# the connection goes on with what was committed.
fresh
out=$(sql "PRAGMA cache_size=5; PRAGMA max_page_count=24; BEGIN;
WITH RECURSIVE r(i) AS (SELECT 100 UNION ALL SELECT i+1 FROM r WHERE i<20000)
  INSERT INTO t(id,v) SELECT i, '['||i||',0]' FROM r;
SELECT 'rows', count(*) FROM t; PRAGMA max_page_count=100000;
$(ins t 77) SELECT 'rows', count(*) FROM t;" | grep -o 'disk is full\|rows.*' | tr '\n' ' ')
if [ "$out" = 'disk is full rows|3 rows|4 ' ]; then passed
else failed full_rolls_back "$out"; fi
is full_leaves_it_sound "" "$CHECK"

# The same while COMMIT brings the graph up to date, which may fail without
# failing the COMMIT, but not when all before it is lost: both or none.
fresh
R="WITH RECURSIVE r(i) AS (SELECT 100 UNION ALL SELECT i+1 FROM r WHERE i<"
out=$(sql "CREATE TABLE o(x); CREATE VIRTUAL TABLE g USING vecdb(v float[8]);
BEGIN; ${R}1600) INSERT INTO g(v) SELECT json_array(i,i%7,i%11,i%13,i%17,i%19,1,2) FROM r;
INSERT INTO g(g) VALUES('rebuild'); COMMIT;
BEGIN; ${R}1300) INSERT INTO g(v) SELECT json_array(i,i%7,i%11,i%13,i%17,i%19,1,2) FROM r;
INSERT INTO o SELECT v FROM g; PRAGMA max_page_count=1; COMMIT;
SELECT 'rows', (SELECT count(*) FROM g), (SELECT count(*) FROM o);" |
  grep -o 'disk is full\|rows.*' | tr '\n' ' ')
if [ "$out" = 'disk is full rows|1501|0 ' ]; then passed
else failed full_while_committing "$out"; fi
is full_commit_leaves_it_sound "" "SELECT * FROM vecdb_check('g') WHERE severity='damage';"
finish
