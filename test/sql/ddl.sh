#!/bin/sh
# ddl.sh -- CREATE, attach, detach, DROP, and what is refused.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"

# A table is a collection of a file; both sides see it.
is create '0' "CREATE VIRTUAL TABLE t USING vecdb(file='x.vdb', id integer primary key, v float[2], i int); SELECT count(*) FROM t;"
is insert '1' "INSERT INTO t(id,v,i) VALUES(1,'[1,2]',7); SELECT count(*) FROM t;"
is if_not_exists '1' "CREATE VIRTUAL TABLE IF NOT EXISTS t USING vecdb(file='x.vdb', v float[3]); SELECT count(*) FROM t;"
is schema_text 'id integer primary key, v float[2], i int' "SELECT value FROM vecdb_stats('t') WHERE key='schema';"
is sqlite_schema "CREATE VIRTUAL TABLE t USING vecdb(file='x.vdb', id integer primary key, v float[2], i int)" \
  "SELECT sql FROM sqlite_schema WHERE name='t';"
is columns 'id,v,i' "SELECT group_concat(name) FROM pragma_table_info('t');"
is hidden 't,args,distance,k,ef,recall,exact,filter,mmr_lambda' \
  "SELECT group_concat(name) FROM pragma_table_xinfo('t') WHERE hidden=1;"

# Attach: without columns, under another name, with the same columns.
is attach '1|7' "CREATE VIRTUAL TABLE a USING vecdb(file='x.vdb', collection='t'); SELECT id, i FROM a;"
is attach_same_columns '1' "CREATE VIRTUAL TABLE b USING vecdb(file = 'x.vdb', collection=\"t\", id INTEGER PRIMARY KEY, v float32[2], i int); SELECT count(*) FROM b;"
is both_write '2' "INSERT INTO a(id,v) VALUES(2,'[3,4]'); SELECT count(*) FROM t;"
is reopen '2|2' "SELECT count(*), (SELECT count(*) FROM b) FROM a;"
fails attach_other_columns 'other columns than table "c"' "CREATE VIRTUAL TABLE c USING vecdb(file='x.vdb', collection='t', id integer primary key, v float[3]);"
fails attach_missing 'no collection "nosuch"' "CREATE VIRTUAL TABLE c USING vecdb(file='x.vdb', collection='nosuch');"
fails attach_no_file 'c.vdb' "CREATE VIRTUAL TABLE c USING vecdb(file='c.vdb', collection='t');"
if [ ! -e c.vdb ]; then passed; else failed attach_creates_no_file; fi
is other_host '2' "ATTACH ':memory:' AS m; CREATE VIRTUAL TABLE m.t2 USING vecdb(file='$PWD/x.vdb', collection='t'); SELECT count(*) FROM m.t2;"

# Detach keeps the rows, DROP alone does not.
is detach '2' "INSERT INTO a(a) VALUES('detach'); DROP TABLE a; SELECT count(*) FROM t;"
is drop 'x' "CREATE VIRTUAL TABLE d USING vecdb(file='x.vdb', v float[1]); DROP TABLE d; SELECT 'x';"
fails drop_dropped 'no collection "d"' "CREATE VIRTUAL TABLE d USING vecdb(file='x.vdb');"
is drop_and_create '0' "CREATE VIRTUAL TABLE d USING vecdb(file='x.vdb', v float[5]); SELECT count(*) FROM d;"

# The file is beside the host's, whatever the working directory.
mkdir -p sub
is beside_the_host '0' "ATTACH 'sub/h.db' AS h; CREATE VIRTUAL TABLE h.t USING vecdb(file='y.vdb', v float[1]); SELECT count(*) FROM h.t;"
if [ -f sub/y.vdb ]; then passed; else failed file_beside_host; fi

# Without file=: the default file in memory, else the database itself.
is no_file '0' "CREATE VIRTUAL TABLE n USING vecdb(v float[2]); SELECT count(*) FROM n; DROP TABLE n;"
export DB=:memory:
is default_file '0
1' "SELECT vecdb_config('default_file','$PWD/def.vdb') IS NULL; CREATE VIRTUAL TABLE n USING vecdb(v float[2]); INSERT INTO n(v) VALUES('[1,2]'); SELECT count(*) FROM n;"
is default_file_reads '1' "CREATE TEMP TABLE x AS SELECT vecdb_config('default_file','$PWD/def.vdb'); CREATE VIRTUAL TABLE temp.n USING vecdb(); SELECT count(*) FROM n;"
fails readonly 'read' "CREATE TEMP TABLE x AS SELECT vecdb_config('readonly',1); CREATE VIRTUAL TABLE n USING vecdb(file='def.vdb', collection='n'); INSERT INTO n(v) VALUES('[1,2]');"
fails config_unknown 'unknown setting "nosuch"; known: build_bytes, cache_bytes, default_file, files, gpu, readonly' "SELECT vecdb_config('nosuch');"
export DB=host.db

