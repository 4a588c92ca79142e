#!/bin/sh
# layers.sh -- fail when a file includes a header it may not see.
#
# Usage: layers.sh SRCDIR
#
# A file includes headers of lower ranks and of its own folder, always with
# the folder in the path. Folders of one rank are peers and never see each
# other. Headers named x_int.h are private to their folder. Users (sql, shell,
# examples) see nothing of ours but "vecdb.h", which everybody may include: it
# is the vocabulary of result codes. A benchmark may look at any layer, as it
# measures kernels and indexes by themselves too.
cd "$1" || exit 2

rank() {
  case $1 in
    util)      echo 0 ;;
    simd)      echo 10 ;;
    pager|gpu) echo 20 ;;
    index)     echo 30 ;;
    store)     echo 40 ;;
    vecdb.c)   echo 45 ;;
    sql|shell|examples) echo 50 ;;
    bench)     echo 60 ;;
    *)         echo 99 ;;
  esac
}

bad=0
complain() { echo "$*"; bad=1; }

# check FILE HEADER: FILE includes "HEADER".
check() {
  me=${1%%/*}
  case $2 in
    vecdb.h|config.h) return ;;
    */*) h=${2%%/*} ;;
    *)
      # Users keep their own headers beside them; layers name the folder.
      [ "$(rank "$me")" -ge 50 ] && [ -f "$me/$2" ] && return
      complain "$1: \"$2\" should be named with its folder"
      return ;;
  esac
  [ "$h" = "$me" ] && return
  if [ "$(rank "$me")" -eq 50 ] || [ "$(rank "$h")" -ge "$(rank "$me")" ]; then
    complain "$1: $me may not include \"$2\""
    return
  fi
  case $2 in *_int.h) complain "$1: \"$2\" is private to $h/" ;; esac
}

files=$(find util simd pager gpu index store sql shell examples bench vecdb.c \
          -type f -name '*.[chi]*' 2>/dev/null)
include='s/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p'
for file in $files; do
  headers=$(sed -n "$include" "$file")
  for header in $headers; do check "$file" "$header"; done
done
exit $bad
