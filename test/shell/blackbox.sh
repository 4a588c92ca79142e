#!/bin/sh
# blackbox.sh -- the shipped shell under strace: in which order it writes and
# syncs, and what is left when a system call fails or it is killed at one.
#
# Nothing is instrumented. The script that the shell runs prints "done N" after
# commit N; whatever happens, a shell without strace must then find a sound
# file with N or N+1 rows.
# shellcheck disable=SC1091,SC2154
. "$VECDB_SRC/test/shell/lib.inc"

if ! command -v strace >/dev/null 2>&1; then
  echo 'skip blackbox: strace is not installed'
  exit 77
fi
if ! strace -o /dev/null true 2>/dev/null; then
  echo 'skip blackbox: ptrace is not allowed here'
  exit 77
fi

{
  echo 'CREATE VIRTUAL TABLE t USING vecdb(v float[4], n int);'
  echo '.print done 0'
  for i in 1 2 3 4; do
    echo "INSERT INTO t(v,n) VALUES('[1,2,3,$i]',$i);"
    echo ".print done $i"
    [ $i -ne 2 ] || echo '.checkpoint full'
  done
  echo "INSERT INTO t(t) VALUES('optimize');"
  echo '.checkpoint truncate'
} >life.sql

# ---- order -----------------------------------------------------------------
# B1  a header slot is written: the log has no unsynced write
# B2  .. and neither has the main file
# B3  a commit is acknowledged: the log has no unsynced write
# B4  the log is cut or removed: the main file has no unsynced write
rm -f x.vdb*
strace -f -y -o trace \
  -e trace=pwrite64,write,fdatasync,fsync,ftruncate,unlink,rename \
  "$V" -batch -bail x.vdb <life.sql >out 2>&1
verdict=$(awk '
  { main = index($0, "/x.vdb>"); log_ = index($0, "/x.vdb-wal>") }
  / pwrite64\(/ && log_  { n_log++; seen_log = 1 }
  / pwrite64\(/ && main {
    if( seen_log && $0 ~ /, 128, (0|4096)\) = 128$/ ){
      n_header++
      if( n_log )  print "B1: line " NR
      if( n_main ) print "B2: line " NR
    }
    n_main++
  }
  / f(data)?sync\(/ && log_ { n_log = 0 }
  / f(data)?sync\(/ && main { n_main = 0 }
  / write\(1</ && /done/ { n_ack++; if( n_log ) print "B3: line " NR }
  (/ ftruncate\(/ && log_) || / unlink\(.*x\.vdb-wal"/ {
    n_cut++
    if( n_main ) print "B4: line " NR
  }
  END { if( n_header<4 || n_ack<5 || n_cut<1 )
          print "nothing seen: " n_header+0 " " n_ack+0 " " n_cut+0 }' trace)
is 'writes and syncs are in order' '' "$verdict"

# ---- failures at each call ---------------------------------------------------
n_injected=0
# inject CALL WHAT N: one run; false when the call was not reached.
inject() {
  rm -f x.vdb* trace
  strace -f -o trace -e trace="$1" -e "inject=$1:$2:when=$3" \
    "$V" -batch -bail x.vdb <life.sql >out 2>&1
  grep -q 'INJECTED\|killed by SIGKILL' trace || return 1
  n_injected=$((n_injected + 1))
  n_done=$(sed -n 's/^done //p' out | tail -n 1)
  rows=$("$V" -batch x.vdb "SELECT count(*) FROM t" 2>&1)
  check=$("$V" -batch x.vdb .check 2>&1 | sed 's/ checked, .*/ checked/' |
          head -n 1)
  if [ -z "$n_done" ]; then            # not even the table need be there
    case $rows in
      0|1|*'no such table'*) n_pass=$((n_pass + 1)) ;;
      *) is "$1 $2 $3: rows" 'none' "$rows" ;;
    esac
  elif [ "$rows" = "$n_done" ] || [ "$rows" = $((n_done + 1)) ]; then
    n_pass=$((n_pass + 1))
  else
    is "$1 $2 $3: rows" "$n_done or one more" "$rows"
  fi
  is "$1 $2 $3: check" ok "$check"
}

stride=7
[ "${VECDB_LAB_SCALE:-1}" -lt 10 ] || stride=3
[ "${VECDB_LAB_SCALE:-1}" -lt 100 ] || stride=1
first=1
for call in pwrite64 fdatasync ftruncate fallocate unlink; do
  for what in error=EIO error=ENOSPC signal=SIGKILL; do
    n=$first
    while inject $call $what $n; do n=$((n + stride)); done
    first=$((first % stride + 1))      # not always the same ones
  done
done
is 'something was injected' yes "$([ $n_injected -gt 5 ] && echo yes)"
echo "figure blackbox-injections $n_injected"
done_testing
