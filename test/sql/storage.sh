#!/bin/sh
# storage.sh -- what holds for tables in files holds for tables stored in their
# database: the other scripts, with every table made without file=.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
export VECDB_STORAGE=host
for script in knn filter join plan write functions errors data txn graph; do
  out=$(sh "$VECDB_SRC/test/sql/$script.sh" 2>&1)
  rc=$?
  if [ "$rc" -eq 0 ] || [ "$rc" -eq 77 ]; then passed
  else failed "$script" "$out"; fi
done
finish
