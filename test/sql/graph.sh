#!/bin/sh
# graph.sh -- graphs through SQL: plans, hints, what is told of a search.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
ROWS="WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r WHERE i<3000)
INSERT INTO g(id, v, i) SELECT i, json_array(i*37%101, i*53%97, i*71%89, i*29%83), i%10 FROM r;"
setup "CREATE VIRTUAL TABLE g USING vecdb(file='g.vdb', id integer primary key, v float[4] index=graph, i int);
BEGIN; $ROWS COMMIT;"
M="SELECT id FROM g WHERE v MATCH '[50,50,40,40]' AND k=5"
plan() { sql "EXPLAIN QUERY PLAN $1;" | sed -n 's/.*VIRTUAL TABLE INDEX //p'; }
told() { sql "$1; SELECT key || '=' || value FROM vecdb_last_query;" | grep "^$2="; }
expect() {
  if [ "$3" = "$2" ]; then passed; else failed "$1" "expected $2" "found    $3"; fi
}
expect flat_before '3:KNN(v) FLAT' "$(plan "$M")"
expect exact_before 'why=no graph' "$(told "$M" why)"
setup "INSERT INTO g(g) VALUES('rebuild');"
expect graph_after '3:KNN(v) GRAPH' "$(plan "$M")"
expect graph_filter '3:KNN(v) GRAPH FILTER(i<?)' "$(plan "$M AND i<9")"
expect exact_hint '3:KNN(v) EXACT EXACT(?)' "$(plan "$M AND exact=1")"
W="SELECT id FROM g WHERE v MATCH '[50,50,40,40]' AND distance <= 12"
expect within_exact '4:WITHIN(v) EXACT DISTANCE(<=?)' "$(plan "$W")"
expect within_graph '4:WITHIN(v) GRAPH EF(?) DISTANCE(<=?)' "$(plan "$W AND ef=100")"
expect within_recall '4:WITHIN(v) GRAPH RECALL(?) DISTANCE(<=?)' "$(plan "$W AND recall=0.9")"
expect within_exact_hint '4:WITHIN(v) EXACT EF(?) EXACT(?) DISTANCE(<=?)' "$(plan "$W AND ef=9 AND exact=1")"
expect within_told 'search=graph' "$(told "$W AND distance<=5 AND ef=20" search)"
expect within_exact_told 'search=exact' "$(told "$W" search)"
same within "$W AND ef=400;" "$W;"
same within_filter "$W AND ef=400 AND i<7;" "$W AND i<7;"
same within_function "SELECT id FROM vecdb_within('g', '[50,50,40,40]', 12, '{\"ef\":400}');" "$W;"
expect ef_told 'ef=60' "$(told "$M AND ef=60" ef)"
expect search_told 'search=graph' "$(told "$M AND ef=60" search)"
expect few_told 'why=few rows qualify' "$(told "$M AND i=3" why)"
expect exact_told 'why=exact is asked for' "$(told "$M AND exact=1" why)"
expect recall_told 'search=exact' "$(told "$M AND recall=1.0" search)"
default=$(told "$M" ef)
setup "INSERT INTO g(g) VALUES('ef=77');"
expect ef_kept 'ef=77' "$(told "$M" ef)"
setup "INSERT INTO g(g) VALUES('ef=auto');"
expect ef_taken_back "$default" "$(told "$M" ef)"
setup "INSERT INTO g(g) VALUES('rebuild ms=1');"
expect no_time_for_it 'graph_rows=3000' "$(sql "SELECT key || '=' || value FROM vecdb_stats('g') WHERE key='graph_rows';")"
setup "INSERT INTO g(g, args) VALUES('rebuild', 'ms=60000 device=cpu');"
expect stats 'graph_rows=3000' "$(sql "SELECT key || '=' || value FROM vecdb_stats('g') WHERE key='graph_rows';")"
same by_graph "$M AND ef=200;" "$M AND exact=1;"
same filtered "$M AND ef=140 AND i<9;" "$M AND exact=1 AND i<9;"
is fresh_row 7000 "INSERT INTO g(id,v,i) VALUES(7000,'[50,50,40,40]',3);
SELECT id FROM g WHERE v MATCH '[50,50,40,40]' AND k=1 AND ef=50;"
is rolled_back 3000 "BEGIN; DELETE FROM g WHERE id=7000; INSERT INTO g(g) VALUES('rebuild');
SELECT value FROM vecdb_stats('g') WHERE key='graph_rows'; ROLLBACK;"
is kept 7000 "SELECT id FROM g WHERE v MATCH '[50,50,40,40]' AND k=1 AND ef=50;"
expect graph_still '3:KNN(v) GRAPH' "$(plan "$M")"
expect one_graph 'graphs=1' "$(sql "SELECT key || '=' || value FROM vecdb_stats('g') WHERE key='graphs';")"
expect graphs_in_little_memory 'graphs=2' "$(sql "CREATE TEMP TABLE x AS SELECT vecdb_config('build_bytes', 4000000);
INSERT INTO g(g) VALUES('rebuild'); SELECT key || '=' || value FROM vecdb_stats('g') WHERE key='graphs';")"
same by_two_graphs "$M AND ef=200;" "$M AND exact=1;"
fails too_little_memory 'has room for 457 rows, expected 1024 at least; raise it' "CREATE TEMP TABLE x AS SELECT vecdb_config('build_bytes', 1048576);
INSERT INTO g(g) VALUES('rebuild');"
is build_bytes_read '1048576|0' "SELECT vecdb_config('build_bytes', 1048576), vecdb_config('build_bytes', 0);"
fails build_bytes_small 'build_bytes must be 0 or at least 1048576' "SELECT vecdb_config('build_bytes', 5);"
is twice_in_a_statement 3001 "INSERT INTO g(g) VALUES('rebuild'),('optimize');
SELECT value FROM vecdb_stats('g') WHERE key='graph_rows';"
is with_rows_in_a_statement 3002 "INSERT INTO g(g,id,v,i) VALUES(NULL,7001,'[50,50,40,41]',3),('rebuild',NULL,NULL,NULL);
SELECT count(*) FROM g;"
is in_the_transaction 3002 "BEGIN; INSERT INTO g(id,v,i) VALUES(7002,'[50,50,40,42]',3);
INSERT INTO g(g) VALUES('rebuild'); ROLLBACK; SELECT count(*) FROM g;"
setup "CREATE VIRTUAL TABLE b USING vecdb(file='g.vdb', id integer primary key, v bit[64]);
BEGIN; WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r WHERE i<8000)
INSERT INTO b(id, v) SELECT i, vec_bit(CAST(printf('%08d', i*7919*97 % 100000007) AS BLOB)) FROM r; COMMIT;
INSERT INTO b(b) VALUES('rebuild');"
B="SELECT id, distance FROM b WHERE v MATCH vec_bit(CAST('00274500' AS BLOB))"
expect bits_plan '3:KNN(v) GRAPH EF(?)' "$(plan "$B AND k=5 AND ef=9")"
expect bits_told 'search=graph' "$(told "$B AND k=5 AND ef=9" search)"
same bits_by_graph "$B AND k=5 AND ef=100;" "$B AND k=5 AND exact=1;"
same bits_within "$B AND distance<=4 AND ef=100;" "$B AND distance<=4;"
# Streams: what a small search missed comes after all others.
setup "CREATE VIRTUAL TABLE h USING vecdb(file='g.vdb', id integer primary key, v float[24]);
CREATE VIRTUAL TABLE x USING vecdb(file='g.vdb', id text primary key, v float[24]);
BEGIN; WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r WHERE i<6000)
INSERT INTO h(id, v) SELECT i, (SELECT json_group_array(((i*(2*value+3)*7919 + i*i%1009*value*31) % 997)*0.5) FROM generate_series(1,24)) FROM r;
INSERT INTO x(id, v) SELECT 'k' || id, v FROM h; COMMIT; INSERT INTO h(h) VALUES('rebuild'); INSERT INTO x(x) VALUES('rebuild');"
H="v MATCH (SELECT json_group_array(250) FROM generate_series(1,24))"
is stream_has_all '6000|6000' "SELECT count(*), count(DISTINCT id) FROM h WHERE $H AND ef=1;"
is stream_has_all_text '6000|6000' "SELECT count(*), count(DISTINCT id) FROM x WHERE $H AND ef=1;"
is stream_filtered '4901|4901' "SELECT count(*), count(DISTINCT id) FROM h WHERE $H AND ef=1 AND id BETWEEN 100 AND 5000;"
is stream_one_step_back 1 "SELECT sum(d<p) FROM (SELECT distance AS d, lag(distance) OVER () AS p FROM h WHERE $H AND ef=1);"
is stream_exact 0 "SELECT sum(d<p) FROM (SELECT distance AS d, lag(distance) OVER () AS p FROM h WHERE $H);"
# Equal distances go by the key, rows that came after the graph included.
setup "CREATE VIRTUAL TABLE tie USING vecdb(file='g.vdb', id integer primary key, v float[2]);
WITH RECURSIVE r(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM r WHERE i<2999)
INSERT INTO tie SELECT 4000-i, vec_f32('['||((3000-i)/2)||',0]') FROM r;
INSERT INTO tie(tie) VALUES('rebuild'); INSERT INTO tie VALUES(5001,'[1,0]'),(5000,'[1,0]');"
is ties_beside_a_graph '1001,1002,1003,5000,5001|graph' "SELECT group_concat(id), (SELECT value FROM vecdb_last_query WHERE key='search')
  FROM (SELECT id FROM tie WHERE v MATCH '[0,0]' AND k=5 AND ef=20);"
is ties_of_sums '1001,1002,1003,5000,5001' "SELECT group_concat(id)
  FROM vecdb_multi('tie', '{\"k\":5, \"parts\":[{\"column\":\"v\", \"query\":[0,0]}]}');"
is sound '' "SELECT * FROM vecdb_check('g');"
finish
