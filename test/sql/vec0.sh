#!/bin/sh
# vec0.sh -- the module vec0 answers as sqlite-vec does: its sentences, statement
# by statement, its forms, and with VECDB_STRICT_VEC0 its limits.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/python.inc"

cat >vec0.py <<'EOF'
import os, subprocess, sys
from host import connect, sqlite
strict = len(sys.argv) > 2
failed = n = 0
prepare, want, is_strict = [], None, False
for line in open(sys.argv[1]):
    line = line.rstrip('\n')
    if line == 'strict': is_strict = True
    elif line == 'reset': prepare = []
    elif line.startswith('!'): prepare.append(line[1:])
    elif line.startswith('> '): want = line[2:]
    elif want is not None:
        db = connect(':memory:')
        for s in prepare: db.execute(s)
        try:
            db.execute(line).fetchall()
            got = None
        except sqlite.Error as e:
            got = str(e)
        db.close()
        if is_strict and not strict:
            if got is not None:
                print(line, '\n  refused without VECDB_STRICT_VEC0:', got)
                failed += 1
        elif got != want and not ('Only LIMIT' in want
                                  and sqlite.sqlite_version_info < (3, 41)):
            print(line, '\n  expected', want, '\n  found   ', got)
            failed += 1
        n += 1
        want = None
if n < 100: print('only', n, 'statements'); failed += 1
sys.exit(failed > 0)
EOF
ok sentences "$PYTHON" vec0.py "$VECDB_SRC/test/sql/vec0.txt"
ok strict env VECDB_STRICT_VEC0=1 "$PYTHON" vec0.py "$VECDB_SRC/test/sql/vec0.txt" strict

# Codes: of sqlite-vec, but for keys, which say what they are.
codes() {
  sql "CREATE VIRTUAL TABLE c USING vec0(id integer primary key, v float[2], n int, p int partition key, +a int);
INSERT INTO c(id,v,n,p,a) VALUES(1,'[1,2]',1,1,1);
$1" | sed -n 's/.*(\([0-9]*\))$/\1/p'
  rm -f host.db
}
code() { out=$(codes "$3"); if [ "$out" = "$2" ]; then passed; else failed "$1" "$2" "$out"; fi; }
code code_key 19 "INSERT INTO c(id,v,n,p,a) VALUES(1,'[1,2]',1,1,1);"
code code_aux 19 "INSERT INTO c(id,v,n,p,a) VALUES(2,'[1,2]',1,1,'x');"
code code_meta '' "INSERT INTO c(id,v,n,p,a) VALUES(2,'[1,2]','x',1,1);"

# Forms: what works there works here, also what it refuses elsewhere.
C="CREATE VIRTUAL TABLE t USING vec0(movie_id integer primary key, emb float[4] distance_metric=cosine, genre text partition key, year int, rating float, good boolean, name text, +blurb text, chunk_size=64);"
setup "$C
INSERT INTO t(movie_id,emb,genre,year,rating,good,name,blurb) VALUES
 (1,'[1,0,0,0]','a',1990,1.5,1,'one','first'),(2,vec_f32('[0,1,0,0]'),'a',2000,2.5,0,'two','second'),
 (3,x'000000000000000000000000000080bf','b',2010,3.5,1,'three','third'),(4,'[1,1,0,0]','b',2020,4.5,0,'four',NULL);"
is hidden 't,distance,k,ef,recall,exact,filter,mmr_lambda' "SELECT group_concat(name) FROM pragma_table_xinfo('t') WHERE hidden=1;"
is knn '1|0.0
4|0.292893' "SELECT movie_id, round(distance,6) FROM t WHERE emb MATCH '[1,0,0,0]' AND k=2;"
is knn_order '4,1' "SELECT group_concat(movie_id) FROM (SELECT movie_id FROM t WHERE emb MATCH '[1,0,0,0]' AND k=2 ORDER BY distance DESC);"
is knn_partition '4' "SELECT movie_id FROM t WHERE emb MATCH '[1,0,0,0]' AND k=1 AND genre='b';"
is knn_meta '2' "SELECT movie_id FROM t WHERE emb MATCH '[1,0,0,0]' AND k=1 AND year BETWEEN 1995 AND 2005;"
is knn_bool '1' "SELECT movie_id FROM t WHERE emb MATCH '[1,0,0,0]' AND k=1 AND good=1;"
is knn_in '3' "SELECT movie_id FROM t WHERE emb MATCH '[1,0,0,0]' AND k=1 AND name IN ('three','none');"
is knn_rowids '2' "SELECT movie_id FROM t WHERE emb MATCH '[1,0,0,0]' AND k=1 AND movie_id IN (SELECT 2 UNION SELECT 3);"
is aux 'first|1990' "SELECT blurb, year FROM t WHERE movie_id=1;"
is update '1999|x|[0,0,1,0]' "UPDATE t SET year=1999, blurb='x', emb='[0,0,1,0]' WHERE movie_id=1; SELECT year, blurb, vec_to_json(emb,'exact') FROM t WHERE movie_id=1;"
is replace '5' "INSERT OR REPLACE INTO t(movie_id,emb,genre) VALUES(1,'[5,0,0,0]','a'); SELECT vec_length(emb)+1 FROM t WHERE movie_id=1;"
is delete '3' "DELETE FROM t WHERE movie_id=4; SELECT count(*) FROM t;"
is text_key 'a|0.0' "CREATE VIRTUAL TABLE tk USING vec0(id text primary key, v float[2]); INSERT INTO tk VALUES('a','[1,2]'),('b','[3,4]'); SELECT id, distance FROM tk WHERE v MATCH '[1,2]' AND k=1;"
is no_key '1|2' "CREATE VIRTUAL TABLE nk USING vec0(v float[2]); INSERT INTO nk(v) VALUES('[1,2]'),('[3,4]'); SELECT min(rowid), max(rowid) FROM nk;"
is join 'one' "CREATE TABLE m(id INTEGER PRIMARY KEY, title); INSERT INTO m VALUES(1,'one'),(2,'two'); SELECT title FROM t JOIN m ON m.id=t.movie_id WHERE emb MATCH '[1,0,0,0]' AND k=1;"
is int8_bit '1|0.0|2' "CREATE VIRTUAL TABLE ib USING vec0(i int8[4], b bit[8]); INSERT INTO ib(i,b) VALUES(vec_int8('[1,2,3,4]'),vec_bit(x'0f')),(vec_int8('[9,2,3,4]'),vec_bit(x'ff'));
SELECT rowid, distance, (SELECT rowid FROM ib WHERE b MATCH vec_bit(x'fe') AND k=1) FROM ib WHERE i MATCH vec_int8('[1,2,3,4]') AND k=1;"
is command '' "INSERT INTO t(t) VALUES('optimize');"
is indexed_by '1' "CREATE VIRTUAL TABLE ix USING vec0(v float[8] INDEXED BY diskann(neighbor_quantizer=binary, n_neighbors=48), w float[8] INDEXED BY rescore(quantizer=bit)); INSERT INTO ix(v,w) VALUES('[1,2,3,4,5,6,7,8]','[1,2,3,4,5,6,7,8]'); SELECT rowid FROM ix WHERE w MATCH '[1,2,3,4,5,6,7,8]' AND k=1;"
is rename_and_drop '0' "ALTER TABLE t RENAME TO t9; DROP TABLE t9; SELECT count(*) FROM sqlite_schema WHERE name GLOB 't9*';"
finish
