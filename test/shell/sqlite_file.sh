#!/bin/sh
# sqlite_file.sh -- what moves rows in and out works on a SQLite database as it
# does on a .vdb: the same files give the same rows, and the same files again.
# shellcheck disable=SC1091,SC2154
. "$VECDB_SRC/test/shell/lib.inc"

run 0 :memory: "ATTACH 'h.db' AS h; CREATE TABLE h.o(a INTEGER PRIMARY KEY, b)"
is 'a SQLite database' 'SQLite format 3' "$(head -c 15 h.db)"
rows() { "$V" h.db "SELECT id, vec_to_json(v,'exact') FROM $1" 2>&1; }

# ---- in, and out again ---------------------------------------------------------
{ u32 3 2; f32 1 2 3 4 0.5 0; } >a.fbin
{ u32 2; f32 1 2; u32 2; f32 3 4; } >a.fvecs
{ u32 3; u8 1 2 255; u32 3; u8 0 0 7; } >a.bvecs
{ u32 2; u32 7 9; } >a.ivecs
{ u32 2 3; u8 1 2 3 4 5 255; } >a.u8bin
cp a.u8bin a.i8bin
{ u32 2 3; u32 7 9 0 4294967295 5 6; } >a.ibin
{ printf '\223NUMPY\001\000\166\000'
  printf '%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
  f32 1 2 3 4; } >a.npy
{ printf '\223NUMPY\001\000\166\000'
  printf '%-117s\n' "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }"
  u32 $((0x40003c00)); } >half.npy
for f in fbin fvecs bvecs ivecs u8bin i8bin ibin npy; do
  run 0 h.db ".import a.$f $f --column v"
  has "$f goes in" "into \"$f\"" "$out"
  run 0 x.vdb ".import a.$f $f --column v"
  is "$f: the rows a .vdb has" "$("$V" x.vdb "SELECT id, vec_to_json(v,'exact') FROM $f")" "$(rows $f)"
  is "$f: the columns a .vdb has" "$("$V" x.vdb ".schema $f")" "$("$V" h.db "SELECT 'CREATE VIRTUAL TABLE \"$f\" USING vecdb('||value||');' FROM vecdb_stats('$f') WHERE key='schema'")"
done
is 'fbin' '1|[1,2]
2|[3,4]
3|[0.5,0]' "$(rows fbin)"
run 0 h.db ".import half.npy half --column v" "SELECT vec_to_json(v,'exact') FROM half"
has 'float16' '[1,2]' "$out"
run 0 h.db "CREATE VIRTUAL TABLE wide USING vecdb(id integer primary key, v float[3])" ".import a.u8bin wide"
is 'bytes into a float column' '1|[1,2,3]
2|[4,5,255]' "$(rows wide)"
run 0 h.db ".import a.u8bin part --column v --skip 1 --limit 1 --first-id 7"
is 'skip, limit and first key' '7|[4,5,255]' "$(rows part)"

printf 'id\tname\tsize\tscore\n10\tan "odd" one\t5\t0.1\n20\t\t6\t2\n30\tlast\t7\t-1e300\n' >m.tsv
run 0 h.db ".import a.fbin m --meta m.tsv --column v" "SELECT id, vec_to_json(v,'exact'), name, size, score FROM m"
has 'a vector file with its metadata' '10|[1,2]|an "odd" one|5|0.1
20|[3,4]||6|2.0
30|[0.5,0]|last|7|-1.0e+300' "$out"
printf 'id,size,name\n10,50,"a, b"\n30,70,"say ""hi"""\n' >u.csv
run 0 h.db ".import u.csv m" "SELECT id, name, size FROM m"
has 'rows without vectors update' 'updated 2 rows of "m"' "$out"
has 'update by key' '10|a, b|50
20||6
30|say "hi"|70' "$out"
printf '{"id":"a","v":[1,2],"t":"x"}\n{"id":"b","v":[3,4],"t":null}\n' >j.jsonl
run 0 h.db ".import j.jsonl j" "SELECT id, vec_to_json(v,'exact'), t FROM j"
has 'jsonl, with text keys' 'a|[1,2]|x
b|[3,4]|' "$out"

same() { is "$1" "$(od -An -tx1 "$2")" "$(od -An -tx1 "$3")"; }
for f in fbin fvecs bvecs ivecs u8bin i8bin ibin npy; do
  run 0 h.db ".export $f out.$f"
  has "$f goes out" 'exported' "$out"
  run 0 x.vdb ".export $f vdb.$f"
  same "$f: the bytes a .vdb gives" vdb.$f out.$f
  if [ $f != npy ]; then same "$f: the bytes that went in" a.$f out.$f; fi
done
run 0 x.vdb ".import a.fbin m --meta m.tsv --column v" ".import u.csv m"
for f in csv tsv jsonl; do
  run 0 h.db ".export m out.$f" ".import out.$f back_$f" ".export back_$f again.$f"
  run 0 x.vdb ".export m vdb.$f"
  same "$f: the text a .vdb gives" vdb.$f out.$f
  same "$f: a round trip" out.$f again.$f
