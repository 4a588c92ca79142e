#!/bin/sh
# packages.sh -- the embedder of the demo finds words that keep company.
# shellcheck disable=SC1091,SC2154
. "$VECDB_SRC/test/shell/lib.inc"
P=$VECDB_BUILD/obj/examples/packages
if [ ! -x "$P" ]; then echo "skip packages: not built"; exit 77; fi
paragraph() { printf 'Package: %s\nSection: %s\nInstalled-Size: %s\nDescription: %s\n\n' "$@"; }
{
  paragraph gimp graphics 20 'edit image and photo files'
  paragraph photoed graphics 10 'photo editor for image collections'
  paragraph imgview graphics 5 'image viewer'
  paragraph chessy games 7 'play chess against the computer'
  paragraph chessdb games 9 'chess game database to play with'
  paragraph cardy games 3 'card game to play'
  printf 'Package: nodesc\n\n'
} >d.txt
out=$("$P" build x.vdb <d.txt 2>&1)
has 'packages with a summary are kept' '6 packages' "$out"
q=$("$P" embed x.vdb "playing games")
run 0 x.vdb "SELECT section FROM packages WHERE v MATCH '$q' AND k=3"
is 'games are near games' 'games
games
games' "$out"
run 0 x.vdb "SELECT name FROM packages WHERE v MATCH '$q' AND k=3 AND section='graphics' AND kib<=10"
is 'a filter applies before the cut' 2 "$(printf '%s\n' "$out" | wc -l | tr -d ' ')"
out=$("$P" embed x.vdb "zebra" 2>&1); code=$?
is 'unknown words are an error' 1 "$code"
run 0 x.vdb .check
is 'the file is sound' ok "$out"
done_testing
