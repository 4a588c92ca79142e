#!/bin/sh
# recall.sh -- recall measured, kept and tuned.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"

# 2,200 rows of 16 dimensions from a small generator, with a graph.
N=2200
setup "CREATE VIRTUAL TABLE t USING vecdb(file='t.vdb', id integer primary key, v float[16], w float[2] index=flat);
WITH RECURSIVE r(i, x) AS (SELECT 1, 12345 UNION ALL SELECT i+1, (x*1103515245+12345) % 2147483648 FROM r WHERE i<16*$N)
INSERT INTO t(id, v, w) SELECT 1+(i-1)/16, '[' || group_concat(x % 1000) || ']', '[' || (i/16 % 50) || ',1]' FROM r GROUP BY (i-1)/16;
INSERT INTO t(t) VALUES('rebuild');"

R="SELECT filter_bucket, k, n, recall>0.8 AND recall<=1, lower<=recall AND recall<=upper AND lower>0.7, ms>0 FROM vecdb_recall"
is recall_has_an_interval 'none|10|100|1|1|1' "$R('t');"
is recall_of_other_k 'none|100|20|1|1|1' "$R('t', 'v', 100, 20);"
is recall_of_a_flat_column_is_one '0|1.0|1.0' "SELECT ef, recall, upper FROM vecdb_recall('t','w');"
is recall_follows_from_the_seed 1 "SELECT (SELECT recall FROM vecdb_recall('t','v',10,30,5))=(SELECT recall FROM vecdb_recall('t','v',10,30,5));"
is effort_shows '1' "SELECT (SELECT ef FROM vecdb_recall('t'))>=10;"
is lower_ef_lower_recall '1' "INSERT INTO t(t) VALUES('ef=10');
CREATE TEMP TABLE a AS SELECT recall FROM vecdb_recall('t','v',10,100); INSERT INTO t(t) VALUES('ef=400');
SELECT (SELECT recall FROM a)<(SELECT recall FROM vecdb_recall('t','v',10,100));"
is duplicates_count_as_found '1.0' "CREATE VIRTUAL TABLE d USING vecdb(file='t.vdb', v float[1]);
INSERT INTO d(v) SELECT '[1]' FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3), (SELECT 1 UNION SELECT 2 UNION SELECT 3);
SELECT recall FROM vecdb_recall('d','v',3);"
is text_keys 'none|9|1.0' "CREATE VIRTUAL TABLE x USING vecdb(file='t.vdb', id text primary key, v float[1]);
INSERT INTO x(id,v) SELECT 'k'||rowid, v FROM d; SELECT filter_bucket, n, recall FROM vecdb_recall('x');"
is an_empty_table_has_none '' "CREATE VIRTUAL TABLE e USING vecdb(file='t.vdb', v float[1]); SELECT * FROM vecdb_recall('e');"
fails no_such_column 'no vector column "nosuch"' "SELECT * FROM vecdb_recall('t','nosuch');"
fails no_such_table 'no such table' "SELECT * FROM vecdb_recall('nosuch');"
fails k_is_checked 'k is 0, expected 1 to 10000' "SELECT * FROM vecdb_recall('t','v',0);"
fails samples_are_checked 'samples is -1' "SELECT * FROM vecdb_recall('t','v',10,-1);"

is nothing_is_kept_yet 0 "SELECT count(*) FROM vecdb_audits('t');"
is calibrate_keeps 'v|10|100|1|1|0' "INSERT INTO t(t) VALUES('calibrate');
SELECT \"column\", k, n, recall>0.8, abs(at-strftime('%s','now'))<600, changes FROM vecdb_audits('t') WHERE \"column\"='v';"
is a_column_each 2 "SELECT count(*) FROM vecdb_audits('t');"
is drift_is_counted 2 "DELETE FROM t WHERE id=1; DELETE FROM t WHERE id=2; SELECT changes FROM vecdb_audits('t') LIMIT 1;"
is calibrate_rolls_back 2 "BEGIN; INSERT INTO t(t) VALUES('calibrate'); ROLLBACK; SELECT count(*) FROM vecdb_audits('t');"
is the_file_is_sound '' "SELECT * FROM vecdb_check('t') WHERE severity='damage';"

