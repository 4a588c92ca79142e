#!/bin/sh
# data.sh -- 200 queries of real data sets through SQL against their ground
# truth: the distances of the ten nearest, which must agree although ids may
# differ where distances are equal.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
: "${VECDB_DATA:=$VECDB_SRC/../shared/data}"
PYTHON=/usr/bin/python3

if [ ! -f "$VECDB_DATA/emoji2vec-300/gt.ivecs" ]; then
  echo "skip: no data sets in $VECDB_DATA"
  exit 77
fi
# A sanitizer makes the large sets slow, and finds nothing there that the small
# one does not show; what Python itself leaks is not ours.
if [ -n "${VECDB_PRELOAD-}" ]; then
  SETS=1
  ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0"
  export ASAN_OPTIONS
else
  SETS=3
fi
if ! $PYTHON -c 'import sqlite3; sqlite3.connect(":memory:").enable_load_extension(True)' 2>/dev/null; then
  echo "skip: $PYTHON cannot load SQLite extensions"
  exit 77
fi

cat >run.py <<'EOF'
import sqlite3, struct, sys, array
data, ext = sys.argv[1:3]
n_set = int(sys.argv[3])

def read_bin(path, code):
    raw = open(path, 'rb').read()
    n, d = struct.unpack_from('<II', raw)
    size = d*array.array(code).itemsize
    return n, d, [raw[8+i*size:8+(i+1)*size] for i in range(n)]

def read_ivecs(path):
    a = array.array('i')
    a.frombytes(open(path, 'rb').read())
    step = a[0] + 1
    return [a[i*step+1:(i+1)*step] for i in range(len(a)//step)]

# folder, base, element code, SQL type, metric, function of the distance
SETS = [
  ('emoji2vec-300', 'fbin', 'f', 'float', 'cosine', 100),
  ('wordnet-glosses-lsi-256', 'fbin', 'f', 'float', 'cosine', 50),
  ('sift-photos-100k', 'u8bin', 'B', 'uint8', 'l2', 50),
]
bad = 0
for folder, suffix, code, type_, metric, n_query in SETS[:n_set]:
    n, d, base = read_bin('%s/%s/base.%s' % (data, folder, suffix), code)
    _, _, query = read_bin('%s/%s/query.%s' % (data, folder, suffix), code)
    truth = read_ivecs('%s/%s/gt.ivecs' % (data, folder))
    db = sqlite3.connect('data.db')
    db.enable_load_extension(True)
    db.load_extension(ext)
    name = folder.split('-')[0]
    db.execute("CREATE VIRTUAL TABLE %s USING vecdb(file='%s.vdb', "
               "v %s[%d] distance_metric=%s, half int)"
               % (name, name, type_, d, metric))
    with db:
        db.executemany('INSERT INTO %s(rowid, v, half) VALUES(?,?,?)' % name,
                       ((i, v, i % 2) for i, v in enumerate(base)))
    make = 'vec_f32' if code == 'f' else 'vec_uint8'
    fn = 'vec_distance_' + metric
    for q in range(n_query):
        got = db.execute('SELECT rowid, distance FROM %s WHERE v MATCH ? AND '
                         'k = 10' % name, (query[q],)).fetchall()
        want = [db.execute('SELECT %s(%s(?), %s(?))' % (fn, make, make),
                           (query[q], base[t])).fetchone()[0]
                for t in truth[q][:10]]
        if len(got) != 10 or any(abs(g[1] - w) > 1e-5*max(1, abs(w))
                                 for g, w in zip(got, want)):
            bad += 1
            print(folder, q, got, list(zip(truth[q][:10], want)))
    # A filter that halves the rows never gives fewer than k.
    for q in range(10):
        got = db.execute('SELECT half FROM %s WHERE v MATCH ? AND k = 50 AND '
                         'half = 1' % name, (query[q],)).fetchall()
        if got != [(1,)]*50:
            bad += 1
            print(folder, q, 'filtered', len(got))
    db.close()
sys.exit(bad != 0)
EOF
ok ground_truth env LD_PRELOAD="${VECDB_PRELOAD-}" \
  $PYTHON run.py "$VECDB_DATA" "$VECDB_BUILD/vecdb" "$SETS"
finish
