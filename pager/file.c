/* file.c -- helpers over any implementation of the file layer. */
#include "util/common.h"
#include "pager/file.h"

/* What `read` calls no error (the file ends early) is one here: the caller
** has learned from a checked header that the bytes must be there. */
int vdb_file_read_full(struct vdb_file *f, uint64_t off, void *buf, size_t n,
                       struct vdb_err *err){
  size_t n_read = 0;
  int rc = f->ops->read(f, off, buf, n, &n_read, err);

  if( rc==VECDB_OK && n_read<n ){
    memset((unsigned char*)buf + n_read, 0, n - n_read);
    rc = vdb_error(err, VECDB_IOERR_SHORT_READ,
                   "cannot read %zu bytes at offset %llu: the file ends "
                   "after %zu of them", n, (unsigned long long)off, n_read);
  }
  return rc;
}
