#!/bin/sh
# conns.sh -- tables stored in their database, seen by several connections and
# processes: snapshots, BUSY at COMMIT, statements that live long, closing.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/python.inc"

cat >conns.py <<'EOF'
import os, signal, subprocess, sys
from host import connect, sqlite

def expect(what, want, got):
    if want != got:
        print(what, 'expected', want, 'found', got)
        sys.exit(1)

def fails(what, part, db, sql, *args):
    try:
        db.execute(sql, args).fetchall()
    except sqlite.Error as e:
        if part in str(e): return
        expect(what, part, str(e))
    expect(what, 'an error with ' + part, 'none')

IDS = 'SELECT group_concat(id) FROM (SELECT id FROM t ORDER BY id)'
KNN = "SELECT group_concat(id) FROM (SELECT id FROM t WHERE v MATCH '[0,0]' AND k=50)"
def ids(db): return db.execute(IDS).fetchone()[0]
def knn(db): return db.execute(KNN).fetchone()[0]
def ins(db, i): db.execute('INSERT INTO t(id,v) VALUES(?,?)', (i, '[%d,0]' % i))
def fresh(mode):
    for f in os.listdir('.'):
        if f.startswith('c.db'): os.remove(f)
    a = connect('c.db', timeout=0)
    a.execute('PRAGMA journal_mode=' + mode)
    a.execute('CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[2])')
    ins(a, 1)
    return a, connect('c.db', timeout=0)
def damage(db):
    return db.execute("SELECT * FROM vecdb_check('t') WHERE severity='damage'").fetchall()

# Snapshots, and what the other connection has cached.
a, b = fresh('WAL')
expect('first', '1', ids(b))
ins(a, 2)
expect('commit of another', ('1,2', '1,2'), (ids(b), knn(b)))
b.execute('BEGIN')
expect('snapshot begins', '1,2', knn(b))
ins(a, 3)
expect('snapshot stays', ('1,2', '1,2'), (ids(b), knn(b)))
fails('write from an old snapshot', 'locked', b, "INSERT INTO t(id,v) VALUES(9,'[9,0]')")
b.execute('ROLLBACK')
expect('snapshot ended', '1,2,3', knn(b))
ins(b, 4)
ins(a, 5)
expect('in turns', ('1,2,3,4,5', '1,2,3,4,5'), (knn(a), knn(b)))
a.execute('BEGIN'); ins(a, 6); expect('own', '1,2,3,4,5,6', ids(a))
expect('not those of others', '1,2,3,4,5', ids(b))
a.execute('ROLLBACK')
ins(b, 6)                     # the same transaction number as the one undone
expect('another with that number', '1,2,3,4,5,6', knn(a))

# Open searches and scans beside writes of both connections.
rows = a.execute("SELECT id FROM t WHERE v MATCH '[0,0]' AND k=6")
expect('row', (1,), rows.fetchone())
ins(b, 7)
expect('search goes on in its snapshot', [(2,), (3,), (4,), (5,), (6,)], rows.fetchall())
rows = a.execute('SELECT id FROM t ORDER BY id')
rows.fetchone()
ins(a, 8)
expect('scan goes on beside an own write', True, len(rows.fetchall()) >= 6)
rows = a.execute('SELECT id FROM t')
rows.fetchone()
a.execute('CREATE TABLE IF NOT EXISTS other(x)')
ins(a, 9)
rows.fetchall()
expect('schema change under a scan', '1,2,3,4,5,6,7,8,9', ids(a))

# Changes of the schema by another connection.
b.execute('ALTER TABLE t RENAME TO u')
fails('renamed elsewhere', 'no such table: t', a, IDS)
b.execute('ALTER TABLE u RENAME TO t')
expect('renamed back', '1,2,3,4,5,6,7,8,9', knn(a))
b.execute('DROP TABLE t')
b.execute('CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[2])')
ins(b, 77)
expect('dropped and made again elsewhere', ('77', '77'), (ids(a), knn(a)))
ins(a, 78)
expect('no damage', [], damage(b))

# Restoring a copy over an open connection's file.
a, b = fresh('DELETE')
ins(a, 2)
copy = connect('copy.db')
a.backup(copy)
ins(a, 3)
expect('before the restore', '1,2,3', knn(b))
copy.execute("DELETE FROM t WHERE id=2")
copy.execute("INSERT INTO t(id,v) VALUES(30,'[30,0]')")
copy.execute("INSERT INTO t(id,v) VALUES(31,'[31,0]')")
copy.backup(a)
expect('restored', ('1,30,31', '1,30,31'), (ids(a), knn(a)))
expect('restored, seen by another', ('1,30,31', '1,30,31'), (ids(b), knn(b)))
ins(b, 32)
expect('and written', '1,30,31,32', knn(a))
expect('no damage after restore', [], damage(a))
copy.close()

# BUSY at COMMIT in a rollback journal: more writes, savepoints, COMMIT again,
# or ROLLBACK.
for end in ('COMMIT', 'ROLLBACK'):
    a, b = fresh('DELETE')
    a.execute('BEGIN'); ins(a, 2)
    a.execute('SAVEPOINT s')
    ins(a, 3)
    b.execute('BEGIN'); ids(b)
    fails('busy', 'locked', a, 'COMMIT')
    expect('still open', '1,2,3', knn(a))
    ins(a, 4)
    a.execute('DELETE FROM t WHERE id=2')
    fails('busy again', 'locked', a, 'COMMIT')
    a.execute('ROLLBACK TO s')
    expect('undone to s', '1,2', knn(a))
    ins(a, 5)
    fails('busy a third time', 'locked', a, 'COMMIT')
    b.execute('COMMIT')
    a.execute(end)
    want = '1,2,5' if end == 'COMMIT' else '1'
    expect(end, (want,)*4, (ids(a), knn(a), ids(b), knn(b)))
    ins(b, 6)
    expect('after ' + end, want + ',6', knn(a))
    expect('no damage after ' + end, [], damage(a))

