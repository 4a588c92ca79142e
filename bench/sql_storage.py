#!/usr/bin/python3
"""sql_storage.py -- the same searches on a table in its database and in a file.

  sql_storage.py BUILD BASE.u8bin QUERIES.u8bin [ROWS]

Imports BASE as float32 in one transaction, builds a graph, and searches for
the queries one by one, cold (a new connection) and warm, k 10, turn by turn in
both storages, so that what else the machine does falls on both alike. Times
are processor seconds of this process. Prints JSON.
"""
import array, json, os, resource, sqlite3, sys, tempfile, time

def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime

def read(path):
    with open(path, 'rb') as f:
        n, d = array.array('I', f.read(8))
        return n, d, f.read(n*d)

def floats(data, d, i):
    return array.array('f', list(data[i*d:(i + 1)*d])).tobytes()

def connect(build, path):
    db = sqlite3.connect(path, isolation_level=None, cached_statements=8)
    db.enable_load_extension(True)
    db.load_extension(os.path.join(build, 'vecdb'))
    return db

def timed(out, key, fn):
    wall, at = time.time(), cpu()
    result = fn()
    out[key] = round(cpu() - at, 3)
    out[key + '_wall'] = round(time.time() - wall, 3)
    return result

SEARCH = 'SELECT id, distance FROM t WHERE v MATCH ? AND k=10'

def load(db, n, d, data):
    db.execute('BEGIN')
    db.executemany('INSERT INTO t(id,v) VALUES(?,?)',
                   ((i, floats(data, d, i)) for i in range(n)))
    db.execute('COMMIT')

def main():
    build, base, queries = sys.argv[1:4]
    n, d, data = read(base)
    if len(sys.argv) > 4: n = min(n, int(sys.argv[4]))
    nq, _, qdata = read(queries)
    query = [floats(qdata, d, i) for i in range(min(nq, 1000))]
    out = {'rows': n, 'dims': d, 'sqlite': sqlite3.sqlite_version}
    with tempfile.TemporaryDirectory(dir=os.environ.get('TMPDIR')) as folder:
        dbs = {}
        for mode, arg in (('file', "file='t.vdb', "), ('database', '')):
            r = out[mode] = {}
            path = os.path.join(folder, mode + '.db')
            db = connect(build, path)
            db.execute('PRAGMA journal_mode=WAL')
            db.execute('CREATE VIRTUAL TABLE t USING vecdb(%sid integer '
                       'primary key, v float[%d])' % (arg, d))
            timed(r, 'import', lambda: load(db, n, d, data))
            timed(r, 'scan_cold', lambda: db.execute(SEARCH + ' AND exact=1',
                  (query[0],)).fetchall())
            timed(r, 'scan_warm', lambda: [db.execute(SEARCH + ' AND exact=1',
                  (q,)).fetchall() for q in query[:5]])
            timed(r, 'optimize', lambda: db.execute(
                  "INSERT INTO t(t) VALUES('optimize')"))
            db.close()
            db = dbs[mode] = connect(build, path)
            timed(r, 'first_search', lambda: db.execute(SEARCH,
                  (query[0],)).fetchall())
            r['bytes'] = sum(os.path.getsize(os.path.join(folder, f))
                             for f in os.listdir(folder)
                             if f.startswith(mode) or (mode == 'file'
                                                       and f[0] == 't'))
        rows = {}
        for turn in range(6):
            for mode, db in dbs.items():
                r = {}
                rows[mode] = timed(r, 'x', lambda: [db.execute(SEARCH, (q,))
                                   .fetchall() for q in query])
                if turn: out[mode].setdefault('graph_us', []).append(
                    round(1e6*r['x']/len(query), 1))
        out['same_rows'] = rows['file'] == rows['database']
        out['qps_ratio'] = round(sum(out['file']['graph_us'])
                                 / sum(out['database']['graph_us']), 3)
        for db in dbs.values(): db.close()
    print(json.dumps(out, indent=1))

main()
