#!/bin/sh
# newer.sh -- the other scripts once more, on the current SQLite that apsw
# brings. Needs the virtual environment that tools/test-venv makes.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
venv=${VECDB_VENV-$VECDB_BUILD/venv}
if ! "$venv/bin/python" -c 'import apsw' 2>/dev/null; then
  echo "skip: no newer SQLite; \"tools/test-venv BUILD\" installs one"
  exit 77
fi
printf '#!/bin/sh\nexec "%s" "%s/tools/sqlite3-apsw" "$@"\n' \
  "$venv/bin/python" "$VECDB_SRC" >sqlite3
chmod +x sqlite3
SQLITE3=$PWD/sqlite3
export SQLITE3
for storage in host file; do
  export VECDB_STORAGE=$storage
  for script in knn filter join write functions txn host sqlite_vec vec0; do
    [ $storage = host ] || case $script in host|sqlite_vec|vec0) continue ;; esac
    out=$(sh "$VECDB_SRC/test/sql/$script.sh" 2>&1)
    rc=$?
    if [ "$rc" -eq 0 ] || [ "$rc" -eq 77 ]; then passed
    else failed "$script, $storage" "$out"; fi
  done
done
rm -f host.db
is integrity_check 'ok' "CREATE VIRTUAL TABLE t USING vecdb(v float[2]); INSERT INTO t(v) VALUES('[1,2]'); PRAGMA integrity_check;"
out=$(sql "UPDATE t_pages SET data=zeroblob(4032) WHERE pgno=5; CREATE TABLE reread(x); PRAGMA integrity_check;")
case $out in *'main.t'*checksum*) passed ;; *) failed integrity_damage "$out" ;; esac
finish
