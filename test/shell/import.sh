#!/bin/sh
# import.sh -- every format in, every format out, and nothing from bad files.
# shellcheck disable=SC1091,SC2154
. "$VECDB_SRC/test/shell/lib.inc"

count() { "$V" x.vdb "SELECT count(*) FROM $1" 2>&1; }
rows() { "$V" x.vdb "SELECT id, vec_to_json(v,'exact') FROM $1" 2>&1; }

# ---- vectors -------------------------------------------------------------------
{ u32 3 2; f32 1 2 3 4 0.5 0; } >a.fbin
run 0 x.vdb ".import a.fbin fbin --column v"
has 'the import says what it did' 'imported 3 rows into "fbin"' "$out"
is 'fbin' '1|[1,2]
2|[3,4]
3|[0.5,0]' "$(rows fbin)"
{ u32 2; f32 1 2; u32 2; f32 3 4; } >a.fvecs
run 0 x.vdb ".import a.fvecs fvecs --column v --first-id 0"
is 'fvecs, keys from 0' '0|[1,2]
1|[3,4]' "$(rows fvecs)"
{ u32 3; u8 1 2 255; u32 3; u8 0 0 7; } >a.bvecs
run 0 x.vdb ".import a.bvecs bvecs --column v"
is 'bvecs' '1|[1,2,255]
2|[0,0,7]' "$(rows bvecs)"
{ u32 2; u32 7 9; } >a.ivecs
run 0 x.vdb ".import a.ivecs ivecs --column v"
is 'ivecs' '1|[7,9]' "$(rows ivecs)"
{ u32 2 3; u8 1 2 3 4 5 255; } >a.u8bin
run 0 x.vdb ".import a.u8bin u8 --column v"
is 'u8bin' '1|[1,2,3]
2|[4,5,255]' "$(rows u8)"
{ u32 2 3; u8 1 2 3 4 5 255; } >a.i8bin
run 0 x.vdb ".import a.i8bin i8 --column v"
is 'i8bin' '1|[1,2,3]
2|[4,5,-1]' "$(rows i8)"
{ printf '\223NUMPY\001\000\166\000'
  printf '%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
  f32 1 2 3 4; } >a.npy
run 0 x.vdb ".import a.npy npy --column v"
is 'npy' '1|[1,2]
2|[3,4]' "$(rows npy)"
run 0 x.vdb "CREATE VIRTUAL TABLE wide USING vecdb(id integer primary key, v float[3])" \
  ".import a.u8bin wide"
is 'bytes into a float column' '1|[1,2,3]
2|[4,5,255]' "$(rows wide)"
run 0 x.vdb ".import a.u8bin part --column v --skip 1 --limit 1 --first-id 1"
is 'skip and limit' '1|[4,5,255]' "$(rows part)"

# ---- metadata ------------------------------------------------------------------
printf 'id\tname\tsize\tscore\n10\tan "odd" one\t5\t0.5\n20\t\t6\t2\n30\tlast\t7\t-1e3\n' >m.tsv
run 0 x.vdb ".import a.fbin m --meta m.tsv --column v"
is 'a vector file with its metadata' '10|[1,2]|an "odd" one|5|0.5
20|[3,4]||6|2.0
30|[0.5,0]|last|7|-1000.0' "$("$V" x.vdb "SELECT id, vec_to_json(v,'exact'), name, size, score FROM m")"
u8 3 1 2 >labels.u8
run 0 x.vdb ".import a.fbin lab --meta labels.u8 --first-id 0 --column v"
is 'labels, one byte a row' '0|3
1|1
2|2' "$("$V" x.vdb "SELECT id, labels FROM lab")"
printf 'id,size,name\n10,50,"a, b"\n30,70,"say ""hi"""\n' >u.csv
run 0 x.vdb ".import u.csv m"
has 'rows without vectors update' 'updated 2 rows of "m"' "$out"
is 'update by key' '10|a, b|50
20||6
30|say "hi"|70' "$("$V" x.vdb "SELECT id, name, size FROM m")"
printf '{"id":1,"v":[1,2],"t":"x"}\n{"id":2,"v":[3,4],"t":null}\n' >j.jsonl
run 0 x.vdb ".import j.jsonl j"
is 'jsonl with vectors' '1|[1,2]|x
2|[3,4]|' "$("$V" x.vdb "SELECT id, vec_to_json(v,'exact'), t FROM j")"

