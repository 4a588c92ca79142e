/* file_posix_map.c -- mappings of the POSIX file layer: of files, to be read,
** and the words of shared memory. F1 and F2 are in file_posix.c.
*/
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pager/file_posix.h"
#include "util/mem.h"

static size_t os_page_size(void){
  long sz = sysconf(_SC_PAGESIZE);
  return VDB_ALWAYS(sz>0) ? (size_t)sz : 4096;      /* every system says so */
}

/* mmap that no child inherits. MAP_FAILED: errno. */
static void *map_shared(int fd, uint64_t off, size_t n, int prot){
  void *p = MAP_FAILED;
  vdb_posix_hold_forks();                           /* none in between (F2) */
  p = mmap(NULL, n, prot, MAP_SHARED, fd, (off_t)off);
  if( p!=MAP_FAILED && madvise(p, n, MADV_DONTFORK)!=0 ){
    int e = errno;
    munmap(p, n);
    errno = e;
    p = MAP_FAILED;
  }
  vdb_posix_let_forks();
  return p;
}

/* In an orphan the address may hold something else by now. */
static void map_release(const struct posix_file *f, void *p, size_t n){
  if( f->fd>=0 ) munmap(p, n);
}

static int map_error(struct posix_file *f, uint64_t off, int e,
                     struct vdb_err *err){
  if( e==ENODEV || e==EACCES || e==EPERM ) return VECDB_UNSUPPORTED;
  if( e==ENOMEM ){
    return vdb_error(err, VECDB_NOMEM, "cannot map \"%s\": %s", f->path,
                     strerror(e));
  }
  return vdb_posix_error_at(err, VECDB_IOERR_MAP, "map", f, off, e);
}

int vdb_posix_map(struct vdb_file *file, uint64_t off, size_t n,
                  const void **out, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  size_t skip = (size_t)(off % os_page_size());
  struct posix_map *m = NULL;
  struct stat st;
  void *p;

  *out = NULL;
  if( f->fd<0 ) return vdb_posix_orphan(f, err);
  if( fstat(f->fd, &st)!=0 ) return map_error(f, off, errno, err);
  if( n==0 || off>(uint64_t)st.st_size || n>(uint64_t)st.st_size - off ){
    return vdb_error(err, VECDB_IOERR_MAP, "cannot map %zu bytes of \"%s\" at "
                     "offset %llu: the file has %llu", n, f->path,
                     (unsigned long long)off, (unsigned long long)st.st_size);
  }
  m = vdb_malloc(sizeof(*m));
  if( !m ) return VECDB_NOMEM;
  p = map_shared(f->fd, off - skip, n + skip, PROT_READ);
  if( p==MAP_FAILED ){
    int e = errno;
    vdb_free(m);
    return map_error(f, off, e, err);
  }
  m->base = p;
  m->n = n + skip;
  m->next = f->maps;
  f->maps = m;
  *out = (const unsigned char*)p + skip;
  return VECDB_OK;
}

void vdb_posix_unmap(struct vdb_file *file, const void *p, size_t n){
  struct posix_file *f = posix_of(file);
  size_t skip = (size_t)((uintptr_t)p % os_page_size());
  const unsigned char *base = (const unsigned char*)p - skip;

  for(struct posix_map **pp=&f->maps; *pp; pp=&(*pp)->next){
    struct posix_map *m = *pp;
    if( m->base!=base || m->n!=n + skip ) continue;
    *pp = m->next;
    map_release(f, m->base, m->n);
    vdb_free(m);
    return;
  }
  assert( !"unmap of what was not mapped" );
}

/* ---- shared memory ------------------------------------------------------- */

