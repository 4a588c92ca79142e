#!/bin/sh
# write.sh -- INSERT, UPDATE, DELETE, conflicts and commands.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/schema.inc"
setup "CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb', id integer primary key,
  v float[2], i int, f float, b boolean, s text not null, p text partition key, +x blob);
CREATE VIRTUAL TABLE r USING vecdb(file='t.vdb', v float[2], i int);
CREATE VIRTUAL TABLE kt USING vecdb(file='t.vdb', name text primary key, v int8[2]);
INSERT INTO t(id,v,i,f,b,s,p,x) VALUES(1,'[1,0]',1,0.5,1,'one','a',x'01'),(2,'[2,0]',2,1.5,0,'two','b',NULL);
INSERT INTO r(v,i) VALUES('[1,1]',1),('[2,2]',2);
INSERT INTO kt VALUES('a','[1,2]'),('b',vec_int8('[3,4]'));"

# Values come back as they went in.
is values '1|[1.000000,0.000000]|1|0.5|1|one|a|01
2|[2.000000,0.000000]|2|1.5|0|two|b|' \
  "SELECT id, vec_to_json(v), i, f, b, s, p, hex(x) FROM t;"
is rowids '1|1
2|2' "SELECT rowid, i FROM r;"
is star_has_rowid '1|1' "SELECT rowid, i FROM (SELECT * FROM r) LIMIT 1;"
is int8_values 'a|[1,2]
b|[3,4]' "SELECT name, vec_to_json(v) FROM kt;"
is last_insert_rowid '3' "INSERT INTO r(v) VALUES('[3,3]'); SELECT last_insert_rowid();"
is next_is_max_ever '4' "DELETE FROM r WHERE rowid=3; INSERT INTO r(v) VALUES('[3,3]'); SELECT last_insert_rowid();"
is given_rowid '77' "INSERT INTO r(rowid,v) VALUES(77,'[3,3]'); SELECT max(rowid) FROM r;"
is given__rowid_ '78' "INSERT INTO r(_rowid_,v) VALUES(78,'[3,3]'); SELECT max(rowid) FROM r;"
is integral_real_is_integer 'integer|real' \
  "INSERT INTO t(id,v,i,f,s) VALUES(3,'[3,0]',3.0,7,'x'); SELECT typeof(i), typeof(f) FROM t WHERE id=3;"
is returning '4|four' "INSERT INTO t(id,v,s) VALUES(4,'[4,0]','four') RETURNING id, s;"
is insert_select '2' "INSERT INTO r(v,i) SELECT v, i+100 FROM t WHERE id<3; SELECT count(*) FROM r WHERE i>100;"
is materialized_int8 '[9,8]' "WITH e AS MATERIALIZED (SELECT vec_int8('[9,8]') AS v) INSERT INTO kt SELECT 'c', v FROM e;
SELECT vec_to_json(v) FROM kt WHERE name='c';"
is untyped_blob_by_length '[5,6]' "INSERT INTO kt VALUES('d', x'0506'); SELECT vec_to_json(v) FROM kt WHERE name='d';"
is search_sees_it 'd' "SELECT name FROM kt WHERE v MATCH x'0506' AND k=1;"