# ---- refused, and nothing is there ----------------------------------------------
refused() {     # NAME FILE TEXT
  run 1 x.vdb ".import $2 refused --column v"
  has "$1" "$3" "$out"
  has "$1: nothing imported" 'nothing was imported' "$out"
  run 1 x.vdb "SELECT * FROM refused"
}
{ u32 3 2; f32 1 2 3 4 0.5; } >cut.fbin
refused 'a truncated fbin' cut.fbin '3 rows of 2 dimensions take 32 bytes, the file has 28'
{ u32 2; f32 1 2; u32 3; f32 3 4; } >mixed.fvecs
refused 'rows of different dimensions' mixed.fvecs 'row 1 has 3 dimensions, not 2'
{ u32 2 2; f32 1 2 3 nan; } >nan.fbin
refused 'a NaN names the row' nan.fbin 'row 1'
: >empty.fvecs
refused 'an empty file' empty.fvecs 'it is empty'
{ u32 1 0; } >zero.fbin
refused 'no dimensions' zero.fbin '0 dimensions'
printf 'id,v\n1,"[1,2]"\n2,"[1,2,3]"\n' >bad.csv
refused 'no column of vectors of one length' bad.csv 'has no vectors'
printf 'id,v\n1\n' >short.csv
refused 'a short line is named' short.csv 'short.csv:2: expected 2 columns, found 1'
run 1 x.vdb ".import a.fbin wide"
has 'dimensions of file and column' 'it has 2 dimensions, column "v" of "wide" has 3' "$out"
run 1 x.vdb ".import a.dat wide"
has 'an unknown format' 'cannot tell the format' "$out"
printf 'id\n1\n' >one.tsv
run 1 x.vdb ".import a.fbin m2 --meta one.tsv"
has 'different numbers of rows' '"a.fbin" has 3 rows, "one.tsv" has 1' "$out"
run 1 x.vdb ".import a.fbin fbin --first-id 3 --column v"
has 'a duplicate key' '3' "$out"
is 'a failed import changes nothing' 3 "$(count fbin)"
run 0 x.vdb ".import nan.fbin skipped --column v --on-error skip"
has 'skip keeps the rest' 'skipped 1' "$out"
is 'skip keeps the rest' 1 "$(count skipped)"

# ---- out again -------------------------------------------------------------------
run 0 x.vdb ".export fbin out.fbin" ".export bvecs out.bvecs" ".export fvecs out.fvecs" \
  ".export i8 out.i8bin" ".export m out.tsv" ".export m out.csv" ".export m out.jsonl" ".export fbin out.npy"
is 'fbin round trip' "$(od -An -tx1 a.fbin)" "$(od -An -tx1 out.fbin)"
is 'bvecs round trip' "$(od -An -tx1 a.bvecs)" "$(od -An -tx1 out.bvecs)"
run 0 x.vdb ".export ivecs out.ivecs"
is 'ivecs round trip' "$(od -An -tx1 a.ivecs)" "$(od -An -tx1 out.ivecs)"
{ u32 2 3; u32 7 9 0 4294967295 5 6; } >a.ibin
run 0 x.vdb ".import a.ibin ibin --column v" ".export ibin out.ibin"
is 'ibin round trip' "$(od -An -tx1 a.ibin)" "$(od -An -tx1 out.ibin)"
run 0 x.vdb ".export u8 out.u8bin"
is 'u8bin round trip' "$(od -An -tx1 a.u8bin)" "$(od -An -tx1 out.u8bin)"
run 0 x.vdb ".export npy out2.npy"
is 'npy round trip' "$(tail -c 16 a.npy | od -An -tx1)" "$(tail -c 16 out2.npy | od -An -tx1)"
run 1 x.vdb ".export fbin out.ivecs"
has 'halves are no integers' 'has elements that are no 32-bit integers' "$out"
is 'fvecs round trip' "$(od -An -tx1 a.fvecs)" "$(od -An -tx1 out.fvecs)"
is 'i8bin round trip' "$(od -An -tx1 a.i8bin)" "$(od -An -tx1 out.i8bin)"
for f in out.csv out.jsonl; do
  run 0 x.vdb ".import $f back" "SELECT id, vec_to_json(v,'exact'), name, size, score FROM back"
  a=$(printf '%s' "$out" | sed 1d)
  is "$f round trip" "$("$V" x.vdb "SELECT id, vec_to_json(v,'exact'), name, size, score FROM m")" "$a"
  run 0 x.vdb "DROP TABLE back"
done
run 0 x.vdb ".import out.npy npyback --column v"
is 'npy round trip' "$(rows fbin)" "$(rows npyback)"
run 0 x.vdb .check
is 'the file is sound' ok "$out"
done_testing
