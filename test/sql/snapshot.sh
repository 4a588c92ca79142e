#!/bin/sh
# snapshot.sh -- a reader of the host sees the vectors of its own snapshot.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
PYTHON=/usr/bin/python3
if ! $PYTHON -c 'import sqlite3; sqlite3.connect(":memory:").enable_load_extension(True)' 2>/dev/null; then
  echo "skip: $PYTHON cannot load SQLite extensions"
  exit 77
fi
[ -z "${VECDB_PRELOAD-}" ] || export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0"

cat >run.py <<'EOF'
import sqlite3, sys
def connect():
    db = sqlite3.connect('host.db', isolation_level=None)
    db.enable_load_extension(True)
    db.load_extension(sys.argv[1])
    return db
def counts(db):
    return db.execute("SELECT (SELECT count(*) FROM o), (SELECT count(*) FROM "
        "t), (SELECT count(*) FROM t WHERE v MATCH '[0,0]' AND k=10)").fetchone()
def insert(db, i):
    db.execute('BEGIN')
    db.execute("INSERT INTO t(id,v) VALUES(?,'[1,1]')", (i,))
    db.execute('INSERT INTO o VALUES(?)', (i,))
    db.execute('COMMIT')
def expect(what, want, got):
    if want != got:
        print(what, 'expected', want, 'found', got)
        sys.exit(1)

a = connect()
a.execute('PRAGMA journal_mode=WAL')
a.execute("CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb', id integer "
          "primary key, v float[2])")
a.execute('CREATE TABLE o(id INTEGER PRIMARY KEY)')
insert(a, 1)
b = connect()
a.execute('BEGIN')
expect('first', (1, 1, 1), counts(a))
b.execute('BEGIN')
b.execute("INSERT INTO t(id,v) VALUES(2,'[1,1]')")
expect('own writes', (1, 2, 2), counts(b))
expect('not those of others', (1, 1, 1), counts(a))
b.execute('INSERT INTO o VALUES(2)')
b.execute('COMMIT')
expect('committed', (2, 2, 2), counts(b))
expect('snapshot', (1, 1, 1), counts(a))
insert(b, 3)
expect('snapshot, two commits later', (1, 1, 1), counts(a))
try:
    a.execute("INSERT INTO t(id,v) VALUES(9,'[1,1]')")
    expect('write from an old snapshot', 'an error', 'none')
except sqlite3.OperationalError as e:
    expect('write from an old snapshot', 'database is locked', str(e))
a.execute('ROLLBACK')
expect('new snapshot', (3, 3, 3), counts(a))
insert(a, 4)
expect('after', (4, 4, 4), counts(b))

# COMMIT that finds a reader says busy; then more writes, and COMMIT again.
a.close()
b.close()
a = connect()
a.execute('PRAGMA journal_mode=DELETE')
b = connect()
a.execute('PRAGMA busy_timeout=0')
for give_up in (False, True):
    n = counts(a)[0]
    b.execute('BEGIN')
    expect('reader', (n, n, n), counts(b))
    a.execute('BEGIN')
    a.execute("INSERT INTO t(id,v) VALUES(?,'[1,1]')", (10 + n,))
    a.execute('INSERT INTO o VALUES(?)', (10 + n,))
    try:
        a.execute('COMMIT')
        expect('commit beside a reader', 'an error', 'none')
    except sqlite3.OperationalError as e:
        expect('commit beside a reader', 'database is locked', str(e))
    a.execute("INSERT INTO t(id,v) VALUES(?,'[1,1]')", (20 + n,))
    a.execute('INSERT INTO o VALUES(?)', (20 + n,))
    expect('inside', (n + 2, n + 2, n + 2), counts(a))
    expect('reader still', (n, n, n), counts(b))
    b.execute('COMMIT')
    a.execute('ROLLBACK' if give_up else 'COMMIT')
    if not give_up:
        n += 2
    expect('writer after', (n, n, n), counts(a))
    expect('reader after', (n, n, n), counts(b))
    c = connect()
    expect('third', (n, n, n), counts(c))
    c.close()
a.execute('DELETE FROM t WHERE id>4')
a.execute('DELETE FROM o WHERE id>4')
expect('back to four', (4, 4, 4), counts(b))
a.execute('PRAGMA journal_mode=WAL')

# A search stays where it began while its connection and others write.
rows = a.execute("SELECT id FROM t WHERE v MATCH '[0,0]'")
seen = [rows.fetchone()[0]]
insert(b, 5)
seen += [r[0] for r in rows]
expect('open search', [1, 2, 3, 4], seen[:4])
rows = a.execute('SELECT id FROM t')
rows.fetchone()
insert(a, 6)
expect('open scan and own write', True, len(rows.fetchall()) >= 4)
rows = a.execute("SELECT id FROM t WHERE v MATCH '[0,0]' AND k=4")
rows.fetchone()
a.execute('BEGIN')
a.execute('DELETE FROM t WHERE id=1')
a.execute('ROLLBACK')
try:
    rows.fetchall()
except sqlite3.OperationalError as e:
    pass
expect('after a rollback under an open search', (6, 6, 6), counts(a))
EOF
ok snapshots env LD_PRELOAD="${VECDB_PRELOAD-}" $PYTHON run.py "$VECDB_BUILD/vecdb"
finish