# Refused values change nothing.
fails wrong_dims 'dimensions' "INSERT INTO t(id,v,s) VALUES(9,'[1]','x');"
fails wrong_dims_blob '3 dimensions' "INSERT INTO t(id,v,s) VALUES(9,vec_f32('[1,2,3]'),'x');"
fails wrong_element 'int8' "INSERT INTO t(id,v,s) VALUES(9,vec_int8('[1,2]'),'x');"
fails float_into_int8 'float32' "INSERT INTO kt VALUES('z',vec_f32('[1,2]'));"
fails bad_json 'byte' "INSERT INTO t(id,v,s) VALUES(9,'[1,','x');"
fails null_vector 'must not be NULL' "INSERT INTO t(id,s) VALUES(9,'x');"
fails number_as_vector 'INTEGER' "INSERT INTO t(id,v,s) VALUES(9,5,'x');"
fails nan_vector 'NaN' "INSERT INTO t(id,v,s) VALUES(9,x'0000c07f00000000','x');"
fails text_key_in_int 'must be an INTEGER' "INSERT INTO t(id,v,s) VALUES('x','[1,2]','x');"
fails real_key 'must be an INTEGER' "INSERT INTO t(id,v,s) VALUES(1.5,'[1,2]','x');"
fails int_key_in_text 'must be TEXT' "INSERT INTO kt VALUES(5,'[1,2]');"
fails no_text_key 'TEXT' "INSERT INTO kt(v) VALUES('[1,2]');"
fails text_in_int 'i' "INSERT INTO t(id,v,s,i) VALUES(9,'[1,2]','x','abc');"
fails bool_range 'b' "INSERT INTO t(id,v,s,b) VALUES(9,'[1,2]','x',2);"
fails not_null 's' "INSERT INTO t(id,v) VALUES(9,'[1,2]');"
fails hidden_distance 'distance' "INSERT INTO t(id,v,s,distance) VALUES(9,'[1,2]','x',1);"
fails hidden_k 'search' "INSERT INTO t(id,v,s,k) VALUES(9,'[1,2]','x',1);"
is refused_changed_nothing '0' "SELECT count(*) FROM t WHERE id=9;"

