#!/bin/sh
# session.sh -- the shell as a newcomer uses it: open, create, insert, search,
# explain, change, back up, check, and what it says to mistakes.
# shellcheck disable=SC1091,SC2154
. "$VECDB_SRC/test/shell/lib.inc"

# ---- a first session, from a script ----------------------------------------
cat >first.sql <<'END'
CREATE VIRTUAL TABLE docs USING vecdb(
  id integer primary key, v float[3], year int, title text);
INSERT INTO docs(id, v, year, title) VALUES
  (1, '[1,0,0]', 1999, 'north'),
  (2, '[0,1,0]', 2001, 'east'),
  (3, '[0,0,1]', 2005, 'up'),
  (4, '[1,1,0]', 2010, 'north-east');
.tables
SELECT id, title, distance FROM docs WHERE v MATCH '[1,0,0]' AND k = 2;
SELECT id, title FROM docs WHERE v MATCH '[1,0,0]' AND k = 2 AND year > 2000;
UPDATE docs SET year = 2020 WHERE id = 1;
DELETE FROM docs WHERE id = 3;
SELECT id, year FROM docs;
BEGIN; DELETE FROM docs; ROLLBACK;
SELECT count(*) FROM docs;
.check
.backup copy.vdb
END
out=$("$V" x.vdb <first.sql 2>&1); code=$?
is 'a first session ends well' 0 "$code"
is 'a first session says what it found' \
"docs
1|north|0.0
4|north-east|1.0
4|north-east
2|east
1|2020
2|2001
4|2010
3
ok
copied to \"copy.vdb\" and checked" "$(printf '%s\n' "$out" | sed 's/ checked, .*/ checked/')"

run 0 x.vdb "SELECT title FROM docs WHERE id=4"
is 'the file keeps what was put in' 'north-east' "$out"
run 0 copy.vdb "SELECT count(*) FROM docs"
is 'the backup holds the same' '3' "$out"
is 'one file is left after a clean end' 'x.vdb' "$(echo x.vdb*)"

run 0 x.vdb .schema
is 'a schema can be run again' 'CREATE VIRTUAL TABLE "docs" USING vecdb(id integer primary key, v float[3], year int, title text);' \
   "$(printf '%s' "$out" | sed 's/ distance_metric=l2//')"
run 0 again.vdb "$out" .tables
is 'the schema made the table' 'docs' "$out"
run 0 x.vdb .dump
printf '%s\n' "$out" >dump.sql
run 0 dumped.vdb ".read dump.sql" "SELECT id,year,title,vec_to_json(v) FROM docs"
a=$out
run 0 x.vdb "SELECT id,year,title,vec_to_json(v) FROM docs"
is 'a dump makes the same rows' "$out" "$a"

run 0 x.vdb "EXPLAIN QUERY PLAN SELECT id FROM docs WHERE v MATCH '[1,0,0]' AND k=2 AND year>2000"
has 'the plan names the search' 'KNN(v)' "$out"
has 'the plan names the filter' 'year>?' "$out"
run 0 x.vdb ".knn docs [1,0,0] 1"
has '.knn finds the nearest' 'north' "$out"
run 0 x.vdb ".knn docs key=2 1"
has '.knn takes the vector of a row' 'east' "$out"
run 0 x.vdb ".collections"
has '.collections tells the shape' 'docs|3|v|3|float32|l2' "$out"
run 0 x.vdb ".stat docs"
has '.stat counts rows' 'rows|3' "$out"
run 0 x.vdb ".optimize docs"
has '.optimize says what it did' 'rows, 0 in a graph' "$out"
run 0 x.vdb .checkpoint
has '.checkpoint reports frames' 'frames of the log are home' "$out"

# ---- modes -------------------------------------------------------------------
q="SELECT id, title FROM docs WHERE id IN (1,2)"
run 0 -csv -header x.vdb "$q"
is 'csv' 'id,title
1,north
2,east' "$(printf '%s' "$out" | tr -d '\r')"
run 0 -json x.vdb "$q"
is 'json' '[{"id":1,"title":"north"},
{"id":2,"title":"east"}]' "$out"
run 0 -jsonl x.vdb "$q"
is 'jsonl' '{"id":1,"title":"north"}
{"id":2,"title":"east"}' "$out"
run 0 -markdown x.vdb "$q"
is 'markdown' '| id | title |
|---:|-------|
| 1  | north |
| 2  | east  |' "$(printf '%s' "$out" | sed 's/|  1 |/| 1  |/;s/|  2 |/| 2  |/')"
run 0 -line x.vdb "SELECT id, title FROM docs WHERE id=1"
is 'line' '   id = 1
title = north' "$out"
run 0 -quote x.vdb "SELECT title, NULL FROM docs WHERE id=1"
is 'quote' "'north',NULL" "$out"
run 0 -table -header x.vdb "SELECT id FROM docs WHERE id=1"
is 'table' '+----+
| id |
+----+
|  1 |
+----+' "$out"
run 0 x.vdb ".mode quote" "SELECT v FROM docs WHERE id=1"
is 'a vector in quote mode is bytes' "x'0000803f0000000000000000'" "$out"