is tune_measures_layouts 'table|1|1
trial|5|1' "SELECT kind, count(*), min(recall)>=0.9 FROM vecdb_tune('t', 0.9) WHERE ef IS NOT NULL GROUP BY 1;"
fails tune_wants_a_recall 'target is 2' "SELECT * FROM vecdb_tune('t', 2);"
fails tune_command_wants_a_recall 'target is 7' "INSERT INTO t(t) VALUES('tune=7');"
is tune_sets_the_effort '1' "INSERT INTO t(t) VALUES('tune=0.9'); SELECT value LIKE '% ef=%' FROM vecdb_stats('t') WHERE key='schema';"
is tune_without_a_graph_leaves_the_effort 'v float[1]' "CREATE VIRTUAL TABLE few USING vecdb(v float[1]);
INSERT INTO few(v) VALUES('[1]'), ('[2]'); INSERT INTO few(few) VALUES('tune');
SELECT value FROM vecdb_stats('few') WHERE key='schema';"
is what_tune_set_reaches_the_target '1' "SELECT recall>=0.85 FROM vecdb_recall('t');"

# ---- queries that were asked -------------------------------------------------
Q="SELECT count(*) FROM t WHERE v MATCH (SELECT v FROM t WHERE id=9) AND k=10"
is nothing_is_captured_unasked '10
0' "$Q; SELECT count(*) FROM vecdb_queries('t');"
is capture_keeps_what_is_asked '10
10
10|1
10|0' "INSERT INTO t(t) VALUES('capture=3'); $Q; $Q AND id > 5 AND id < 100000;
SELECT k, filter IS NULL FROM vecdb_queries('t');"
is a_reader_keeps_its_own 0 "SELECT count(*) FROM vecdb_queries('t');"
is the_next_writer_takes_them_along '10
10
2' "$Q; $Q AND id > 5; DELETE FROM t WHERE id=3; SELECT count(*) FROM vecdb_queries('t');"
is a_rollback_leaves_them_in_memory '10
3' "BEGIN; $Q; DELETE FROM t WHERE id=5; ROLLBACK; SELECT count(*) FROM vecdb_queries('t');"
is and_not_in_the_file 2 "SELECT count(*) FROM vecdb_queries('t');"
is filters_hold_their_values '10
"id">=5 AND (id <> 7)' "$Q AND id >= 5 AND filter='id <> 7'; SELECT filter FROM vecdb_queries('t') WHERE filter LIKE '%7%';"
is the_ring_is_a_ring 3 "INSERT INTO t(t) VALUES('capture=3'); CREATE TEMP TABLE x AS
SELECT n.value, (SELECT count(*) FROM t WHERE v MATCH (SELECT v FROM t WHERE id=n.value) AND k=2) c FROM json_each('[11,12,13,14,15]') n;
DELETE FROM t WHERE id=4; SELECT count(*) FROM vecdb_queries('t');"
is it_is_in_the_file 3 "SELECT count(*) FROM vecdb_queries('t');"
is other_columns_are_kept_too 'v|10
w|4
w|5' "INSERT INTO t(t) VALUES('capture=3'); CREATE TEMP TABLE y AS
SELECT (SELECT count(*) FROM t WHERE v MATCH (SELECT v FROM t WHERE id=9) AND k=10),
(SELECT count(*) FROM t WHERE w MATCH '[1,1]' AND k=4), (SELECT count(*) FROM t WHERE w MATCH '[2,1]' AND k=5);
DELETE FROM t WHERE id=6; SELECT \"column\", k FROM vecdb_queries('t');"
is and_in_the_file 2 "SELECT count(*) FROM vecdb_queries('t') WHERE \"column\"='w';"
is recall_of_another_column 'captured|2|1.0' "SELECT filter_bucket, n, recall FROM vecdb_recall('t', 'w') WHERE filter_bucket LIKE 'captured%';"
is recall_of_captured 'captured|1|1' "SELECT filter_bucket, n, recall>0.5 FROM vecdb_recall('t') WHERE filter_bucket LIKE 'captured%';"
is capture_off '0|0' "INSERT INTO t(t) VALUES('capture=0'); SELECT count(*), (SELECT count(*) FROM vecdb_recall('t') WHERE filter_bucket LIKE 'captured%') FROM vecdb_queries('t');"
fails capture_is_checked 'capture= takes a number of queries' "INSERT INTO t(t) VALUES('capture=many');"
is the_file_is_still_sound '' "SELECT * FROM vecdb_check('t') WHERE severity='damage';"
finish