# What the grammar refuses, by sentence.
bad() { fails "$1" "$2" "CREATE VIRTUAL TABLE z USING vecdb(file='z.vdb', $3);"; }
bad no_vector 'vector column' 'i int'
bad bad_type 'flot' 'v flot[3]'
bad zero_dims '0' 'v float[0]'
bad many_dims '65535' 'v float[65536]'
bad bits_by_8 '8' 'v bit[7]'
bad metric_of_bits 'cosine' 'v bit[8] distance_metric=cosine'
bad unknown_metric 'manhattan' 'v float[2] distance_metric=manhattan'
bad unknown_option 'nosuch' 'v float[2], nosuch=1'
bad trailing 'garbage' 'v float[2] garbage'
bad two_keys 'primary key' 'a integer primary key, b integer primary key, v float[2]'
bad reserved_distance 'distance' 'distance int, v float[2]'
bad reserved_k 'k' 'k int, v float[2]'
bad table_name 'own' 'z int, v float[2]'
fails table_named_k 'cannot be named "k"' "CREATE VIRTUAL TABLE k USING vecdb(file='z.vdb', v float[2]);"
is table_named_ef '0' "CREATE VIRTUAL TABLE ef USING vecdb(file='z.vdb', v float[2]); SELECT count(*) FROM ef; DROP TABLE ef;"
bad duplicate_column 'v' 'v float[2], v int'
fails file_twice 'file= is given twice' "CREATE VIRTUAL TABLE z USING vecdb(file='a', file='b', v float[2]);"
fails file_unquoted 'needs a quoted string' "CREATE VIRTUAL TABLE z USING vecdb(file=a.vdb, v float[2]);"
fails file_open_quote 'file=' "CREATE VIRTUAL TABLE z USING vecdb(file='', v float[2]);"
fails file_no_folder 'nosuch' "CREATE VIRTUAL TABLE z USING vecdb(file='nosuch/z.vdb', v float[2]);"
echo "not a database, but long enough to look at: $(seq 1 3000)" >bad.vdb
fails not_a_database 'bad.vdb' "CREATE VIRTUAL TABLE z USING vecdb(file='bad.vdb', v float[2]);"
is refused_leaves_no_table '0' "SELECT count(*) FROM sqlite_schema WHERE name='z';"

# Optional hidden columns give way, every kind of column works.
is hidden_gives_way 'v,filter,ef|5|x' "CREATE VIRTUAL TABLE g USING vecdb(file='x.vdb', v float[2], filter text, ef int);
INSERT INTO g(v,filter,ef) VALUES('[1,2]','x',5);
SELECT (SELECT group_concat(name) FROM pragma_table_info('g') WHERE name<>'rowid'), ef, filter FROM g WHERE v MATCH '[1,1]' AND k=1 AND _ef=100 AND filter='x';"
is quoted_names '1' "CREATE VIRTUAL TABLE \"my table\" USING vecdb(file='x.vdb', \"my vector\" float[2], [my int] int, \`my text\` text);
INSERT INTO \"my table\"(\"my vector\",\"my int\") VALUES('[1,2]',3); SELECT count(*) FROM \"my table\" WHERE \"my vector\" MATCH '[1,1]' AND k=2 AND \"my int\"=3;"
is many_vectors '1|2' "CREATE VIRTUAL TABLE mv USING vecdb(file='x.vdb', a float[2], b float[3] distance_metric=cosine);
INSERT INTO mv(a,b) VALUES('[1,2]','[1,0,0]'),('[9,9]','[0,1,0]');
SELECT (SELECT rowid FROM mv WHERE a MATCH '[1,1]' AND k=1), (SELECT rowid FROM mv WHERE b MATCH '[0,5,0]' AND k=1);"
is vec0_alias '1|0.0' "CREATE VIRTUAL TABLE v0 USING vec0(file='x.vdb', id integer primary key, v float[2]); INSERT INTO v0(id,v) VALUES(1,'[1,2]');
SELECT id, distance FROM v0 WHERE v MATCH '[1,2]' AND k=1;"
fails vec0_constructor 'vec0 constructor error: ' "CREATE VIRTUAL TABLE v1 USING vec0(file='x.vdb', i int);"
fails vec0_dims 'Dimension mismatch for inserted vector for the "v" column. Expected 2 dimensions but received 3.' "INSERT INTO v0(id,v) VALUES(2,'[1,2,3]');"
fails vec0_query_dims 'Dimension mismatch for query vector for the "v" column. Expected 2 dimensions but received 1.' "SELECT id FROM v0 WHERE v MATCH '[1]' AND k=1;"
fails vec0_type 'Inserted vector for the "v" column is expected to be of type float32, but a int8 vector was provided.' "INSERT INTO v0(id,v) VALUES(2,vec_int8('[1,2]'));"
fails vec0_json "Inserted vector for the \"v\" column is invalid: JSON array parsing error: Input does not start with '['" "INSERT INTO v0(id,v) VALUES(2,'x');"
fails vec0_k 'k value in knn queries must be greater than or equal to 0.' "SELECT id FROM v0 WHERE v MATCH '[1,2]' AND k=-1;"
fails vec0_command "unknown vec0 command: 'x'" "INSERT INTO v0(v0) VALUES('x');"

# The example at the top of the manual.
# shellcheck disable=SC2016
is manual '1|' "$(sed -n '/^```sql/,/^```$/p; /^```$/q' "$VECDB_SRC/doc/sql.md" | grep -v '^```' | grep -v '^.load' | sed 's/SELECT id, distance/SELECT id, NULL/')"

# VACUUM of the host leaves the file alone.
is vacuum '2' "VACUUM; SELECT count(*) FROM t;"
finish
