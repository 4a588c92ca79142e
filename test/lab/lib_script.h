/* lib_script.h -- scripted lives of a toy database, for the harnesses that
** cut the power, fail calls or kill.
**
** A script opens "x.vdb", does something, and closes it. It stops at the
** first error and says which. What it committed, and what it was about to, is
** in struct script_run: after an error or a crash the database must be in
** state `state`, or in state+1 when `in_commit` is set.
*/
#ifndef LIB_SCRIPT_H
#define LIB_SCRIPT_H
#include "lab/lib_crash.h"
#include "lab/lib_toy.h"

enum { SCRIPT_MAX_STATE = 256 };

struct script_run {
  struct toy_config cfg;
  struct toy toy;
  uint64_t seed;
  uint64_t digests[SCRIPT_MAX_STATE];  /* of states 0..state(+1) */
  int state;                     /* newest whose commit returned OK */
  int durable;                   /* oldest that a power cut may leave */
  bool in_commit;                /* the one after `state` is being committed */
  bool in_doubt;                 /* it is prepared and not decided */
  bool must_doubt;               /* a power cut leaves `durable` in doubt */
  struct {
    uint64_t state, digest;
  } doubt[16];                   /* what was prepared, committed or not */
  int n_doubt;
  struct crash_log *log;         /* gets the marks; may be NULL */
  uint64_t host_token;           /* of the last prepare */
  size_t i_backup;               /* effects when a backup was complete; or 0 */
  int state_backup;              /* what that backup holds */
};

typedef int (*script_fn)(struct script_run *r);

struct script {
  const char *name;
  enum toy_kind kind;
  script_fn fn;
  uint32_t sync;                 /* VECDB_SYNC_* */
  uint64_t sz_cache, sz_wal;     /* 0: default */
  bool no_mmap;
};
extern const struct script scripts[];
extern const size_t n_script;

/* Run the script over ops. The toy is closed afterwards, unless keep_open and
** the script failed. Returns the script's first error. */
int script_run(const struct script *s, const struct vecdb_file_ops *ops,
               const char *path, struct crash_log *log, uint64_t seed,
               bool keep_open, struct script_run *r);

/* For the states of a run: is (state, digest) one that existed? */
bool script_knows(const struct script_run *r, uint64_t state,
                  uint64_t digest);
#endif
