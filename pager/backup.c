/* backup.c -- a copy of one committed state, while others read and write.
**
** Pages are copied in order, each as the snapshot sees it. Which of them are
** pages, parts of extents or free is not known here and does not matter: a
** page of the log is verified, other bytes are copied as they are, and the
** caller checks the copy. Free space may change while it is copied.
**
** The header of the copy is written last, after its pages were synced, so an
** unfinished copy is no database. It keeps the uuid (it is the same database)
** and gets a salt of its own, so that no log of the original fits it.
*/
#include "util/common.h"
#include "pager/fstore.h"

#define BACKUP_BYTES  (1u<<20)      /* copied at once */

struct backup {
  struct fstore *fs;
  struct vdb_file *out;
  unsigned char *buf;               /* BACKUP_BYTES */
  vdb_progress_cb progress;
  void *arg;
};

/* Read n pages from pgno on, as the snapshot sees them. */
static int pages_read(struct backup *b, page_no pgno, uint32_t n){
  struct fstore *fs = b->fs;
  size_t n_read = 0, n_bytes = (size_t)n*fs->sz_page;
  int rc = VECDB_OK;

  TRY( fs->ops->read(fs->main, page_offset(fs, pgno), b->buf, n_bytes, &n_read,
                     fs->err) );
  memset(b->buf+n_read, 0, n_bytes-n_read);
  for(uint32_t i=0; i<n; i++){
    unsigned char *data = b->buf + (size_t)i*fs->sz_page;
    if( !vdb_walindex_find(&fs->ix, pgno+i, fs->min_frame, fs->max_frame) ){
      continue;
    }
    TRY( vdb_fstore_read_page(&fs->base, pgno+i, data) );
    TRY( vdb_page_verify(fs->base.pager, data, pgno+i) );
  }
done:
  return rc;
}

static int pages_copy(struct backup *b){
  struct fstore *fs = b->fs;
  page_no n_page = fs->log.n_page, i = fs->base.pg_first;
  uint32_t n_max = BACKUP_BYTES/fs->sz_page;
  int rc = VECDB_OK;

  while( i<n_page ){
    uint32_t n = n_page-i<n_max ? n_page-i : n_max;
    if( vdb_pager_interrupted(fs->base.pager)
        || (b->progress && b->progress(b->arg, "backup", "pages", i, n_page)) ){
      return vdb_error(fs->err, VECDB_INTERRUPT, "backup interrupted");
    }
    TRY( pages_read(b, i, n) );
    TRY( fs->ops->write(b->out, page_offset(fs, i), b->buf,
                        (size_t)n*fs->sz_page, fs->err) );
    i += n;
  }
done:
  return rc;
}

/* Write the header of the copy into its slot A. */
static int header_write(struct backup *b){
  struct fstore *fs = b->fs, tmp;
  struct header h = fs->header;
  int rc = VECDB_OK;

  memset(&tmp, 0, sizeof(tmp));
  tmp.base.pager = fs->base.pager;
  tmp.ops = fs->ops;
  tmp.err = fs->err;
  tmp.main = b->out;
  h.flags = 0;
  h.target = 0;
  h.seq = 0;
  h.i_slot = 1;
  h.txid = fs->log.txid;
  h.n_page = fs->log.n_page;
  vdb_pager_random(fs->base.pager, vdb_mix64(fs->header.salt ^ h.txid),
                   &h.salt, 8);
  TRY( fs->ops->sync(b->out, fs->err) );
  TRY( vdb_header_write(&tmp, &h) );
  TRY( fs->ops->sync(b->out, fs->err) );
done:
  return rc;
}

int vdb_backup_write(struct page_store *s, const char *path,
                     vdb_progress_cb progress, void *arg){
  struct fstore *fs = fstore_of(s);
  struct backup b = { fs, NULL, NULL, progress, arg };
  int rc = VECDB_OK;

  b.buf = vdb_malloc(BACKUP_BYTES);
  if( b.buf==NULL ) TRY( VECDB_NOMEM );
  rc = fs->ops->open(fs->ops->env, path, FILE_CREATE|FILE_EXCL, &b.out,
                     fs->err);
  if( rc==VECDB_EXISTS ){
    rc = vdb_error(fs->err, rc, "cannot back up to \"%s\": it exists; choose "
                   "another name", path);
  }
  if( rc!=VECDB_OK ) goto done;
  TRY( pages_copy(&b) );
  TRY( header_write(&b) );
  TRY( fs->ops->sync_dir(fs->ops->env, path, fs->err) );
done:
  if( b.out ){
    (void)fs->ops->close(b.out);
    if( rc!=VECDB_OK ) (void)fs->ops->unlink(fs->ops->env, path, NULL);
  }
  vdb_free(b.buf);
  return rc;
}
