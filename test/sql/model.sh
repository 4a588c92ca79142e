#!/bin/sh
# model.sh -- random transactions on a table stored in its database, beside an
# ordinary table with the same rows: savepoints, DDL, two connections, small
# caches, rollback journal and WAL. After each step both tables hold the same.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/python.inc"

cat >model.py <<'EOF'
import os, random, sys
from host import connect, sqlite

class Model:
    """Two connections; c is the one that acts, and has the transaction."""
    def __init__(self, seed, mode, steps):
        self.rng = random.Random(seed)
        self.log = []
        for end in ('', '-wal', '-shm', '-journal'):
            if os.path.exists('m.db' + end): os.remove('m.db' + end)
        self.dbs = [connect('m.db'), connect('m.db')]
        self.c = self.dbs[0]
        self.c.execute('PRAGMA journal_mode=' + mode)
        self.c.execute('PRAGMA synchronous=OFF')
        for db in self.dbs:
            db.execute("SELECT vecdb_config('cache_bytes', 262144)")
        self.create()
        self.depth = 0
        for i in range(steps):
            self.step()
            self.compare(self.c)
            if not self.c.in_transaction:
                self.compare(self.dbs[self.rng.randrange(2)])
                self.c = self.dbs[self.rng.randrange(2)]
        if self.c.in_transaction: self.run('COMMIT')
        for db in self.dbs:
            self.compare(db)
            n = self.name(db)
            bad = db.execute("SELECT * FROM vecdb_check(?) WHERE "
                             "severity='damage'", (n,)).fetchall()
            if bad: self.fail('damage %r' % bad)
            left = db.execute('SELECT count(*) FROM "%s_extents"' % n)
            db.close()

    def fail(self, what):
        print(what)
        print('\n'.join(self.log[-25:]))
        sys.exit(1)

    def run(self, sql, *args):
        self.log.append(sql)
        try:
            return self.c.execute(sql, args).fetchall()
        except sqlite.Error as e:
            self.fail('%s: %s' % (sql, e))

    def create(self):
        self.run('CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, '
                 'v float[24], s text, merge_rows=300)')
        self.run('CREATE TABLE o(id INTEGER PRIMARY KEY, s TEXT)')

    # The name of the vector table: there is exactly one.
    def name(self, db):
        return db.execute("SELECT name FROM sqlite_schema WHERE sql LIKE "
                          "'CREATE VIRTUAL%'").fetchone()[0]

    def compare(self, db):
        n = self.name(db)
        diff = db.execute('SELECT (SELECT count(*) FROM %s), (SELECT count(*) '
            'FROM o), (SELECT count(*) FROM o LEFT JOIN %s t ON t.id=o.id '
            'WHERE t.s IS NOT o.s)' % (n, n)).fetchone()
        if diff[0] != diff[1] or diff[2]: self.fail('differ: %r' % (diff,))
        if self.rng.random() < 0.2 and diff[0]:
            k = db.execute('SELECT id FROM o ORDER BY id LIMIT 1 OFFSET ?',
                           (self.rng.randrange(diff[0]),)).fetchone()[0]
            row = db.execute('SELECT id, distance FROM %s WHERE v MATCH '
                'vec_f32(?) AND k=1' % n, (self.vector(k),)).fetchone()
            if row != (k, 0.0): self.fail('search for %d: %r' % (k, row))

    def vector(self, i):
        return str([(i * 7919 + j * 104729) % 1009 for j in range(23)] + [i])

    def insert(self):
        n = self.name(self.c)
        lo = self.rng.randrange(4000)
        hi = lo + self.rng.choice([1, 1, 5, 60, 400])
        rows = [i for i in range(lo, hi)]
        have = {r[0] for r in self.run('SELECT id FROM o')}
        for i in rows if hi - lo < 60 else []:
            if i in have: continue
            self.run('INSERT INTO %s(id,v,s) VALUES(?,?,?)' % n, i,
                     self.vector(i), 'r%d' % i)
            self.run('INSERT INTO o VALUES(?,?)', i, 'r%d' % i)
        if hi - lo >= 60:                  # one statement, with a savepoint
            self.run('CREATE TEMP TABLE IF NOT EXISTS x(id, v)')
            self.run('DELETE FROM temp.x')
            self.c.executemany('INSERT INTO temp.x VALUES(?,?)',
                [(i, self.vector(i)) for i in rows if i not in have])
            self.run("INSERT INTO %s(id,v,s) SELECT id, v, 'm' FROM temp.x" % n)
            self.run("INSERT INTO o SELECT id, 'm' FROM temp.x")

    def delete(self):
        lo = self.rng.randrange(4000)
        hi = lo + self.rng.choice([1, 30, 800])
        for t in (self.name(self.c), 'o'):
            self.run('DELETE FROM %s WHERE id BETWEEN ? AND ?' % t, lo, hi)

    def update(self):
        lo = self.rng.randrange(4000)
        for t in (self.name(self.c), 'o'):
            self.run("UPDATE %s SET s='u%d' WHERE id BETWEEN ? AND ?"
                     % (t, lo), lo, lo + 50)

    def fails(self):                       # half way through a statement
        n = self.name(self.c)
        row = self.run('SELECT max(id), min(id) FROM o')[0]
        if row[0] is None: return
        v = self.vector(1)
        try:
            self.c.execute('INSERT INTO %s(id,v,s) VALUES(?,?,1),(?,?,1)' % n,
                           (row[0] + 1, v, row[1], v))
            self.fail('a duplicate key was accepted')
        except sqlite.IntegrityError:
            pass

    def savepoint(self):
        self.run('SAVEPOINT s%d' % self.depth)
        self.depth += 1

    def back(self):
        if self.depth == 0: return
        d = self.rng.randrange(self.depth)
        self.run('ROLLBACK TO s%d' % d)
        self.depth = d + 1

    def release(self):
        if self.depth == 0: return
        self.depth = self.rng.randrange(self.depth)
        self.run('RELEASE s%d' % self.depth)

    def begin(self):
        if not self.c.in_transaction: self.run('BEGIN')

    def end(self):
        if not self.c.in_transaction: return
        self.depth = 0
        self.run(self.rng.choice(['COMMIT', 'COMMIT', 'ROLLBACK']))

    def rename(self):
        n = self.name(self.c)
        self.run('ALTER TABLE %s RENAME TO %s' % (n, 'u' if n == 't' else 't'))

    def recreate(self):
        if self.rng.random() < 0.7: return
        self.run('DROP TABLE ' + self.name(self.c))
        self.run('DROP TABLE o')
        self.create()

    def other_ddl(self):
        if self.run("SELECT 1 FROM sqlite_schema WHERE name='y'"):
            self.run('DROP TABLE y')
        else:
            self.run('CREATE TABLE y(a)')

    def command(self):
        n = self.name(self.c)
        self.run("INSERT INTO %s(%s) VALUES('%s')" % (n, n,
                 self.rng.choice(['optimize', 'flush', 'rebuild'])))

    def vacuum(self):
        if not self.c.in_transaction and self.rng.random() < 0.3:
            self.run('VACUUM')

    def step(self):
        f = self.rng.choices(
            [self.insert, self.delete, self.update, self.fails, self.savepoint,
             self.back, self.release, self.begin, self.end, self.rename,
             self.recreate, self.other_ddl, self.command, self.vacuum],
            [8, 4, 4, 2, 4, 4, 2, 3, 4, 1, 1, 1, 1, 1])[0]
        f()

for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    try:
        Model(seed, ['DELETE', 'WAL'][seed % 2], int(sys.argv[3]))
    except SystemExit:
        print('seed', seed)
        raise
EOF
ok model "$PYTHON" model.py 1 "${VECDB_MODEL_SEEDS:-7}" 120
finish
