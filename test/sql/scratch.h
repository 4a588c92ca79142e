/* scratch.h -- files of a test that commits thousands of times: in memory
** where there is such a file system, else in the test's scratch folder.
*/
#ifndef SCRATCH_H
#define SCRATCH_H
#include <stdlib.h>
#include <unistd.h>

#include "vt.h"

static char scratch_dir[64] = "/dev/shm/vecdb-test-XXXXXX";

/* Path of a file; stays valid for 8 calls. The first call makes the folder:
** it comes before the first fork. */
static const char *scratch(const char *name){
  static char path[8][80];
  static int i, state;                   /* 1: dir is there, 2: it cannot be */
  if( state==0 ) state = mkdtemp(scratch_dir) ? 1 : 2;
  if( state==2 ) return vt_path(name);
  i = (i + 1)%8;
  snprintf(path[i], sizeof(path[i]), "%s/%s", scratch_dir, name);
  return path[i];
}

/* Remove host.db and x.vdb with all that belongs to them. */
static void scratch_remove(void){
  static const char *const name[] = {
    "host.db", "host.db-journal", "host.db-wal", "host.db-shm", "x.vdb",
    "x.vdb-wal", "x.vdb-shm"
  };
  size_t i;
  for(i=0; i<sizeof(name)/sizeof(name[0]); i++) remove(scratch(name[i]));
}

/* After the last use. */
static void scratch_end(void){
  scratch_remove();
  rmdir(scratch_dir);
}
#endif
