#!/bin/sh
# sqlite_vec.sh -- tables that sqlite-vec made: recognised, never misread, and
# converted whole. The tables of sqlite_vec.sql were made by sqlite-vec 0.1.9.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"

fresh() {
  rm -f ./*.db ./*.db-*
  "$SQLITE3" -batch host.db <"$VECDB_SRC/test/sql/sqlite_vec.sql" >/dev/null 2>&1
  [ -z "${1-}" ] || "$SQLITE3" -batch host.db "$1"
}
SHADOW="SELECT count(*) FROM sqlite_schema WHERE type='table' AND name GLOB '*_*' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '*_meta' AND name NOT GLOB '*_pages' AND name NOT GLOB '*_extents';"
ROWS="SELECT id, vec_to_json(v), vec_to_json(vec_int8(w)), hex(b), lang, part, n, f, ok, s, s2, note, num, hex(bl), ai FROM every ORDER BY id;"
WANT="WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM i WHERE i<20)
SELECT i, vec_to_json(vec_f32(printf('[%d,2,3,4]', i))), printf('[%d,%d,%d,%d,%d,%d,%d,%d]', i,i,i,i,i,i,i,i),
  printf('%02XFF', i), iif(i%2,'de','en'), i%2, -i*10, i/2.0, i%2,
  iif(i%3, 'short'||i, 'a rather long text value '||i), substr('xxxxxxxxxxxxxxx',1,i%15), 'note'||i, i*1.5,
  printf('%02X%02X', i, i), i FROM i WHERE i NOT IN (3,7);"

# Refused, naming the remedy; nothing is written.
fresh
before=$(cksum <host.db)
for t in every '"text key"' plain; do
  fails "read $t" "was created by sqlite-vec; run SELECT vecdb_convert(" "SELECT count(*) FROM $t;"
  fails "write $t" "was created by sqlite-vec" "INSERT INTO $t(v) VALUES('[1,2]');"
done
if [ "$before" = "$(cksum <host.db)" ]; then passed; else failed untouched; fi

# Converted, one by one, inside and outside of a transaction.
is convert 'every' "SELECT vecdb_convert('every');"
same rows "$ROWS" "$WANT"
is search '5|1.0
4|0.0' "SELECT id, distance FROM every WHERE v MATCH '[4,2,3,4]' AND k=2 AND lang IN ('de','en') ORDER BY distance DESC, id DESC;"
is check '' "SELECT * FROM vecdb_check('every') WHERE severity='damage';"
is convert_text_key 'a'"'"'b|[5,6]
x|[1,2]' "BEGIN; SELECT 1 WHERE vecdb_convert('main.text key') IS NULL; COMMIT; SELECT name, vec_to_json(v,'exact') FROM \"text key\" ORDER BY name;"
is convert_plain '5|[1,2]
9|[3,4]' "SELECT 1 WHERE vecdb_convert('plain') IS NULL; SELECT rowid, vec_to_json(v,'exact') FROM plain;"
is old_tables_are_gone '0' "$SHADOW"
is usable '10' "INSERT INTO plain(v) VALUES('[1,1]'); SELECT max(rowid) FROM plain;"
fails twice 'was not created by sqlite-vec' "SELECT vecdb_convert('plain');"
fails unknown 'was not created by sqlite-vec' "SELECT vecdb_convert('nosuch');"
fails in_a_view 'unsafe use' "CREATE VIEW cv AS SELECT vecdb_convert('plain'); SELECT * FROM cv;"

# Undone with its transaction.
fresh
is rollback 'every
18' "BEGIN; SELECT vecdb_convert('every'); SELECT count(*) FROM every; ROLLBACK;"
fails rolled_back 'was created by sqlite-vec' "SELECT count(*) FROM every;"
is converts_later '18' "SELECT 1 WHERE vecdb_convert('every') IS NULL; SELECT count(*) FROM every;"
export DB=:memory:
is attached '2' "ATTACH 'host.db' AS a; SELECT 1 WHERE vecdb_convert('a.plain') IS NULL; SELECT count(*) FROM a.plain;"
export DB=host.db

# Views of the table go on.
fresh "CREATE VIEW vw AS SELECT id FROM every WHERE n<-190;"
is view '20' "SELECT 1 WHERE vecdb_convert('every') IS NULL; SELECT * FROM vw;"

# DROP drops what sqlite-vec had.
fresh
is drop '0' "DROP TABLE every; DROP TABLE plain; DROP TABLE \"text key\"; $SHADOW"

# Damaged tables are not half converted.
damaged() {
  fresh "$2"
  fails "$1" "$3" "SELECT vecdb_convert('every');"
  fails "$1, left alone" 'was created by sqlite-vec' "SELECT count(*) FROM every;"
}
damaged short_vectors "UPDATE every_vector_chunks00 SET vectors=substr(vectors,1,20);" 'too short'
damaged no_vectors "DELETE FROM every_vector_chunks01;" 'missing'
damaged no_table "DROP TABLE every_vector_chunks01;" 'every_vector_chunks01'
damaged short_rowids "UPDATE every_chunks SET rowids=x'00';" 'do not fit'
damaged wrong_size "UPDATE every_chunks SET size=1000000000;" 'do not fit'
damaged long_text "DELETE FROM every_metadatatext03;" 'long text'
damaged same_rowid "UPDATE every_chunks SET rowids=zeroblob(64), validity=x'ff';" 'UNIQUE constraint failed'

# Fresh tables of the real thing, where it can be had.
PYTHON=${VECDB_VENV-$VECDB_BUILD/venv}/bin/python
if $PYTHON -c 'import apsw, sqlite_vec' 2>/dev/null; then
  rm -f ./*.db
  ok make "$PYTHON" -c "
import apsw, sqlite_vec
db = apsw.Connection('host.db'); db.enable_load_extension(True)
db.load_extension(sqlite_vec.loadable_path())
db.execute('create virtual table big using vec0(id integer primary key, v float[8] distance_metric=cosine, n int, s text)')
with db:
    for i in range(3000):
        db.execute('insert into big values(?,?,?,?)', (i, str([(i*j) % 101 + 1 for j in range(1,9)]), i % 7, 'text %d of some length' % i))
    db.execute('delete from big where id % 5 = 0')
want = db.execute('''select id from big where v match '[1,2,3,4,5,6,7,8]' and k=20 and n=3''').fetchall()
open('want', 'w').write(','.join(str(sorted(r[0] for r in want))[1:-1].split(', ')))
"
  is real_search "$(cat want 2>/dev/null)" "SELECT 1 WHERE vecdb_convert('big') IS NULL;
SELECT group_concat(id) FROM (SELECT id FROM big WHERE v MATCH '[1,2,3,4,5,6,7,8]' AND k=20 AND n=3 ORDER BY id);"
  is real_rows '2400|2400' "SELECT count(*), sum(s='text '||id||' of some length' AND n=id%7) FROM big;"
  ok beside_sqlite_vec "$PYTHON" -c "
import apsw, os, sqlite_vec
db = apsw.Connection(':memory:'); db.enable_load_extension(True)
db.load_extension(sqlite_vec.loadable_path())
db.load_extension(os.environ['VECDB_BUILD'] + '/vecdb')
db.execute('create virtual table x using vec0(v float[2])')
assert db.execute('select count(*) from sqlite_schema where name=?', ('x_chunks',)).fetchone() == (1,)
db.execute('create virtual table y using vecdb(v float[2])')
try: db.execute('select vecdb_convert(?)', ('x',))
except apsw.SQLError as e: assert 'vecdb alone' in str(e), e
else: raise SystemExit('converted beside sqlite-vec')
"
else
  echo "skip: no sqlite-vec; tools/test-venv BUILD installs it"
fi
finish
