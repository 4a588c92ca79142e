#!/bin/sh
# extension.sh -- vecdb inside SQLite: load the extension, create a virtual
# table, join it with an ordinary one.
#
#   extension.sh [DIRECTORY WITH vecdb.so]       needs the sqlite3 program
set -e
lib=${1:-$(pkg-config --variable=libdir vecdb)/vecdb}/vecdb

dir=$(mktemp -d)
trap 'rm -rf "$dir"' 0

sqlite3 "$dir/notes.db" <<SQL
.load $lib
.mode box

CREATE TABLE author(id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO author VALUES (1,'Ada'), (2,'Bob');

CREATE VIRTUAL TABLE note USING vecdb(
  id integer primary key,
  embedding float[3] distance_metric=cosine,
  author int,
  year int,
  +body text            -- add file='notes.vdb' to share it with C programs
);
INSERT INTO note(id, embedding, author, year, body) VALUES
  (1, '[1, 0, 0]',     1, 2021, 'on engines'),
  (2, '[0.9, 0.1, 0]', 2, 2022, 'on machines'),
  (3, '[0, 1, 0]',     1, 2023, 'on poetry'),
  (4, '[0, 0.8, 0.2]', 2, 2024, 'on songs');

-- the two notes nearest to a vector, with their authors
SELECT note.id, body, name, round(distance, 4) AS distance
  FROM note JOIN author ON author.id = note.author
 WHERE embedding MATCH '[1, 0.2, 0]' AND k = 2
 ORDER BY distance;

-- among those since 2022 only: the filter comes before the two are counted
SELECT id, body, year FROM note
 WHERE embedding MATCH '[1, 0.2, 0]' AND k = 2 AND year >= 2022
 ORDER BY distance;
SQL
