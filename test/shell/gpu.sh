#!/bin/sh
# gpu.sh -- .gpu, -gpu and .optimize device=gpu, by the reference plugin.
# shellcheck disable=SC1091,SC2154
. "$VECDB_SRC/test/shell/lib.inc"
VECDB_GPU_PLUGIN=$VECDB_BUILD/libvecdb_gpu_ref.so
export VECDB_GPU_PLUGIN
ROWS="WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r WHERE i<400)
INSERT INTO t(v) SELECT json_array(i*37%101, i*53%97) FROM r;"
"$V" x.vdb "CREATE VIRTUAL TABLE t USING vecdb(v float[2]); $ROWS" '.optimize t'
has 'status' '"plugin":"reference"' "$("$V" x.vdb .gpu 2>&1)"
has 'a search of -gpu' 'by the GPU' "$("$V" -gpu require x.vdb \
  "SELECT count(*) FROM t WHERE v MATCH '[1,1]' AND k=3 AND exact=1; SELECT value FROM vecdb_last_query WHERE key='why';" 2>&1)"
has 'a search after .gpu' 'by the GPU' "$("$V" x.vdb '.gpu require' \
  "SELECT count(*) FROM t WHERE v MATCH '[1,1]' AND k=3 AND exact=1; SELECT value FROM vecdb_last_query WHERE key='why';" 2>&1)"
has 'a bad mode' 'bad value' "$("$V" -gpu maybe x.vdb 2>&1)"
has 'a build' 'optimized "t"' "$("$V" x.vdb '.optimize t all device=gpu' 2>&1)"
has 'a note' 'note: optimize on the CPU: there is no GPU plugin' \
  "$(VECDB_GPU_PLUGIN=none "$V" x.vdb "INSERT INTO t(v) VALUES('[7,8]')" '.optimize t all device=auto' 2>&1)"
has 'a bad word' '.optimize' "$("$V" x.vdb '.optimize t device=tpu' 2>&1)"
has 'no plugin' 'there is no GPU plugin' \
  "$(VECDB_GPU_PLUGIN=none "$V" x.vdb '.optimize t all device=gpu' 2>&1)"
done_testing