# Conflicts.
fails duplicate '1' "INSERT INTO t(id,v,s) VALUES(1,'[9,9]','dup');"
is or_ignore '0|one' "INSERT OR IGNORE INTO t(id,v,s) VALUES(1,'[9,9]','dup'); SELECT changes(), s FROM t WHERE id=1;"
is or_ignore_goes_on 'ok' "INSERT OR IGNORE INTO t(id,v,s) VALUES(1,'[9,9]','dup'),(20,'[2,2]','ok'); SELECT s FROM t WHERE id=20;"
is or_ignore_null '0' "INSERT OR IGNORE INTO t(id,v) VALUES(21,'[9,9]'); SELECT count(*) FROM t WHERE id=21;"
is or_replace 'new|[9.000000,9.000000]|1' "INSERT OR REPLACE INTO t(id,v,s) VALUES(1,'[9,9]','new'); SELECT s, vec_to_json(v), (SELECT count(*) FROM t WHERE id=1) FROM t WHERE id=1;"
out=$(sql "INSERT OR FAIL INTO t(id,v,s) VALUES(30,'[1,2]','x'),(1,'[1,2]','y'),(31,'[1,2]','z');
SELECT (SELECT count(*) FROM t WHERE id=30), (SELECT count(*) FROM t WHERE id=31);" | tail -1)
if [ "$out" = '1|0' ]; then passed; else failed or_fail "$out"; fi
out=$(sql "INSERT INTO t(id,v,s) VALUES(40,'[1,2]','x'),(1,'[1,2]','y');
SELECT count(*) FROM t WHERE id=40;" | tail -1)
if [ "$out" = 0 ]; then passed; else failed abort_undoes_the_statement "$out"; fi
out=$(sql "BEGIN; INSERT INTO t(id,v,s) VALUES(41,'[1,2]','x');
INSERT OR ROLLBACK INTO t(id,v,s) VALUES(1,'[1,2]','y');
SELECT count(*) FROM t WHERE id=41;" | tail -1)
if [ "$out" = 0 ]; then passed; else failed or_rollback "$out"; fi

# UPDATE.
is update_meta '42|one more' "UPDATE t SET i=42, s='one more' WHERE id=2; SELECT i, s FROM t WHERE id=2;"
is update_keeps_vector '[2.000000,0.000000]' "SELECT vec_to_json(v) FROM t WHERE id=2;"
is update_vector '2|0.0' "UPDATE t SET v='[7,7]' WHERE id=2; SELECT id, distance FROM t WHERE v MATCH '[7,7]' AND k=1;"
is update_partition 'z' "UPDATE t SET p='z' WHERE id=2; SELECT p FROM t WHERE v MATCH '[7,7]' AND k=1 AND p='z';"
is update_to_null '1' "UPDATE t SET i=NULL WHERE id=2; SELECT i IS NULL FROM t WHERE id=2;"
is update_aux '0203' "UPDATE t SET x=x'0203' WHERE id=2; SELECT hex(x) FROM t WHERE id=2;"
is update_key '50|one more' "UPDATE t SET id=50 WHERE id=2; SELECT id, s FROM t WHERE id IN (2,50);"
is update_rowid '51' "UPDATE t SET rowid=51 WHERE id=50; SELECT id FROM t WHERE id IN (50,51);"
is update_text_key 'e' "UPDATE kt SET name='e' WHERE name='d'; SELECT name FROM kt WHERE name IN ('d','e');"
fails update_key_duplicate '1' "UPDATE t SET id=1 WHERE id=51;"
fails update_text_key_duplicate 'a' "UPDATE kt SET name='a' WHERE name='b';"
is update_or_replace '1|one more' "UPDATE OR REPLACE t SET id=1 WHERE id=51; SELECT id, s FROM t WHERE id IN (1,51);"
is update_or_ignore '3' "UPDATE OR IGNORE t SET id=1 WHERE id=3; SELECT id FROM t WHERE id=3;"
fails update_null_vector 'must not be NULL' "UPDATE t SET v=NULL;"
fails update_distance 'distance' "UPDATE t SET distance=1;"
fails update_k 'search' "UPDATE t SET k=1;"
fails update_hint 'search' "UPDATE t SET ef=1;"
fails update_null_key 'must not be NULL' "UPDATE t SET id=NULL WHERE id=1;"
is update_by_search '1' "UPDATE t SET i=1000 WHERE v MATCH '[7,7]' AND k=1; SELECT count(*) FROM t WHERE i=1000;"
is update_from '2000' "CREATE TABLE u AS SELECT 1 AS id, 2000 AS i; UPDATE t SET i=u.i FROM u WHERE u.id=t.id; SELECT i FROM t WHERE id=1;"
is update_from_search '3000|3000' "UPDATE t SET i=3000 FROM u WHERE t.v MATCH '[1,1]' AND t.k=2; SELECT min(i), max(i) FROM t WHERE v MATCH '[1,1]' AND k=2;"
is update_all '1' "UPDATE r SET i=5; SELECT count(DISTINCT i) FROM r;"

# DELETE.
is delete_one '0' "DELETE FROM t WHERE id=20; SELECT count(*) FROM t WHERE id=20;"
is delete_twin '101' "INSERT INTO t(id,v,s) VALUES(100,'[55,55]','x'),(101,'[55,55]','y'); DELETE FROM t WHERE id=100;
SELECT id FROM t WHERE v MATCH '[55,55]' AND k=1;"
is delete_by_search '0' "DELETE FROM t WHERE v MATCH '[55,55]' AND k=1; SELECT count(*) FROM t WHERE id=101;"
is delete_text 'a,b,c,e' "DELETE FROM kt WHERE name='nobody'; SELECT group_concat(name) FROM kt;"
is delete_all '0' "DELETE FROM r; SELECT count(*) FROM r;"
is insert_after_delete_all '1' "INSERT INTO r(v) VALUES('[1,2]'); SELECT count(*) FROM r WHERE v MATCH '[0,0]' AND k=9;"

# Triggers and views, in files when they are trusted.
is trigger 'trusted
1' "SELECT vecdb_config('files','trusted');
CREATE TABLE doc(id INTEGER PRIMARY KEY, e);
CREATE TRIGGER doc_i AFTER INSERT ON doc BEGIN INSERT INTO r(rowid,v) VALUES(new.id,new.e); END;
INSERT INTO doc VALUES(500,'[3,1]'); SELECT count(*) FROM r WHERE rowid=500;"

if on_files; then
fails view_of_file 'unsafe use' "CREATE VIRTUAL TABLE far USING vecdb(file='far.vdb', v float[1]); CREATE VIEW fv AS SELECT * FROM far; SELECT * FROM fv;"
fails trigger_on_file 'unsafe use' "INSERT INTO doc VALUES(501,'[3,1]');"
fails files_off 'is switched off' "CREATE TEMP TABLE x AS SELECT vecdb_config('files','off'); SELECT count(*) FROM far;"
fails files_off_create 'is switched off' "CREATE TEMP TABLE x AS SELECT vecdb_config('files','off'); CREATE VIRTUAL TABLE far2 USING vecdb(file='far2.vdb', v float[1]);"
if [ ! -e far2.vdb ]; then passed; else failed files_off_made_one; fi
fails config_in_a_view 'unsafe use' "CREATE VIEW cv AS SELECT vecdb_config('files','trusted'); SELECT * FROM cv;"
fi
is view '1' "CREATE TEMP TABLE x AS SELECT vecdb_config('files','trusted'); CREATE VIEW rv AS SELECT * FROM r; SELECT count(*)>0 FROM rv;"

# Space of deleted rows is used again.
setup "CREATE VIRTUAL TABLE loop USING vecdb(file='loop.vdb', id integer primary key, v float[64]);"
fill() {
  sql "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE n<2000)
INSERT INTO loop(id,v) SELECT n, vec_f32(zeroblob(256)) FROM n; DELETE FROM loop; INSERT INTO loop(loop) VALUES('optimize');" >/dev/null
}
fill; fill; fill
size() { if on_files; then wc -c <loop.vdb; else wc -c <host.db; fi; }
before=$(size)
fill; fill; fill; fill; fill; fill
after=$(size)
if [ "$after" -le $((before * 3 / 2)) ]; then passed; else failed space "$before $after"; fi

# Ties and zero vectors under cosine.
is ties_by_key '1,2,3,4' "CREATE VIRTUAL TABLE z USING vecdb(file='t.vdb', id integer primary key, v float[2] distance_metric=cosine);
INSERT INTO z(id,v) VALUES(4,'[2,0]'),(2,'[1,0]'),(3,'[3,0]'),(1,'[5,0]'),(9,'[0,0]'),(5,'[0,1]');
SELECT group_concat(id) FROM (SELECT id FROM z WHERE v MATCH '[1,0]' AND k=4);"
is zero_vector '1.0' "SELECT distance FROM z WHERE v MATCH '[1,0]' AND k=10 AND id=9;"
is zero_query '6|1.0|1.0' "SELECT count(*), min(distance), max(distance) FROM z WHERE v MATCH '[0,0]' AND k=10;"

# Commands.
is optimize '1' "INSERT INTO t(t) VALUES('optimize'); SELECT count(*)>0 FROM t WHERE v MATCH '[1,1]' AND k=3;"
is flush '' "INSERT INTO t(t) VALUES('flush');"
is rebuild '' "INSERT INTO t(t) VALUES('rebuild');"
is integrity '' "INSERT INTO t(t) VALUES('integrity-check');"
is set_ef '1' "INSERT INTO t(t) VALUES('ef=300'); SELECT value LIKE '%ef%300%' FROM vecdb_stats('t') WHERE key='schema';"
is still_opens '1' "SELECT count(*)>0 FROM t;"
fails unknown_command 'unknown command "vaccum" for table "t"; known: calibrate, detach, flush' "INSERT INTO t(t) VALUES('vaccum');"
fails unknown_option 'unknown command' "INSERT INTO t(t) VALUES('nosuch=1');"
is stats_rows '1' "SELECT (SELECT value FROM vecdb_stats('t') WHERE key='rows')=count(*) FROM t;"
is check_is_empty '' "SELECT * FROM vecdb_check('t') WHERE severity='damage';"
is check_quick '' "SELECT * FROM vecdb_check('main.t','quick') WHERE severity='damage';"
finish
