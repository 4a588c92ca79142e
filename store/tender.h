/* tender.h -- the thread behind optimize=background.
**
** Used by   store/store.c, vecdb.c.
** Threads   every function may be called from any connection's thread.
** Errors    none: what fails on the thread is kept, see vdb_tender_note.
**
** There is one per file and process, for all its connections. It is started by
** the first commit that wants it and stopped and joined when the last of these
** connections closes.
*/
#ifndef VDB_TENDER_H
#define VDB_TENDER_H
#include "store/coll_int.h"

struct tender;

/* st takes part in the tender of its file, which is started if there is none.
** False: it has none, and there can be none (no file of ours, commits that may
** be undone, no thread to be had): whoever asks does the work. */
bool vdb_tender_join(struct store *st);
/* After a commit: collection `name` wants upkeep. `age` tells states of it
** apart and grows with its changes. */
void vdb_tender_ask(struct store *st, const char *name, uint64_t age);
/* The memory for builds of st has changed: the thread's next job keeps it. */
void vdb_tender_build_bytes(struct store *st);
/* The thread lets go of the file, until it is released; for what needs to be
** alone with it. It begins again with what it was at. */
void vdb_tender_hold(struct store *st);
void vdb_tender_release(struct store *st);
/* Before st closes. Waits for the thread, if st was the last one. */
void vdb_tender_leave(struct store *st);

struct tender_note {
  bool is_there, is_busy;
  uint64_t n_done, n_failed;
  struct vdb_err last;                 /* failure; rc VECDB_OK: none */
};
void vdb_tender_note(struct store *st, struct tender_note *out);
#endif
