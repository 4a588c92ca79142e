#!/bin/sh
# hybrid.sh -- words and vectors together: FTS5 beside a vector table, fused by
# vecdb_rrf, re-ranked by vecdb_mmr. These are the examples of the manual.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"

Q="'[1,0,0]'"
setup "CREATE VIRTUAL TABLE vec USING vecdb(id integer primary key, v float[3]);
INSERT INTO vec(id,v) VALUES(1,'[1,0,0]'),(2,'[0.99,0.01,0]'),(3,'[0.98,0,0.02]'),(4,'[0,1,0]'),(5,'[0.5,0.5,0]'),(6,'[0,0,1]');"

# Diversity: the nearest first, then what is far from what was chosen.
M="SELECT vecdb_mmr(id, v, distance, 3, :lambda) FROM (SELECT id, v, distance FROM vec WHERE v MATCH $Q AND k=6);"
mmr() { is "$1" "$3" "$(echo "$M" | sed "s/:lambda/$2/")"; }
mmr mmr_near 1 '[1,2,3]'
mmr mmr_mixed 0.3 '[1,4,6]'
mmr mmr_far 0 '[1,4,6]'
same mmr_as_the_hint "SELECT value FROM json_each((SELECT vecdb_mmr(id, v, distance, 4, 0.4) FROM (SELECT id, v, distance FROM vec WHERE v MATCH $Q AND k=64)));" \
  "SELECT id FROM vec WHERE v MATCH $Q AND k=4 AND mmr_lambda=0.4;"
is mmr_group '[]|[]' "SELECT vecdb_mmr(id, v, 1, 3, 0.5), vecdb_mmr(id, v, 1, 0, 0.5) FROM vec WHERE id>99;"
is mmr_k_beyond '[1,2,3,5,4,6]' "SELECT vecdb_mmr(id, v, distance, 99, 1) FROM (SELECT id, v, distance FROM vec WHERE v MATCH $Q AND k=99);"
is mmr_ids '["a\"b",null,2.5]' "SELECT vecdb_mmr(i, '[1,2]', d, 9, 1.0) FROM (SELECT 'a\"b' i, 1 d UNION ALL SELECT NULL, 2 UNION ALL SELECT 2.5, 3);"
is mmr_json '1|text' "SELECT json_array(vecdb_mmr(id, v, 1, 1, 1))='[[1]]', typeof(vecdb_mmr(id, v, 1, 1, 1)) FROM vec WHERE id=1;"
is mmr_metric '[1,3]' "SELECT vecdb_mmr(i, v, d, 2, 0.0, 'cosine') FROM (SELECT 1 i, '[1,0]' v, 0 d UNION ALL SELECT 2, '[9,0]', 1 UNION ALL SELECT 3, '[0,1]', 2);"
is mmr_bits '[1,3]' "SELECT vecdb_mmr(i, vec_bit(v), d, 2, 0.0) FROM (SELECT 1 i, x'00' v, 0 d UNION ALL SELECT 2, x'01', 1 UNION ALL SELECT 3, x'ff', 2);"
is mmr_null_vector '[1]' "SELECT vecdb_mmr(i, v, 0, 9, 1) FROM (SELECT 1 i, '[1]' v UNION ALL SELECT 2, NULL);"
fails mmr_lambda 'lambda must be a number from 0 to 1' "SELECT vecdb_mmr(id, v, 1, 3, 1.5) FROM vec;"
fails mmr_dims 'a float32 vector of 1 among float32 vectors of 2' "SELECT vecdb_mmr(1, v, 1, 3, 1) FROM (SELECT '[1,2]' v UNION ALL SELECT '[1]');"
fails mmr_vector 'JSON' "SELECT vecdb_mmr(1, 'x', 1, 3, 1);"
fails mmr_unknown_metric 'no metric "cosine" for bit vectors' "SELECT vecdb_mmr(1, vec_bit(x'01'), 1, 3, 1, 'cosine');"

# Reciprocal rank fusion with full text search.
if ! sql "CREATE VIRTUAL TABLE temp.probe USING fts5(a);" | grep -q .; then
setup "CREATE VIRTUAL TABLE doc USING fts5(body);
INSERT INTO doc(rowid, body) VALUES(1,'red apples'),(2,'green pears'),(3,'red cars'),(4,'the red red rose'),(5,'blue sky'),(6,'grey sky');"
RRF="WITH near AS (SELECT id, row_number() OVER (ORDER BY distance) AS r FROM vec WHERE v MATCH $Q AND k=3),
  words AS (SELECT rowid AS id, row_number() OVER (ORDER BY rank) AS r FROM doc WHERE doc MATCH 'red' ORDER BY rank LIMIT 3)
SELECT id, round(sum(vecdb_rrf(r)), 5) AS score FROM (SELECT * FROM near UNION ALL SELECT * FROM words)
GROUP BY id ORDER BY score DESC, id LIMIT 4"
is rrf '1|0.03252
3|0.03175
4|0.01639
2|0.01613' "$RRF;"
is rrf_then_mmr '[3,4]' "SELECT vecdb_mmr(f.id, vec.v, 1 - f.score, 2, 0.5) FROM ($RRF) f JOIN vec ON vec.id=f.id WHERE f.id>=3;"
is rrf_joined '1|red apples
3|red cars' "SELECT f.id, doc.body FROM ($RRF) f JOIN doc ON doc.rowid=f.id LIMIT 2;"
fi
is rrf_values '0.0|0.0163934426229508|0.25' "SELECT vecdb_rrf(NULL), vecdb_rrf(1), vecdb_rrf(2, 2, 1);"
finish
