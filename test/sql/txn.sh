#!/bin/sh
# txn.sh -- rollback, savepoints, several tables and files, two connections.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"

fresh() {
  rm -f ./*.vdb ./*.vdb-wal ./*.vdb-shm host.db host.db-* other.db*
  setup "CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb', id integer primary key, v float[2]);
CREATE VIRTUAL TABLE u USING vecdb(file='t.vdb', id integer primary key, v float[2]);
CREATE VIRTUAL TABLE w USING vecdb(file='w.vdb', id integer primary key, v float[2]);
CREATE TABLE o(id INTEGER PRIMARY KEY);
INSERT INTO t(id,v) VALUES(1,'[1,0]'),(2,'[2,0]');
INSERT INTO u(id,v) VALUES(1,'[1,0]');
INSERT INTO w(id,v) VALUES(1,'[1,0]');
INSERT INTO o VALUES(1);"
}
IDS="SELECT (SELECT group_concat(id) FROM t), (SELECT group_concat(id) FROM u), (SELECT group_concat(id) FROM w), (SELECT group_concat(id) FROM o);"
ins() { echo "INSERT INTO $1(id,v) VALUES($2,'[$2,0]');"; }

# What a transaction leaves behind, for itself and for the next connection.
# $4: what the second connection sees, if that is not what the first saw.
try() {
  fresh
  is "$1" "$2" "$3
$IDS"
  is "$1, afterwards" "${4-$2}" "$IDS"
}
try commit '1,2,3|1|1|1' "BEGIN; $(ins t 3) COMMIT;"
try rollback '1,2|1|1|1' "BEGIN; $(ins t 3) INSERT INTO o VALUES(3); ROLLBACK;"
try own_writes '1,2,3|1|1|1' "BEGIN; $(ins t 3)" '1,2|1|1|1'
try rollback_delete '1,2|1|1|1' "BEGIN; DELETE FROM t; UPDATE u SET id=9; ROLLBACK;"
try savepoint '1,2,3|1|1|1' "BEGIN; $(ins t 3) SAVEPOINT a; $(ins t 4) ROLLBACK TO a; COMMIT;"
try release '1,2,3,4|1|1|1' "BEGIN; $(ins t 3) SAVEPOINT a; $(ins t 4) RELEASE a; COMMIT;"
try nested '1,2,3,6|1|1|1' "BEGIN; $(ins t 3) SAVEPOINT a; $(ins t 4) SAVEPOINT b; $(ins t 5) ROLLBACK TO a; $(ins t 6) COMMIT;"
try rollback_twice '1,2,5|1|1|1' "SAVEPOINT a; $(ins t 3) ROLLBACK TO a; $(ins t 4) ROLLBACK TO a; $(ins t 5) RELEASE a;"
try savepoint_first '1,2|1|1|1' "BEGIN; SAVEPOINT a; $(ins t 3) ROLLBACK TO a; COMMIT;"
try two_tables '1,2,3|1|1|1' "BEGIN; $(ins t 3) SAVEPOINT a; $(ins u 3) $(ins t 4) ROLLBACK TO a; COMMIT;"
try late_joiner '1,2|1|1|1' "BEGIN; SAVEPOINT a; $(ins t 3) $(ins u 3) ROLLBACK TO a; COMMIT;"
try late_joiner_kept '1,2,3|1|1|1' "BEGIN; $(ins t 3) SAVEPOINT a; SAVEPOINT b; $(ins u 3) RELEASE b; $(ins t 5) ROLLBACK TO a; COMMIT;"
try two_files '1,2,3|1|1,3|1' "BEGIN; $(ins t 3) $(ins w 3) SAVEPOINT a; $(ins t 4) $(ins w 4) ROLLBACK TO a; COMMIT;"
try two_files_late '1,2,3|1|1|1' "BEGIN; $(ins t 3) SAVEPOINT a; $(ins w 4) ROLLBACK TO a; COMMIT;"
try with_ordinary '1,2,3|1|1|1,3' "BEGIN; $(ins t 3) INSERT INTO o VALUES(3); SAVEPOINT a; INSERT INTO o VALUES(4); $(ins t 4) ROLLBACK TO a; COMMIT;"

# A statement that fails in its middle is undone alone.
fresh
out=$(sql "BEGIN; $(ins t 3)
INSERT INTO t(id,v) VALUES(4,'[4,0]'),(3,'[0,0]');
$(ins t 5) COMMIT;
$IDS" | tail -1)
if [ "$out" = '1,2,3,5|1|1|1' ]; then passed; else failed statement_rollback "$out"; fi

# CREATE, DROP and RENAME in transactions.
N="CREATE VIRTUAL TABLE n USING vecdb(file='t.vdb', v float[3]);"
fresh
is rollback_create '0' "BEGIN; $N INSERT INTO n(v) VALUES('[1,2,3]'); ROLLBACK; SELECT count(*) FROM sqlite_schema WHERE name='n';"
is create_after_rollback '0' "$N SELECT count(*) FROM n;"
fresh
is rollback_to_create '1' "BEGIN; $(ins t 3) SAVEPOINT a; $N INSERT INTO n(v) VALUES('[1,2,3]'); ROLLBACK TO a;
CREATE VIRTUAL TABLE n USING vecdb(file='t.vdb', v float[2]); INSERT INTO n(v) VALUES('[1,2]'); COMMIT; SELECT count(*) FROM n;"
fresh
is rollback_to_create_only '' "BEGIN; SAVEPOINT a; $N ROLLBACK TO a; COMMIT;"
is nothing_is_left '0' "$N SELECT count(*) FROM n;"
fresh
is second_file_in_savepoint '0' "BEGIN; CREATE VIRTUAL TABLE a USING vecdb(file='a.vdb', v float[1]); SAVEPOINT s;
CREATE VIRTUAL TABLE b USING vecdb(file='b.vdb', v float[1]); ROLLBACK TO s; COMMIT;
CREATE VIRTUAL TABLE b USING vecdb(file='b.vdb', v float[1]); SELECT count(*) FROM b;"
fresh
is rollback_drop '2' "BEGIN; DROP TABLE t; ROLLBACK; SELECT count(*) FROM t WHERE v MATCH '[0,0]' AND k=9;"
is rollback_drop_after_write '2' "BEGIN; $(ins t 3) DROP TABLE t; ROLLBACK; SELECT count(*) FROM t;"
is rollback_to_drop '3' "BEGIN; $(ins t 3) SAVEPOINT a; DROP TABLE t; ROLLBACK TO a; COMMIT; SELECT count(*) FROM t;"
is commit_drop '0' "BEGIN; DROP TABLE t; COMMIT; CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb', v float[2]); SELECT count(*) FROM t;"
is drop_autocommit '1' "DROP TABLE u; CREATE VIRTUAL TABLE u USING vecdb(file='t.vdb', v float[7]); INSERT INTO u(v) VALUES('[1,2,3,4,5,6,7]'); SELECT count(*) FROM u;"
fresh
is rename '2|2' "ALTER TABLE t RENAME TO t2; SELECT count(*), (SELECT count(*) FROM t2 WHERE v MATCH '[0,0]' AND k=9) FROM t2;"
is rename_stays '2' "SELECT count(*) FROM t2;"
is rename_command '' "INSERT INTO t2(t2) VALUES('flush');"
is rename_rollback '2' "BEGIN; ALTER TABLE t2 RENAME TO t3; ROLLBACK; SELECT count(*) FROM t2;"

# A search that goes on while its own connection writes.
fresh
is insert_from_itself '4' "INSERT INTO t(id,v) SELECT id+10, v FROM t WHERE v MATCH '[0,0]'; SELECT count(*) FROM t;"

# A second connection: sees commits, not what is open.
fresh
is second_connection '1,2|1|1|1
1,2,3|1|1|1' "ATTACH 'host.db' AS again; BEGIN; $IDS COMMIT; $(ins t 3) $IDS"
# Two processes: a writer that waits for the other's lock.
fresh
(sql "BEGIN IMMEDIATE; $(ins t 3)
.shell sleep 0.3
COMMIT;" >/dev/null) &
sleep 0.1
is waits_for_the_lock '1,2,3,4|1|1|1' ".timeout 5000
$(ins t 4) $IDS"
wait

on_files || finish

# Tables in temp and in memory commit in one phase.
fresh
is temp_table '2' "CREATE VIRTUAL TABLE temp.x USING vecdb(file='tmp.vdb', v float[2]); INSERT INTO x(v) VALUES('[1,2]'),('[2,3]');
BEGIN; DELETE FROM x; ROLLBACK; SELECT count(*) FROM x;"
export DB=:memory:
is in_memory_host '2' "CREATE VIRTUAL TABLE x USING vecdb(file='tmp.vdb'); SELECT count(*) FROM x;"
is in_memory_rollback '2|3' "CREATE VIRTUAL TABLE x USING vecdb(file='tmp.vdb'); BEGIN; INSERT INTO x(v) VALUES('[1,2]'); ROLLBACK;
SELECT count(*), (SELECT count(*) FROM x)+1 FROM x;"
export DB=host.db

# The token in the host keeps pace with the file; a host put back is noticed.
fresh
is token '1' "SELECT count(*)=2 AND min(token)>0 FROM vecdb_txn;"
cp host.db old.db
is go_on '' "$(ins t 3)"
cp host.db new.db
cp old.db host.db
is old_host_reads '3' "SELECT count(*) FROM t;"
fails old_host_writes 'adopt' "$(ins t 4)"
is adopt 'adopt' "SELECT vecdb_resolve('t','adopt');"
is adopted '4' "$(ins t 4) SELECT count(*) FROM t;"
cp new.db host.db
fails other_host_writes 'adopt' "$(ins t 5)"
fails both_tokens_are_named 'commit 7 of this database, which is at 5' "$(ins t 5)"
fails nothing_in_doubt 'in doubt' "SELECT vecdb_resolve('t','commit');"

# A copy of the host: whoever writes first goes on, the other is told.
fresh
cp host.db copy.db
is the_first_writes '' "$(ins t 3)"
DB=copy.db
fails the_copy_is_told 'commit 5 of this database, which is at 4' "$(ins t 4)"
rm -f new.db
DB=new.db
is another_host_reads '3' "CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb'); SELECT count(*) FROM t;"
fails another_host_is_told 'up to 5, belong to another SQLite database than this one, which is at 0' "$(ins t 4)"
DB=host.db

# What PRAGMA synchronous means for the .vdb.
fresh
is relaxed_by_itself '3' "PRAGMA synchronous=NORMAL; $(ins t 3) SELECT count(*) FROM t;"
is relaxed_is_settled_by_the_close '3' "SELECT count(*) FROM t;"
F="CREATE VIRTUAL TABLE f USING vecdb(file='f.vdb', v float[1], durability=full);"
is full_wants_full '' "$F INSERT INTO f(v) VALUES('[1]');"
fails full_refuses_normal 'PRAGMA synchronous=FULL' "PRAGMA synchronous=NORMAL; INSERT INTO f(v) VALUES('[1]');"
is full_reads_all_the_same '1' "PRAGMA synchronous=OFF; SELECT count(*) FROM f;"
fails durability_is_a_word 'full or relaxed' "CREATE VIRTUAL TABLE g USING vecdb(file='f.vdb', v float[1], durability=some);"
is relaxed_on_request '1' "CREATE VIRTUAL TABLE g USING vecdb(file='g.vdb', v float[1], durability='relaxed'); INSERT INTO g(v) VALUES('[1]'); SELECT count(*) FROM g;"

# A process that dies with commits that its host could still lose: whoever
# opens the file without the host sees them, but does not write on them.
fresh
sql "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; $(ins t 3)
.shell kill -9 \$PPID" >/dev/null 2>&1
V=$VECDB_BUILD/vecdb
if [ -x "$V" ]; then
  out=$("$V" t.vdb "SELECT count(*) FROM t" "INSERT INTO t(id,v) VALUES(9,'[9,9]')" 2>&1)
  case $out in
    3*"may still lose them"*) passed ;;
    *) failed alone_reads_but_does_not_write "$out" ;;
  esac
fi
is the_host_goes_on '4' "$(ins t 4) SELECT count(*) FROM t;"

# The same, and the host is gone: somebody says what to make of it.
undoable() {
  fresh
  sql "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; $(ins t 3)
.shell kill -9 \$PPID" >/dev/null 2>&1
}
said() {    # NAME PART COMMAND...: the shell on t.vdb says it
  name=$1 part=$2
  shift 2
  out=$("$V" t.vdb "$@" 2>&1)
  case $out in *"$part"*) passed ;; *) failed "$name" "$out" ;; esac
}
if [ -x "$V" ]; then
  undoable
  said resolve_shows 'commits 5 to 5 of a SQLite database may have been lost there' .resolve
  said resolve_keeps 'committed
4' '.resolve commit' "INSERT INTO t(id,v) VALUES(9,'[9,9]')" "SELECT count(*) FROM t"
  is the_host_takes_it '5' "$(ins t 4) SELECT count(*) FROM t;"
  undoable
  said resolve_takes_back 'rolled back
3' '.resolve rollback' "INSERT INTO t(id,v) VALUES(9,'[9,9]')" "SELECT count(*) FROM t"
  fails the_host_is_told 'at commit 4 of this database, which is at 5' "$(ins t 4)"
fi
undoable
DB=newer.db
is another_host_resolves 'rollback|2' "CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb'); SELECT vecdb_resolve('t','rollback'), (SELECT count(*) FROM t);"
DB=host.db

# detach outlives the connection, follows a rename, and is rolled back.
fresh
is detach '' "INSERT INTO t(t) VALUES('detach');"
is detach_is_remembered '2' "ALTER TABLE t RENAME TO t9; DROP TABLE t9; CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb', collection='t9'); SELECT count(*) FROM t;"
is detach_is_for_one_drop '0' "DROP TABLE t; CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb', collection='t9', id integer primary key, v float[2]); SELECT count(*) FROM t;"
fresh
is detach_rolled_back '0' "BEGIN; INSERT INTO t(t) VALUES('detach'); ROLLBACK; DROP TABLE t; CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb', id integer primary key, v float[2]); SELECT count(*) FROM t;"
is detach_drop_rolled_back '1' "INSERT INTO u(u) VALUES('detach'); BEGIN; DROP TABLE u; ROLLBACK; SELECT count(*) FROM vecdb_detached;"
finish
