/* lock.c -- waiting for locks, and the write lock.
**
** Every lock is taken without waiting by the file layer; waiting is trying
** again after a sleep, until a deadline. The sleeps grow from 1 to 25 ms, so
** a short holder costs little and a long one does not burn the processor.
**
** INVARIANTS
**   L1  SHM.WRITERPID is not 0 exactly while the write lock is held, but for
**       a holder that died or whose sync failed: whoever takes the lock next
**       finds it, and looks at the tail of the log before it appends.
*/
#include "util/common.h"
#include "pager/fstore.h"

#define WAIT_MAX_MS  25

struct deadline vdb_deadline(const struct fstore *fs, uint32_t wait_ms){
  struct deadline d = { fs->ops->now_ms(fs->ops->env) + wait_ms, 0 };
  return d;
}

bool vdb_deadline_wait(const struct fstore *fs, struct deadline *d){
  int64_t left = d->end_ms - fs->ops->now_ms(fs->ops->env);
  unsigned ms = 1 + d->n_wait*d->n_wait/4;

  if( left<=0 || vdb_pager_interrupted(fs->base.pager) ) return false;
  if( ms>WAIT_MAX_MS ) ms = WAIT_MAX_MS;
  if( ms>left ) ms = (unsigned)left;
  d->n_wait++;
  fs->ops->sleep_ms(fs->ops->env, ms);
  return true;
}

int vdb_lock_wait(struct fstore *fs, struct vdb_file *f, uint64_t byte,
                  enum file_lock_kind kind, struct deadline *d){
  int rc = fs->ops->lock(f, byte, kind, NULL);
  while( rc==VECDB_BUSY && vdb_deadline_wait(fs, d) ){
    rc = fs->ops->lock(f, byte, kind, NULL);
  }
  if( rc!=VECDB_OK && rc!=VECDB_BUSY ){
    rc = vdb_error(fs->err, rc, "cannot lock %s",
                   vdb_pager_name(fs->base.pager));
  }
  return rc;
}

/* Say who holds the write lock. The words may be stale or torn: they are for
** people. */
static int writer_busy(struct fstore *fs){
  uint64_t pid = fs->ops->shm_load(fs->shm, SHM_WRITERPID);
  uint64_t s = fs->ops->shm_load(fs->shm, SHM_WRITERSINCE) % 86400;

  if( pid==0 ){
    return vdb_error(fs->err, VECDB_BUSY, "cannot write %s: another "
                     "connection holds the write lock; retry or set busy_ms",
                     vdb_pager_name(fs->base.pager));
  }
  return vdb_error(fs->err, VECDB_BUSY, "cannot write %s: pid %llu holds the "
                   "write lock since %02u:%02u:%02u UTC; retry or set busy_ms",
                   vdb_pager_name(fs->base.pager), (unsigned long long)pid,
                   (unsigned)(s/3600), (unsigned)(s/60%60), (unsigned)(s%60));
}

int vdb_lock_writer(struct fstore *fs, uint32_t wait_ms){
  struct deadline d = vdb_deadline(fs, wait_ms);
  bool is_dead;
  int rc = vdb_lock_wait(fs, fs->shm, LOCK_WRITER, LOCK_EXCLUSIVE, &d);

  if( rc==VECDB_BUSY ) return writer_busy(fs);
  if( rc!=VECDB_OK ) return rc;
  is_dead = fs->ops->shm_load(fs->shm, SHM_WRITERPID)!=0;           /* L1 */
  fs->ops->shm_store(fs->shm, SHM_WRITERSINCE,
                     (uint64_t)fs->ops->wall_s(fs->ops->env));
  fs->ops->shm_store(fs->shm, SHM_WRITERPID, (uint64_t)fs->base.pager->pid);
  fs->has_write = true;
  if( is_dead ){
    rc = vdb_fstore_recover_shared(fs);
    if( rc!=VECDB_OK ){                 /* for the next one to try */
      fs->ops->unlock(fs->shm, LOCK_WRITER);
      fs->has_write = false;
    }
  }
  return rc;
}

void vdb_unlock_writer(struct fstore *fs){
  if( !fs->has_write ) return;
  if( !fs->base.pager->is_poisoned ){                               /* L1 */
    fs->ops->shm_store(fs->shm, SHM_WRITERPID, 0);
  }
  fs->ops->unlock(fs->shm, LOCK_WRITER);
  fs->has_write = false;
}