# ---- mistakes ------------------------------------------------------------------
run 1 x.vdb "SELECT * FROM nosuch"
is 'unknown table' 'error: no such table: nosuch' "$out"
run 1 x.vdb "INSERT INTO docs(v) VALUES('[1,2]')"
has 'wrong dimension says both numbers' '3' "$out"
has 'wrong dimension says both numbers' '2' "$out"
run 1 x.vdb "INSERT INTO docs(v) VALUES('[1,2,oops]')"
has 'malformed vector names the byte' 'byte' "$out"
run 1 x.vdb "INSERT INTO docs(id,v) VALUES(1,'[1,2,3]')"
has 'duplicate key' '1' "$out"
run 1 x.vdb "SELECT id FROM docs WHERE v MATCH '[1,2,3]' AND k=-1"
has 'negative k' 'k' "$out"
run 1 x.vdb "CREATE VIRTUAL TABLE z USING vecdb(v flaot[3])"
has 'a misspelt type gets a suggestion' 'float' "$out"
run 1 x.vdb "SELEC 1"
has 'a misspelt statement' 'syntax error' "$out"
run 1 x.vdb ".improt a b"
is 'a misspelt command gets a suggestion' 'error: unknown command ".improt"; did you mean ".import"?' "$out"
run 1 x.vdb ".mode fancy"
has 'an unknown mode lists the known' 'markdown' "$out"
run 1 x.vdb ".import nosuch.fbin docs"
is 'a missing file' 'error: cannot import "nosuch.fbin": No such file or directory; nothing was imported' "$out"
run 1 x.vdb ".schema nosuch"
is 'no such schema' 'error: no table "nosuch"; .tables lists them' "$out"
run 2 -nosuchoption
has 'an unknown option' 'unknown option "-nosuchoption"' "$out"
echo 'this is a text file, and a rather long one, but no database at all' >text.txt
run 3 text.txt "SELECT 1"
has 'a file that is not ours is named' 'text.txt' "$out"
run 3 /nosuchdir/x.vdb "SELECT 1"
has 'a missing directory' '/nosuchdir/x.vdb' "$out"
run 3 -readonly absent.vdb "SELECT 1"
is 'read-only does not create' 'absent.vdb*' "$(echo absent.vdb*)"
run 1 -readonly x.vdb "DELETE FROM docs"
has 'read-only refuses writes' 'read' "$out"
run 1 -safe x.vdb ".shell echo hi"
has 'safe mode' 'not allowed with -safe' "$out"
# SQL has doors to other files, too.
run 1 -safe x.vdb "ATTACH 'other.db' AS o; CREATE TABLE o.t(a)"
run 1 -safe x.vdb "CREATE TABLE a(b); VACUUM INTO 'other.db'"
run 1 -safe x.vdb \
  "CREATE VIRTUAL TABLE o USING vecdb(file='other.vdb', v float[2])"
has 'safe mode keeps to its file' 'confined to' "$out"
run 1 -safe x.vdb "SELECT vecdb_config('default_file', 'other.vdb');
  CREATE VIRTUAL TABLE o USING vecdb(v float[2])"
run 1 -safe x.vdb "SELECT vecdb_config('files', 'direct')"
is 'safe mode makes no files' '' "$(ls other.* 2>/dev/null)"
run 0 -safe x.vdb "ATTACH ':memory:' AS m; CREATE VIRTUAL TABLE inside USING
  vecdb(v float[2]); INSERT INTO inside(v) VALUES('[1,2]'); VACUUM;
  DROP TABLE inside"
dd if=x.vdb of=cut.vdb bs=4096 count=2 2>/dev/null
run 4 cut.vdb "SELECT 1"

# ---- scripts -------------------------------------------------------------------
printf 'SELECT 1;\nSELECT nosuch;\nSELECT 2;\n' >bad.sql
out=$("$V" x.vdb <bad.sql 2>&1); code=$?
is 'a script goes on after an error' '1
error: stdin:2: no such column: nosuch
2' "$out"
is 'and ends with 1' 1 "$code"
out=$("$V" -bail x.vdb <bad.sql 2>&1)
is '-bail stops there' '1
error: stdin:2: no such column: nosuch' "$out"
run 1 x.vdb ".read bad.sql"
has 'an error names file and line' 'bad.sql:2:' "$out"
run 7 x.vdb ".exit 7"
run 0 -version
has 'version' 'vecdb 0.1' "$out"
run 0 -help
has 'help tells the exit codes' '130 interrupted' "$out"
run 0 x.vdb .help
has '.help lists import' '.import' "$out"
run 0 x.vdb ".help import"
has '.help import shows all arguments' '--meta FILE' "$out"
run 0 x.vdb ".once out.txt" "SELECT 42" "SELECT 43"
is '.once is for one statement' '43' "$out"
is '.once wrote the file' '42' "$(cat out.txt)"
run 0 x.vdb ".timer on" "SELECT 1"
has '.timer' 'Run Time: real' "$out"
# ---- vectors look like vectors -----------------------------------------------
cat >shapes.sql <<'END'
CREATE VIRTUAL TABLE shapes USING vecdb(id integer primary key, v float[2],
  h float16[2], i int8[2], u uint8[2], b bit[8]);
