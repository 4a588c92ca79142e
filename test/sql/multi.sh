#!/bin/sh
# multi.sh -- several vector columns in one search; everything within a distance,
# page by page.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
setup "CREATE VIRTUAL TABLE g USING vecdb(file='g.vdb', id integer primary key,
  a float[3], b float[2] distance_metric=cosine, i int);
BEGIN; WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r WHERE i<400)
INSERT INTO g(id, a, b, i) SELECT i, json_array(i*37%101, i*53%97, i*71%89),
  json_array(1+i*29%83, 1+i*31%79), i%10 FROM r; COMMIT;"
A="'[50,50,40]'" B="'[3,1]'"
SUM="0.5*vec_distance_l2(a, $A) + 30*vec_distance_cosine(b, $B)"
PARTS='"parts":[{"column":"a","query":[50,50,40],"weight":0.5},{"column":"b","query":"[3,1]","weight":30}]'
M="SELECT id, printf('%.3f', distance) FROM vecdb_multi('g', '{\"k\":7, $PARTS"
same nearest "$M}');" \
  "SELECT id, printf('%.3f', $SUM) FROM g ORDER BY $SUM, id LIMIT 7;"
same filtered "$M, \"filter\":\"i IN (2,3)\"}');" \
  "SELECT id, printf('%.3f', $SUM) FROM g WHERE i IN (2,3) ORDER BY $SUM, id LIMIT 7;"
same exact "$M, \"exact\":1}');" "$M}');"
same joined "SELECT m.id FROM vecdb_multi('g', '{\"k\":7, $PARTS}') m JOIN g ON g.id = m.id ORDER BY m.distance;" \
  "SELECT id FROM g ORDER BY $SUM, id LIMIT 7;"
same weight_one "SELECT id FROM vecdb_multi('g', '{\"k\":3,\"parts\":[{\"column\":\"a\",\"query\":[1,2,3]}]}');" \
  "SELECT id FROM g WHERE a MATCH '[1,2,3]' AND k = 3;"
is fewer 40 "SELECT count(*) FROM vecdb_multi('g', '{\"k\":100, $PARTS, \"filter\":\"i=3\"}');"
setup "INSERT INTO g(g) VALUES('rebuild');"
same by_graphs "$M}');" "$M, \"exact\":1}');"
fails unknown_key 'unknown key "kk"' "SELECT * FROM vecdb_multi('g', '{\"kk\":1, $PARTS}');"
fails unknown_part_key 'unknown key "w" of a part' \
  "SELECT * FROM vecdb_multi('g', '{\"parts\":[{\"column\":\"a\",\"query\":[1,2,3],\"w\":1}]}');"
fails no_column 'no column "c"' "SELECT * FROM vecdb_multi('g', '{\"parts\":[{\"column\":\"c\",\"query\":[1]}]}');"
fails no_vector 'column "i" is no vector' "SELECT * FROM vecdb_multi('g', '{\"parts\":[{\"column\":\"i\",\"query\":[1]}]}');"
fails bad_query 'query of "a"' "SELECT * FROM vecdb_multi('g', '{\"parts\":[{\"column\":\"a\",\"query\":\"[1,\"}]}');"
fails dimensions 'has 3 dimensions, not 2' "SELECT * FROM vecdb_multi('g', '{\"parts\":[{\"column\":\"a\",\"query\":[1,2]}]}');"
fails no_parts '0 parts' "SELECT * FROM vecdb_multi('g', '{\"k\":3}');"
fails bad_k 'k is 0' "SELECT * FROM vecdb_multi('g', '{\"k\":0, $PARTS}');"
fails k_no_whole_number 'k is 2.5' "SELECT * FROM vecdb_multi('g', '{\"k\":2.5, $PARTS}');"
fails ef_no_number 'ef is x' "SELECT * FROM vecdb_multi('g', '{\"ef\":\"x\", $PARTS}');"
fails weight_no_number 'weight is "x", expected a number' \
  "SELECT * FROM vecdb_multi('g', '{\"parts\":[{\"column\":\"a\",\"query\":[1,2,3],\"weight\":\"x\"}]}');"
fails no_argument 'must be a JSON object' "SELECT * FROM vecdb_multi('g', NULL);"
fails no_object 'must be a JSON object' "SELECT * FROM vecdb_multi('g', '[]');"
fails parts_no_array 'must be an array' "SELECT * FROM vecdb_multi('g', '{\"parts\":{\"column\":\"a\"}}');"
fails no_json 'malformed JSON' "SELECT * FROM vecdb_multi('g', '{');"

# Everything within a distance, with a graph and without; a page is what comes
# behind the last distance, or an offset. Ties at the cut: no row twice.
D="vec_distance_l2(a, $A)"
W="SELECT id FROM g WHERE a MATCH $A AND distance"
same within "$W <= 30;" "SELECT id FROM g WHERE $D <= 30 ORDER BY $D, id;"
same within_open "$W < 30 AND i<5;" "SELECT id FROM g WHERE $D < 30 AND i<5 ORDER BY $D, id;"
same ring "$W BETWEEN 20 AND 30;" "SELECT id FROM g WHERE $D BETWEEN 20 AND 30 ORDER BY $D, id;"
same offset "$W <= 40 LIMIT 5 OFFSET 10;" "SELECT id FROM g WHERE $D <= 40 ORDER BY $D, id LIMIT 5 OFFSET 10;"
same knn_offset "SELECT id FROM g WHERE a MATCH $A AND exact = 1 ORDER BY distance LIMIT 5 OFFSET 20;" \
  "SELECT id FROM g ORDER BY $D, id LIMIT 5 OFFSET 20;"
same next_page "$W > (SELECT $D FROM g ORDER BY $D, id LIMIT 1 OFFSET 9) AND k = 6;" \
  "SELECT id FROM g WHERE $D > (SELECT $D FROM g ORDER BY $D, id LIMIT 1 OFFSET 9) ORDER BY $D, id LIMIT 6;"
same all_pages "WITH RECURSIVE p(n, last) AS (SELECT 0, -1.0 UNION ALL
  SELECT n+1, (SELECT max(distance) FROM (SELECT distance FROM g WHERE a MATCH $A AND k = 17 AND distance > last))
  FROM p WHERE last IS NOT NULL)
SELECT count(*) FROM p WHERE last IS NOT NULL AND last = (SELECT max($D) FROM g);" "SELECT 1;"
same function "SELECT id FROM vecdb_within('g', $A, 30);" "$W <= 30;"
is nothing '' "$W < 0;"
is all 400 "SELECT count(*) FROM g WHERE a MATCH $A AND distance < 1e30;"
finish
