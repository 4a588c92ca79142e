/* map.c -- extents in place: windows of the main file.
**
** The operating system limits the number of mappings, so the file is mapped in
** windows of 1 GiB, each a little longer than its step so that no extent lies
** across two. A window reaches as far as the file did when it was mapped; an
** extent beyond makes a new, longer one, and the old window lives until its
** last pin goes.
**
** What is on disk should come into memory in large pieces: cheaper to map after
** each opening, and fewer to translate in every search (file_posix.c, hints).
** A single page that read() brings would keep its surroundings in small ones,
** hence vdb_map_read, which is also a third of the cost.
**
** INVARIANTS
**   V1  A window lies within the file, so that no access is a SIGBUS, short of
**       a foreign truncation or a media error.
**   V2  At most one window of each step is current; others have pins.
*/
#include "util/common.h"
#include "pager/extent.h"
#include "pager/fstore.h"

#define WINDOW_STEP   ((uint64_t)1<<30)
#define WINDOW_EXTRA  ((uint64_t)4<<20)     /* more than the largest extent */
_Static_assert(EXTENT_MAX_BYTES+65536<=WINDOW_EXTRA, "extents fit a window");

struct map_window {
  struct map_window *next;
  uint64_t off;                     /* first byte, a multiple of the step */
  size_t n;                         /* bytes */
  const unsigned char *p;
  unsigned n_pin;
  bool is_current;
  bool is_whole;                    /* vdb_file_ops.map_whole */
};

/* Unmap windows that nobody needs: without pins and not current, or all
** without pins. */
static void windows_sweep(struct fstore *fs, bool all){
  struct map_window **pp = &fs->windows;
  while( *pp ){
    struct map_window *w = *pp;
    if( w->n_pin>0 || (w->is_current && !all) ){
      pp = &w->next;
      continue;
    }
    *pp = w->next;
    fs->ops->unmap(fs->main, w->p, w->n);
    vdb_free(w);
  }
}

static struct map_window *window_find(struct fstore *fs, uint64_t off){
  struct map_window *w = fs->windows;
  while( w && (w->off!=off || !w->is_current) ) w = w->next;
  return w;
}

/* Map the window at off, as far as the file goes; it must reach `end`. */
static int window_map(struct fstore *fs, uint64_t off, uint64_t end,
                      struct map_window **out){
  struct map_window *w = NULL, *old;
  uint64_t sz = 0, n;
  const void *p = NULL;
  int rc = VECDB_OK;

  TRY( fs->ops->size(fs->main, &sz, fs->err) );
  if( sz<end ){
    return VDB_CORRUPT(fs->err, "%s is %llu bytes long, an extent needs %llu",
                       vdb_pager_name(fs->base.pager), (unsigned long long)sz,
                       (unsigned long long)end);
  }
  n = sz-off<WINDOW_STEP+WINDOW_EXTRA ? sz-off : WINDOW_STEP+WINDOW_EXTRA;
  w = vdb_calloc(1, sizeof(*w));
  if( w==NULL ) return VECDB_NOMEM;
  TRY( fs->ops->map(fs->main, off, (size_t)n, &p, fs->err) );
  w->p = p;
  w->off = off;
  w->n = (size_t)n;
  w->is_current = true;
  w->is_whole = fs->ops->map_whole && fs->ops->map_whole(fs->main, p, w->n);
  old = window_find(fs, off);
  if( old ) old->is_current = false;                                /* V2 */
  w->next = fs->windows;
  fs->windows = w;
  windows_sweep(fs, false);
  *out = w;
  w = NULL;
done:
  vdb_free(w);
  return rc;
}

int vdb_map_extent(struct page_store *s, uint64_t no, size_t sz,
                   const unsigned char **out, void **pin){
  struct fstore *fs = fstore_of(s);
  uint64_t off = page_offset(fs, (page_no)no);
  uint64_t start = off/WINDOW_STEP*WINDOW_STEP;
  struct map_window *w = window_find(fs, start);
  int rc = VECDB_OK;

  if( s->pager->cfg.no_mmap ) return VECDB_UNSUPPORTED;
  if( w==NULL || off+sz>w->off+w->n ){
    TRY( window_map(fs, start, off+sz, &w) );
  }
  w->n_pin++;
  *out = w->p + (off-start);
  *pin = w;
done:
  return rc;
}

bool vdb_map_read(struct fstore *fs, uint64_t off, void *buf, size_t n){
  uint64_t start = off/WINDOW_STEP*WINDOW_STEP;
  struct map_window *w = window_find(fs, start);

  if( w==NULL || !w->is_whole || off+n>w->off+w->n ) return false;
  memcpy(buf, w->p+(off-start), n);
  return true;
}

void vdb_map_unpin(struct page_store *s, void *pin){
  struct map_window *w = pin;
  w->n_pin--;
  if( w->n_pin==0 && !w->is_current ) windows_sweep(fstore_of(s), false);
}

void vdb_map_clear(struct fstore *fs){ windows_sweep(fs, true); }