INSERT INTO shapes VALUES(1, '[0.5,1]', '[0.5,1]', '[-1,2]', '[3,4]',
  vec_bit(x'03'));
END
run 0 shapes.vdb ".read shapes.sql" "SELECT * FROM shapes"
is 'columns of every element type print as JSON' \
  '1|[0.5,1]|[0.5,1]|[-1,2]|[3,4]|[1,1,0,0,0,0,0,0]' "$out"
run 0 -jsonl shapes.vdb "SELECT v, i FROM shapes"
is 'and are JSON in JSON' '{"v":[0.5,1],"i":[-1,2]}' "$out"
run 0 shapes.vdb "SELECT vec_int8('[1,2]'), x'0102'"
is 'so do values of functions; a blob stays a blob' "[1,2]|x'0102'" "$out"
run 0 shapes.vdb "SELECT group_concat(type) FROM pragma_table_info('shapes')"
is 'declared types tell the shape' \
  'INTEGER,float[2] BLOB,float16[2] BLOB,i8[2] BLOB,u8[2] BLOB,bit[8] BLOB' "$out"

# ---- options, wherever they stand ------------------------------------------------
run 0 shapes.vdb -csv "SELECT 1 AS a, 2 AS b" -header
is 'options may follow the file' 'a,b
1,2' "$out"
run 0 shapes.vdb "-- a comment
SELECT 5"
is 'a comment is no option' '5' "$out"
run 2 shapes.vdb -nonsense
has 'unknown options are named' 'unknown option "-nonsense"' "$out"

# ---- what others do meanwhile ----------------------------------------------------
run 0 shapes.vdb ".shell '$V' shapes.vdb 'CREATE VIRTUAL TABLE late USING vecdb(v float[1])'" \
  "SELECT count(*) FROM late" ".tables"
is 'a collection that another program made is found' '0
late
shapes' "$out"
cat >other.sh <<'END'
for what in .vacuum '.optimize shapes' 'DELETE FROM shapes'; do
  "$1" -timeout 0 shapes.vdb "$what" 2>&1; echo "status $?"
done
END
run 0 shapes.vdb "BEGIN; DELETE FROM shapes WHERE id=77; UPDATE shapes SET v='[1,1]'" \
  ".shell sh other.sh '$V'" "ROLLBACK"
is 'whoever has to wait is told for whom' \
'error: cannot replace "shapes.vdb": others have it open
status 5
error: cannot write "shapes.vdb": pid N holds the write lock
status 5
error: cannot write "shapes.vdb": pid N holds the write lock
status 5' "$(printf '%s\n' "$out" | sed 's|"/.*/|"|; s/pid [0-9]*/pid N/; s/ lock since.*/ lock/')"

# ---- what comes through a pipe -----------------------------------------------
{ u32 2 2; f32 1 2 3 4; } >two.fbin
run 0 pipe.vdb ".import '|cat two.fbin' t --format fbin" "SELECT embedding FROM t"
has 'a command gives the rows' '[3,4]' "$out"
run 1 pipe.vdb ".import '|cat two.fbin; exit 3' u --format fbin"
has 'one that fails gives none' 'the command ended with status 3' "$out"
run 1 -safe pipe.vdb ".import '|cat two.fbin' u --format fbin"
has '-safe has no pipes' 'not allowed with -safe' "$out"
out=$("$V" pipe.vdb ".import - u --format fbin" "SELECT count(*) FROM u" <two.fbin 2>&1)
has 'standard input gives rows' 'imported 2 rows' "$out"
out=$(echo '.import - w --format fbin' | "$V" pipe.vdb 2>&1)
has 'not where the commands come from' 'the commands come from standard input' "$out"

run 0 shapes.vdb .help ".help import"
is 'the help keeps to 80 columns' '' "$(printf '%s\n' "$out" | grep -E '.{81}')"
run 1 shapes.vdb ".knn shapes key=9 1"
has '.knn names the key that is missing' 'no row 9 in "shapes"' "$out"
run 1 shapes.vdb ".width x"
has '.width takes numbers' 'usage: .width' "$out"

# ---- many collections -----------------------------------------------------------
{ echo 'BEGIN;'
  i=0
  while [ $i -lt 600 ]; do
    echo "CREATE VIRTUAL TABLE c$i USING vecdb(v float[1]);"; i=$((i+1))
  done
  echo 'COMMIT;'
} >many.sql
run 0 many.vdb ".read many.sql" ".collections"
is '.collections lists them all' 600 "$(printf '%s\n' "$out" | wc -l)"
done_testing