/* Make the file at least n bytes long, with blocks behind them: a page of a
** mapping that the disk has no room for is SIGBUS. Two processes may do this
** at once; neither shortens it. */
static int shm_reserve(struct posix_file *f, size_t n, struct vdb_err *err){
  struct stat st;
  int e = 0;
  if( fstat(f->fd, &st)!=0 ) e = errno;
  if( e==0 && (uint64_t)st.st_size<n ){
    do{
      e = posix_fallocate(f->fd, 0, (off_t)n);
    }while( e==EINTR );
    if( (e==EINVAL || e==EOPNOTSUPP) && ftruncate(f->fd, (off_t)n)==0 ) e = 0;
  }
  return e ? vdb_posix_error(err, VECDB_IOERR_WRITE, "extend", f->path, e)
           : VECDB_OK;
}

void vdb_posix_shm_unmap(struct vdb_file *file){
  struct posix_file *f = posix_of(file);
  if( f->shm ) map_release(f, f->shm, f->sz_shm);
  f->shm = NULL;
  f->sz_shm = 0;
}

int vdb_posix_shm_map(struct vdb_file *file, size_t n, struct vdb_err *err){
  struct posix_file *f = posix_of(file);
  void *p;
  int rc;

  if( f->fd<0 ) return vdb_posix_orphan(f, err);
  if( f->shm && f->sz_shm>=n ) return VECDB_OK;
  if( f->readonly ){
    return vdb_error(err, VECDB_READONLY, "cannot share memory in \"%s\": it "
                     "may only be read", f->path);
  }
  rc = shm_reserve(f, n, err);
  if( rc!=VECDB_OK ) return rc;
  p = map_shared(f->fd, 0, n, PROT_READ|PROT_WRITE);
  if( p==MAP_FAILED ) return map_error(f, 0, errno, err);
  vdb_posix_shm_unmap(file);
  f->shm = p;
  f->sz_shm = n;
  return VECDB_OK;
}

/* Aligned 8-byte words are lock-free atomics on every machine we run on, and
** those work between processes. */
static _Atomic uint64_t *shm_word(struct vdb_file *file, size_t off){
  struct posix_file *f = posix_of(file);
  assert( f->shm && off%8==0 && off + 8<=f->sz_shm );
  return (_Atomic uint64_t*)(void*)(f->shm + off);
}

uint64_t vdb_posix_shm_load(struct vdb_file *file, size_t off){
  return atomic_load(shm_word(file, off));
}

void vdb_posix_shm_store(struct vdb_file *file, size_t off, uint64_t v){
  atomic_store(shm_word(file, off), v);
}

bool vdb_posix_shm_cas(struct vdb_file *file, size_t off, uint64_t old,
                       uint64_t v){
  return atomic_compare_exchange_strong(shm_word(file, off), &old, v);
}

void vdb_posix_shm_barrier(struct vdb_file *file){
  VDB_UNUSED(file);
  atomic_thread_fence(memory_order_seq_cst);
}

void vdb_posix_maps_close(struct posix_file *f){
  vdb_posix_shm_unmap(&f->base);
  while( f->maps!=NULL ){
    struct posix_map *m = f->maps;
    f->maps = m->next;
    map_release(f, m->base, m->n);
    vdb_free(m);
  }
}

/* ---- hints ------------------------------------------------------------------
** Pages of a file that faults bring in one by one stay single pages: each has
** to be mapped by itself, and translated by itself in every search since. With
** MADV_HUGEPAGE they come two megabytes at a time, in one piece, which is also
** how disks like it. But a piece is not made where one of its pages is there
** already: pages within a mapping are not read with read().
** Where pages do not fit into memory, pieces would push each other out. */

#define WHOLE_SHARE  8             /* of the machine's memory: 1/8 */

bool vdb_posix_map_whole(struct vdb_file *file, const void *p, size_t n){
  size_t skip = (size_t)((uintptr_t)p % os_page_size());
  long n_page = sysconf(_SC_PHYS_PAGES);

  VDB_UNUSED(file);
  if( n_page<=0 || n/os_page_size()>(size_t)n_page/WHOLE_SHARE ) return false;
  return madvise((char*)(uintptr_t)p - skip, n + skip, MADV_HUGEPAGE)==0;
}
