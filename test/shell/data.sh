#!/bin/sh
# data.sh -- real data through the shell and out again through the stock
# sqlite3: base vectors imported with their labels or metadata, queries
# answered at ten ranks with the distances of the ground truth, which Python
# computes again in integers or float64.
# shellcheck disable=SC1091,SC2154
. "$VECDB_SRC/test/shell/lib.inc"
: "${VECDB_DATA:=$VECDB_SRC/../shared/data}"
PYTHON=/usr/bin/python3

if [ ! -f "$VECDB_DATA/fashion-mnist-784-euclidean/gt.ivecs" ]; then
  echo "skip: no data sets in $VECDB_DATA"
  exit 77
fi
if ! command -v sqlite3 >/dev/null || ! "$PYTHON" -c '' 2>/dev/null; then
  echo 'skip: no sqlite3 or no python3'
  exit 77
fi
# A sanitizer in the library is not in the stock sqlite3.
if [ -n "${VECDB_PRELOAD-}" ]; then
  echo 'skip: the stock sqlite3 cannot load this build'
  exit 77
fi

# bring_in FOLDER FILE TABLE OPTIONS...
bring_in() {
  folder=$VECDB_DATA/$1 file=$2 table=$3; shift 3
  run 0 data.vdb ".import '$folder/$file' $table $(printf "'%s' " "$@")"
  has "$table came in" 'imported' "$out"
}
fashion='fashion-mnist-784-euclidean' sift='sift-photos-100k'
wordnet='wordnet-glosses-lsi-256'
bring_in $fashion base.u8bin fashion --first-id 0 \
  --meta "$VECDB_DATA/$fashion/labels.u8"
bring_in $sift base.u8bin sift --meta "$VECDB_DATA/$sift/meta.tsv"
bring_in $wordnet base.fbin wordnet --metric cosine \
  --meta "$VECDB_DATA/$wordnet/meta.tsv"

run 0 data.vdb "SELECT count(DISTINCT labels), min(c), max(c) FROM
  (SELECT labels, count(*) AS c FROM fashion GROUP BY labels)"
is 'each of the ten labels came in with its 6,000 rows' '10|6000|6000' "$out"
run 0 data.vdb "SELECT count(*), count(DISTINCT source_image) FROM sift"
is 'sift came in with its pictures' '100000|41' "$out"
run 0 data.vdb "SELECT count(*) FROM wordnet WHERE gloss LIKE '%\"%'"
is 'quotes in a gloss are ordinary characters' \
  "$(cut -f7 "$VECDB_DATA/$wordnet/meta.tsv" | tail -n +2 | grep -c '"')" "$out"
run 0 data.vdb .check
is 'the file is sound' 'ok' "$out"

cat >ask.py <<'END'
# ask.py DATA FOLDER TABLE SUFFIX CODE N: SQL for N queries, spread evenly.
import array, struct, sys
data, folder, table, suffix, code, n = sys.argv[1:7]
size = array.array(code).itemsize
with open('%s/%s/query.%s' % (data, folder, suffix), 'rb') as f:
    nq, d = struct.unpack('<II', f.read(8))
    for i in range(int(n)):
        q = i*nq//int(n)
        f.seek(8 + q*d*size)
        print("SELECT %d, id, distance FROM %s WHERE embedding MATCH x'%s' "
              "AND k=10;" % (q, table, f.read(d*size).hex()))
END
cat >judge.py <<'END'
# judge.py DATA FOLDER SUFFIX CODE N < ANSWERS: what is wrong with them.
import array, math, struct, sys
data, folder, suffix, code, n = sys.argv[1:6]
def rows(name):
    f = open('%s/%s/%s.%s' % (data, folder, name, suffix), 'rb')
    d = struct.unpack('<II', f.read(8))[1]
    size = array.array(code).itemsize*d
    def get(i):
        f.seek(8 + i*size)
        return array.array(code, f.read(size))
    return get
def distance(a, b):
    if code == 'B':
        return math.sqrt(sum((x-y)*(x-y) for x, y in zip(a, b)))
    dot = sum(x*y for x, y in zip(a, b))
    return 1 - dot/math.sqrt(sum(x*x for x in a)*sum(y*y for y in b))
base, query = rows('base'), rows('query')
truth = open('%s/%s/gt.ivecs' % (data, folder), 'rb')
k = struct.unpack('<i', truth.read(4))[0]
answers = {}
for line in sys.stdin:
    q, key, dist = line.split('|')
    answers.setdefault(int(q), []).append((int(key), float(dist)))
if len(answers) != int(n): print('%d queries answered' % len(answers))
for q, got in answers.items():
    truth.seek(4*(q*(k+1) + 1))
    want = struct.unpack('<10i', truth.read(40))
    if len(got) != 10: print('query %d has %d rows' % (q, len(got)))
    v = query(q)
    for (key, dist), row in zip(got, want):
        right = distance(v, base(row))
        if abs(dist - right) > 1e-6*max(1, right):
            print('query %d row %d: %r, expected %r' % (q, key, dist, right))
        if key != row and abs(distance(v, base(key)) - right) > 1e-6:
            print('query %d: row %d in place of %d' % (q, key, row))
END

# ask TABLE FOLDER SUFFIX CODE N: through the stock sqlite3
ask() {
  { echo ".load $VECDB_BUILD/vecdb"
    echo "CREATE VIRTUAL TABLE temp.$1 USING vecdb(file='$dir/data.vdb', collection='$1');"
    "$PYTHON" ask.py "$VECDB_DATA" "$2" "$1" "$3" "$4" "$5"
  } | sqlite3 >answers 2>&1
  is "$5 queries of $1 have the distances of the truth" '' \
    "$("$PYTHON" judge.py "$VECDB_DATA" "$2" "$3" "$4" "$5" <answers 2>&1)"
}
ask fashion $fashion u8bin B 200
ask sift $sift u8bin B 50
ask wordnet $wordnet fbin f 20
done_testing
