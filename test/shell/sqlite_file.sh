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
