#!/bin/sh
# gpu.sh -- GPUs through SQL: settings, status, builds. By the reference plugin,
# or the one that $VECDB_GPU_PLUGIN names.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
: "${VECDB_GPU_PLUGIN:=$VECDB_BUILD/libvecdb_gpu_ref.so}"
export VECDB_GPU_PLUGIN
ROWS="WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r WHERE i<1000)
INSERT INTO g(id, v) SELECT i, json_array(i*37%101, i*53%97, i*71%89, i*29%83) FROM r;"
setup "CREATE VIRTUAL TABLE g USING vecdb(file='g.vdb', id integer primary key, v float[4]);
BEGIN; $ROWS COMMIT; INSERT INTO g(g) VALUES('flush');"
M="SELECT id, distance FROM g WHERE v MATCH '[50,50,40,40]' AND k=5 AND exact=1"
on="INSERT INTO g(g) VALUES('gpu=require');"
told() { sql "$1 SELECT key || '=' || value FROM vecdb_last_query;" | grep "^why="; }
expect() {
  if [ "$3" = "$2" ]; then passed; else failed "$1" "expected $2" "found    $3"; fi
}
case $(sql 'SELECT vecdb_gpu_status();') in
  *'"status":"OK"'*) passed ;;
  *'"status":"NO_DEVICE"'*) echo 'skip: no device'; exit 77 ;;
  *) failed status "$(sql 'SELECT vecdb_gpu_status();')" ;;
esac
expect asked 'why=by the GPU' "$(told "$on $M;")"
expect not_asked 'why=exact is asked for' "$(told "$M;")"
expect same_rows "$(sql "$M;")" "$(sql "$on $M;")"
is config_default default "SELECT vecdb_config('gpu');"
is config_set require "SELECT vecdb_config('gpu', 'require');"
expect config_asks 'why=by the GPU' "$(sql "CREATE TEMP TABLE x AS SELECT vecdb_config('gpu','require'); $M;
  SELECT key || '=' || value FROM vecdb_last_query;" | grep ^why=)"
fails config_bad 'gpu must be off, auto or require, found "on"' "SELECT vecdb_config('gpu', 'on');"
fails command_bad 'gpu must be off, auto or require, found "on"' "INSERT INTO g(g) VALUES('gpu=on');"
fails word_bad 'optimize takes ms=N, device=cpu, gpu or auto, and fallback=cpu, found "device=tpu"' "INSERT INTO g(g) VALUES('optimize device=tpu');"
setup "INSERT INTO g(g) VALUES('rebuild device=gpu');"
is built 1000 "SELECT value FROM vecdb_stats('g') WHERE key='graph_rows';"
is sound '' "SELECT * FROM vecdb_check('g');"
VECDB_GPU_PLUGIN=none
fails no_plugin 'optimize: device=gpu: there is no GPU plugin: VECDB_GPU_PLUGIN is none (NO_PLUGIN)' "INSERT INTO g(g) VALUES('rebuild device=gpu');"
fails no_plugin_search 'there is no GPU plugin' "$on $M;"
is auto 1000 "INSERT INTO g(g) VALUES('rebuild device=auto');
SELECT value FROM vecdb_stats('g') WHERE key='graph_rows';"
is fallback 1000 "INSERT INTO g(g) VALUES('rebuild device=gpu fallback=cpu');
SELECT value FROM vecdb_stats('g') WHERE key='graph_rows';"
finish