# A constraint of another table fails the whole transaction after xSync.
a, b = fresh('DELETE')
a.execute('PRAGMA foreign_keys=ON')
a.execute('CREATE TABLE p(id INTEGER PRIMARY KEY)')
a.execute('CREATE TABLE q(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)')
a.execute('BEGIN'); ins(a, 2); a.execute('INSERT INTO q VALUES(5)')
fails('deferred key', 'FOREIGN KEY', a, 'COMMIT')
a.execute('INSERT INTO p VALUES(5)'); ins(a, 3); a.execute('COMMIT')
expect('after the key was there', ('1,2,3', '1,2,3'), (knn(a), knn(b)))

# Connections close whatever happened before.
for mode in ('DELETE', 'WAL'):
    a, b = fresh(mode)
    a.execute('BEGIN'); ins(a, 2); a.execute('SAVEPOINT s'); ins(a, 3)
    fails('bad vector', 'dimension', a, "INSERT INTO t(id,v) VALUES(4,'[1]')")
    fails('bad query', 'dimension', a, "SELECT * FROM t WHERE v MATCH '[1]' AND k=1")
    a.close()
    expect('closed inside a transaction', '1', knn(b))
    b.execute('BEGIN'); b.execute('DROP TABLE t'); b.close()
    a = connect('c.db')
    expect('closed after DROP', '1', knn(a))
    a.execute('DROP TABLE t_pages')
    fails('damaged', 't_pages', a, IDS)
    fails('damaged, write', 't_pages', a, "INSERT INTO t(id,v) VALUES(4,'[1,2]')")
    a.execute('VACUUM')
    a.close()

# A process is killed inside of transactions and while it commits.
child = '''
import sys
from host import connect
db = connect('c.db', timeout=60)
i = int(sys.argv[1])
while True:
    db.execute('BEGIN')
    for k in range(5):
        db.execute('INSERT INTO t(id,v) VALUES(?,?)', (i, '[%d,0]' % i))
        db.execute('INSERT INTO o VALUES(?)', (i,))
        i += 1
    db.execute('COMMIT')
    print('done', flush=True)
'''
for mode in ('DELETE', 'WAL'):
    a, b = fresh(mode)
    a.execute('CREATE TABLE o(id INTEGER PRIMARY KEY)')
    a.execute('INSERT INTO o VALUES(1)')
    for n in range(4):
        p = subprocess.Popen([sys.executable, '-c', child, str(1000*(n + 1))],
                             stdout=subprocess.PIPE)
        for k in range(3 + 2*n): p.stdout.readline()
        p.send_signal(signal.SIGKILL)
        p.wait()
        expect('killed', 0, b.execute('SELECT count(*) FROM (SELECT id FROM t EXCEPT SELECT id FROM o)').fetchone()[0])
        expect('killed, all', b.execute('SELECT count(*) FROM o').fetchone(), b.execute('SELECT count(*) FROM t').fetchone())
    expect('no damage after kills', [], damage(a))
EOF
ok conns "$PYTHON" conns.py

# Who deletes what a search without k is about to give him gets every other row
# all the same. (Python is a row ahead.)
cat >gone.py <<'EOF'
from host import connect
db = connect('gone.db')
db.execute('CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[2])')
db.execute('BEGIN')
db.executemany('INSERT INTO t VALUES(?,?)',
               ((i, '[%d,0]' % (i*7 % 1000)) for i in range(1000)))
db.execute('COMMIT')
db.execute("INSERT INTO t(t) VALUES('rebuild')")
for hint, tx in ((h, x) for h in ('', ' AND ef=20') for x in (0, 1)):
    want = {i for i, in db.execute('SELECT id FROM t')}
    seen, gone = [], set()
    if tx: db.execute('BEGIN')
    for i, in db.execute("SELECT id FROM t WHERE v MATCH '[0,0]'" + hint):
        seen.append(i)
        if len(seen) in (10, 100, 300):
            other = sorted(want - set(seen) - gone, key=lambda j: j*7 % 1000)[5]
            gone |= {i, other}
            db.execute('DELETE FROM t WHERE id IN (?,?)', (i, other))
    if tx: db.execute('COMMIT')
    assert len(seen) == len(set(seen)), hint
    assert set(seen) >= want - gone, (hint, tx, len(want), len(seen))
EOF
ok rows_gone_while_read "$PYTHON" gone.py

# Two writers at once, by processes; every row arrives once.
rm -f host.db*
setup "PRAGMA journal_mode=WAL; CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[2]);"
writer() {
  for i in 1 2 3 4 5 6 7 8 9 10; do
    echo ".timeout 60000
INSERT INTO t(id,v) VALUES($1+$i,'[$i,0]');"
  done
}
(sql "$(writer 100)" >w1.out) & w1=$!
(sql "$(writer 200)" >w2.out) & w2=$!
sql "$(writer 300)" >w3.out
wait $w1 $w2
is two_writers '30|30' "SELECT count(*), (SELECT count(*) FROM t WHERE v MATCH '[0,0]' AND k=99) FROM t; SELECT * FROM vecdb_check('t') WHERE severity='damage';"
finish