done
run 1 h.db ".export fbin no.ivecs"
has 'halves are no integers' 'has elements that are no 32-bit integers' "$out"
run 1 h.db ".export o no.csv"
has 'SQL is for ordinary tables' '"o" is no table of vectors' "$out"
run 1 h.db ".export nosuch no.csv"
has 'a table that is not there' 'no table "nosuch"' "$out"
run 0 h.db BEGIN "DELETE FROM fvecs WHERE id=1" ".export fvecs part.fvecs" ROLLBACK
is 'inside a transaction its rows go out' 12 "$(wc -c <part.fvecs)"

# ---- .dump ---------------------------------------------------------------------
run 0 :memory: "ATTACH 'd.db' AS d; CREATE TABLE d.none(x)"
cat >d.sql <<'END'
CREATE TABLE o(a INTEGER PRIMARY KEY AUTOINCREMENT, b, c AS (a+1));
INSERT INTO o(b) VALUES(1),(0.1),('it''s'),(x'00ff'),(NULL),(-1e999),(CAST(x'610062' AS TEXT));
CREATE TABLE "w d"(x PRIMARY KEY) WITHOUT ROWID;
INSERT INTO "w d" VALUES('k');
CREATE INDEX oi ON o(b);
CREATE VIEW ov AS SELECT * FROM o;
CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[2] distance_metric=cosine, h float16[2], y bit[8],
  p text partition key, n int, r float, f boolean, s text, +body text, +raw blob);
INSERT INTO t(id,v,h,y,p,n,r,f,s,body,raw)
  VALUES(7,'[0.1,1e-30]','[1,0.5]',vec_bit(x'0f'),'de',-1,0.1,1,'a "b" ''c'' d','long',x'00ff'),
  (9,'[1,2]','[3,4]',vec_bit(x'80'),'en',NULL,2.0,0,NULL,NULL,NULL),
  (11,'[1,2]','[3,4]',vec_bit(x'01'),'en',NULL,-1e999,0,'',NULL,NULL);
CREATE VIRTUAL TABLE words USING vecdb(name text primary key, v int8[2]);
INSERT INTO words(name,v) VALUES('one','[1,-2]');
CREATE VIRTUAL TABLE plain USING vec0(v float[1]);
INSERT INTO plain(rowid,v) VALUES(5,'[1.5]');
INSERT INTO t(t) VALUES('ef=77');
END
run 0 d.db "DROP TABLE none" ".read d.sql"
run 0 d.db ".once d1.txt" .dump
run 0 :memory: "ATTACH 'e.db' AS d; CREATE TABLE d.none(x)"
run 0 e.db "DROP TABLE none" ".read d1.txt" ".once d2.txt" .dump
is '.dump, read and dumped again' "$(cat d1.txt)" "$(cat d2.txt)"
is 'no tables beside ours' 0 "$(grep -c '_pages\|_extents\|_meta' d1.txt)"
has 'rows of vectors, exact' "INSERT INTO \"t\"(\"id\",\"v\",\"h\",\"y\",\"p\",\"n\",\"r\",\"f\",\"s\",\"body\",\"raw\") VALUES(7,'[0.1,1e-30]','[1,0.5]'," "$(cat d1.txt)"
has 'options that were set' 'ef=77' "$(cat d1.txt)"
has 'implied keys' "INSERT INTO \"plain\"(\"rowid\",\"v\") VALUES(5,'[1.5]');" "$(cat d1.txt)"
has 'ordinary tables' "INSERT INTO \"o\" VALUES(2,0.1);" "$(cat d1.txt)"
has 'a zero byte in a text' "CAST(X'610062' AS TEXT)" "$(cat d1.txt)"
for q in "SELECT * FROM t" "SELECT * FROM words" "SELECT rowid,* FROM plain" "SELECT quote(b),c FROM o" 'SELECT * FROM "w d"' \
  "SELECT b FROM o WHERE a=6" "SELECT * FROM sqlite_sequence" "SELECT type,name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' ORDER BY 1,2"; do
  is "the same: $q" "$("$V" -quote d.db "$q")" "$("$V" -quote e.db "$q")"
done
run 0 d.db "CREATE VIRTUAL TABLE beside USING vecdb(file='g.vdb', v float[1])" "INSERT INTO beside(v) VALUES('[3]')" ".dump beside"
has 'a table with file= comes along' 'USING vecdb(v float[1]);
INSERT INTO "beside"("rowid","v") VALUES(1,'"'[3]'" "$out"
run 0 d.db .dump
is 'without what belongs to the file' 0 "$(echo "$out" | grep -c 'vecdb_txn')"
run 0 d.db ".dump words"
is '.dump of one table' "PRAGMA foreign_keys=OFF;
BEGIN;
CREATE VIRTUAL TABLE \"words\" USING vecdb(name text primary key, v int8[2]);
INSERT INTO \"words\"(\"name\",\"v\") VALUES('one','[1,-2]');
COMMIT;" "$out"
run 1 d.db ".dump nosuch"
has '.dump of a table that is not there' 'no table "nosuch"' "$out"
"$V" d.db ".dump t" | "$V" f.vdb >said.txt 2>&1
is 'ours can be read into a .vdb' "$("$V" -quote d.db "SELECT * FROM t")" "$("$V" -quote f.vdb "SELECT * FROM t")"
is 'and come out of it in the same words' "$("$V" d.db ".dump t" | sed 1d)" "$("$V" f.vdb .dump)"

# ---- refused, and nothing is there ---------------------------------------------
refused() {     # NAME FILE TEXT
  run 1 h.db ".import $2 refused --column v"
  has "$1" "$3" "$out"
  has "$1: nothing imported" 'nothing was imported' "$out"
  run 1 h.db "SELECT * FROM refused"
}
{ u32 2 2; f32 1 2 3 nan; } >nan.fbin
refused 'a NaN names the row' nan.fbin 'nan.fbin: row 1'
printf 'id,v\n1,"[1,2]"\n2\n' >short.csv
refused 'a short line is named' short.csv 'short.csv:3: expected 2 columns, found 1'
printf 'id,size\n10,x\n' >text.csv
run 1 h.db ".import text.csv m"
has 'a value of another type names its line' 'text.csv:2: column "size" expects an integer, found "x"' "$out"
run 1 h.db ".import a.fbin wide"
has 'dimensions of file and column' 'it has 2 dimensions, column "v" of "wide" has 3' "$out"
run 1 h.db ".import a.fbin o"
has 'an ordinary table' '"o" is no table of vectors' "$out"
run 1 h.db ".import a.fbin fbin --first-id 3 --column v"
has 'a duplicate key' 'a.fbin: row 0' "$out"
is 'a failed import changes nothing' '1
2
3' "$("$V" h.db "SELECT id FROM fbin")"
run 0 h.db ".import nan.fbin skipped --column v --on-error skip" "SELECT count(*) FROM skipped"
has 'skip keeps the rest' 'skipped 1
1' "$out"
printf 'id,size\n77,1\n' >nokey.csv
run 1 h.db ".import nokey.csv m"
has 'an update of no row' 'no row with this key' "$out"
run 1 h.db BEGIN ".import a.fbin fbin --column v"
has 'not inside a transaction' 'cannot import inside a transaction' "$out"
run 1 -readonly h.db ".import a.fbin fbin --column v"
has 'read-only' 'readonly' "$out"

# ---- .bench, .recall, .knn, .stat ------------------------------------------------
{ u32 400 1; head -c 1200 /dev/zero; for i in 1 2 3 4 5 6 7 8 9 10; do f32 1 2 3 4 0.5 0 1 2 3 4; done; } >many.fbin
run 0 h.db ".import many.fbin many --column v" ".bench many k=2 queries=20 b.csv"
has '.bench sweeps' 'exact   1.0000' "$out"
has 'one search after another' '20 queries, 1 threads' "$out"
has 'the csv is one' 'many,400,float[1],l2,2,20,1,' "$(cat b.csv)"
run 1 h.db ".bench j"
has '.bench of text keys' 'batches need integer keys' "$out"
run 0 h.db ".knn fbin [1,2] 1" ".recall many samples=10" ".optimize fbin" ".stat fbin" ".tune fbin"
has '.stat' 'rows|3' "$out"

run 0 h.db ".rebuild many ef=55" ".gpu off" "SELECT value LIKE '%ef=55%' FROM vecdb_stats('many') WHERE key='schema'"
is '.rebuild takes options' 1 "$out"
run 1 h.db ".rebuild many nosuch=1"
run 1 h.db ".optimize nosuch"
has '.optimize of a table that is not there' 'no table of vectors "nosuch"' "$out"

# ---- Ctrl-C keeps what is complete -----------------------------------------------
{ u32 3000000 1; head -c 12000000 /dev/zero; } >long.fbin
"$V" h.db ".import long.fbin long --column v --batch 100" >said.txt 2>&1 &
pid=$!
i=0
while [ ! -s h.db-journal ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done
sleep 0.2
kill -INT $pid
wait $pid
is 'Ctrl-C ends an import with 130' 130 $?
has 'and says how to go on' 'these rows are kept, go on with --skip' "$(cat said.txt)"
n=$(sed -n 's/.*--skip \([0-9]*\).*/\1/p' said.txt)
run 0 h.db "SELECT count(*) FROM long" ".import long.fbin long --skip ${n:-0} --limit 5" "SELECT count(*)-${n:-0} FROM long"
has 'the complete batches are there' "$n
" "$out"
has 'and it goes on from there' '
5' "$out"
run 0 h.db "DROP TABLE long" .check
has 'all is sound' ok "$out"
done_testing
