/* mutate.c -- changes to inputs that know nothing, and ones that know the file
** format. See fuzz.h.
**
** fuzz_mutate_file notes which checksums are right before it starts; those,
** and no others, it makes right again at the end. So damage done by an
** earlier mutation stays what it is, and an input may go far from its seed
** without being lost at the first checksum. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "lab/lib_layer.h"
#include "lab/lib_mutate.h"
#include "pager/format.h"
#include "util/bytes.h"
#include "util/crc32c.h"

/* ---- bytes and words ----------------------------------------------------- */

static size_t below(struct vdb_rng *r, size_t n){
  return n ? vdb_rng_below(r, (uint32_t)n) : 0;
}

/* Make room for k bytes at `at`; how many there is room for. */
static size_t gap_open(uint8_t *p, size_t *n, size_t n_cap, size_t at,
                       size_t k){
  if( k>n_cap - *n ) k = n_cap - *n;
  memmove(p + at + k, p + at, *n - at);
  *n += k;
  return k;
}

static size_t bytes_remove(uint8_t *p, size_t n, size_t at, size_t k){
  if( k>n - at ) k = n - at;
  memmove(p + at, p + at + k, n - at - k);
  return n - k;
}

static uint64_t odd_value(struct vdb_rng *r){
  static const uint64_t some[] = {
    0, 1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 4095,
    4096, 4097, 32767, 32768, 65535, 65536, 0x7fffffff, 0x80000000,
    0xffffffff, 0x100000000, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX
  };
  uint64_t v = some[below(r, VDB_ARRAY_LEN(some))];
  switch( vdb_rng_below(r, 4) ){
    case 0:  return v + 1;
    case 1:  return v - 1;
    case 2:  return vdb_rng_u64(r);
    default: return v;
  }
}

static void value_store(uint8_t *p, size_t n, uint64_t v){
  for(size_t i=0; i<n; i++) p[i] = (uint8_t)(v >> 8*i);
}

void fuzz_change_value(uint8_t *p, size_t n, struct vdb_rng *r){
  size_t w = (size_t)1 << vdb_rng_below(r, 4), at;
  uint64_t v = 0;
  if( w>n ) w = 1;
  at = below(r, n - w + 1);
  if( w>1 && vdb_rng_below(r, 2) ) at -= at % w;
  for(size_t i=0; i<w; i++) v |= (uint64_t)p[at+i] << 8*i;
  switch( vdb_rng_below(r, 5) ){
    case 0:  v ^= (uint64_t)1 << vdb_rng_below(r, (uint32_t)(8*w)); break;
    case 1:  v += vdb_rng_below(r, 16);                break;
    case 2:  v -= vdb_rng_below(r, 16);                break;
    default: v = odd_value(r);
  }
  value_store(p + at, w, v);
}

static size_t word_insert(uint8_t *p, size_t n, size_t n_cap,
                          struct vdb_rng *r){
  size_t n_word = 0, at = below(r, n + 1), k;
  const char *z;
  while( fuzz_target.words[n_word] ) n_word++;
  z = fuzz_target.words[below(r, n_word)];
  k = strlen(z);
  if( vdb_rng_below(r, 3)==0 ) n = bytes_remove(p, n, at, k);
  k = gap_open(p, &n, n_cap, at, k);
  memcpy(p + at, z, k);
  return n;
}

/* Copy a stretch to another place, over what is there or between it. */
static size_t stretch_copy(uint8_t *p, size_t n, size_t n_cap,
                           struct vdb_rng *r){
  size_t from = below(r, n), to = below(r, n), k;
  k = 1 + below(r, vdb_min_sz(n - from, 64));
  if( vdb_rng_below(r, 2) ){
    if( k>n - to ) k = n - to;
    memmove(p + to, p + from, k);
  }else{
    uint8_t hold[64];
    if( k>sizeof(hold) ) k = sizeof(hold);
    memcpy(hold, p + from, k);
    k = gap_open(p, &n, n_cap, to, k);
    memcpy(p + to, hold, k);
  }
  return n;
}

static size_t bytes_once(uint8_t *p, size_t n, size_t n_cap,
                         struct vdb_rng *r){
  size_t at, k;
  switch( n ? vdb_rng_below(r, 8) : 7 ){
    case 0:
      p[below(r, n)] ^= (uint8_t)(1u << vdb_rng_below(r, 8));
      return n;
    case 1: case 2:
      fuzz_change_value(p, n, r);
      return n;
    case 3:
      at = below(r, n);
      return bytes_remove(p, n, at, 1 + below(r, vdb_min_sz(n - at, 32)));
    case 4:
      at = below(r, n + 1);
      k = gap_open(p, &n, n_cap, at, 1 + below(r, 8));
      for(size_t i=0; i<k; i++) p[at+i] = (uint8_t)vdb_rng_below(r, 256);
      return n;
    case 5:
      return stretch_copy(p, n, n_cap, r);
    default:
      if( fuzz_target.words ) return word_insert(p, n, n_cap, r);
      k = gap_open(p, &n, n_cap, n, 1 + below(r, 8));
      for(size_t i=0; i<k; i++) p[n-1-i] = (uint8_t)vdb_rng_below(r, 256);
      return n;
  }
}

size_t fuzz_mutate_bytes(uint8_t *p, size_t n, size_t n_cap,
                         struct vdb_rng *r){
  unsigned k = 1 + vdb_rng_below(r, 4);
  if( n_cap>fuzz_target.sz_max ) n_cap = fuzz_target.sz_max;
  if( n>n_cap ) n = n_cap;
  while( k-->0 ) n = bytes_once(p, n, n_cap, r);
  return n;
}

/* ---- checksums ----------------------------------------------------------- */

struct files {
  uint8_t *main, *log;
  size_t n_main, n_log, sz_page, n_page;
  bool slot_ok[2], *page_ok;          /* right before the mutation */
  bool log_ok;
  size_t n_frame, *frame;             /* sizes of the frames whose chain was */
};

static uint32_t page_crc(const uint8_t *p, size_t sz){
  uint32_t crc = vdb_crc32c(0, p, PAGEHDR_CRC);
  return vdb_crc32c(crc, p + PAGEHDR_SIZE, sz - PAGEHDR_SIZE);
}

static size_t sz_page_of(const uint8_t *p, size_t n){
  uint32_t sz = n>=HDRSLOT_SIZE ? get_u32(p + HDRSLOT_PAGESIZE) : 0;
  bool ok = sz>=4096 && sz<=65536 && (sz & (sz-1))==0;
  return ok ? sz : 4096;
}

static void log_note(struct files *f){
  size_t at = WALHDR_SIZE;
  uint32_t crc;
  f->frame = lab_alloc((f->n_log/FRAME_SIZE + 1)*sizeof(size_t));
  if( f->n_log<WALHDR_SIZE ) return;
  crc = vdb_crc32c(0, f->log, WALHDR_CRC);
  f->log_ok = crc==get_u32(f->log + WALHDR_CRC);
  while( f->log_ok && at + FRAME_SIZE<=f->n_log ){
    const uint8_t *p = f->log + at;
    size_t n = FRAME_SIZE + (get_u16(p + FRAME_KIND)==1 ? f->sz_page
                                                        : COMMIT_SIZE);
    if( at + n>f->n_log ) break;
    crc = vdb_crc32c(crc, p, FRAME_CRC);
    crc = vdb_crc32c(crc, p + FRAME_SIZE, n - FRAME_SIZE);
    if( crc!=get_u32(p + FRAME_CRC) ) break;
    f->frame[f->n_frame++] = n;
    at += n;
  }
}

static void files_note(struct files *f){
  f->sz_page = sz_page_of(f->main, f->n_main);
  f->n_page = f->n_main/f->sz_page;
  f->page_ok = lab_alloc(f->n_page + 1);
  for(size_t i=0; i<2; i++){
    const uint8_t *p = f->main + 4096*i;
    f->slot_ok[i] = f->n_main>=4096*i + HDRSLOT_SIZE
                 && vdb_crc32c(0, p, HDRSLOT_CRC)==get_u32(p + HDRSLOT_CRC);
  }
  for(size_t i=vdb_max_sz(1, 8192/f->sz_page); i<f->n_page; i++){
    const uint8_t *p = f->main + i*f->sz_page;
    f->page_ok[i] = page_crc(p, f->sz_page)==get_u32(p + PAGEHDR_CRC)
                 && p[PAGEHDR_TYPE]!=0;
  }
  log_note(f);
}

/* Checksums of the payload, as far as the directory page says where it is. */
static void extent_repair(struct files *f, uint8_t *p){
  uint64_t start = get_u64(p + EXTENT_START);
  size_t n_crc = get_u32(p + EXTENT_NCRC);
  size_t sz = (size_t)get_u32(p + EXTENT_STRIDE)*get_u32(p + EXTENT_NREC);
  if( n_crc>(f->sz_page - EXTENT_SIZE)/4 || start>=f->n_page ) return;
  for(size_t i=0; i<n_crc; i++){
    size_t at = (size_t)start*f->sz_page + 4096*i;
    size_t n = sz>4096*i ? vdb_min_sz(4096, sz - 4096*i) : 0;
    if( at + n>f->n_main ) return;
    put_u32(p + EXTENT_SIZE + 4*i, vdb_crc32c(0, f->main + at, n));
  }
}

static void files_repair(struct files *f){
  uint8_t *p = f->log;
  uint32_t crc;
  for(size_t i=0; i<2; i++){
    uint8_t *slot = f->main + 4096*i;
    if( f->slot_ok[i] ){
      put_u32(slot + HDRSLOT_CRC, vdb_crc32c(0, slot, HDRSLOT_CRC));
    }
  }
  for(size_t i=0; i<f->n_page; i++){
    uint8_t *page = f->main + i*f->sz_page;
    if( !f->page_ok[i] ) continue;
    if( page[PAGEHDR_TYPE]==8 ) extent_repair(f, page);
    put_u32(page + PAGEHDR_CRC, page_crc(page, f->sz_page));
  }
  if( !f->log_ok ) return;
  crc = vdb_crc32c(0, p, WALHDR_CRC);
  put_u32(p + WALHDR_CRC, crc);
  p += WALHDR_SIZE;
  for(size_t i=0; i<f->n_frame; p+=f->frame[i++]){
    size_t n = f->frame[i];
    if( get_u16(p + FRAME_KIND)==1 && n==FRAME_SIZE + f->sz_page ){
      put_u32(p + FRAME_SIZE + PAGEHDR_CRC,
              page_crc(p + FRAME_SIZE, f->sz_page));
    }
    crc = vdb_crc32c(crc, p, FRAME_CRC);
    crc = vdb_crc32c(crc, p + FRAME_SIZE, n - FRAME_SIZE);
    put_u32(p + FRAME_CRC, crc);
  }
}

/* ---- files --------------------------------------------------------------- */

/* Where the i-th frame of those that were whole begins. */
static size_t frame_offset(const struct files *f, size_t i){
  size_t at = WALHDR_SIZE;
  for(size_t k=0; k<i; k++) at += f->frame[k];
  return at;
}

/* The fields of one header slot, page or frame. */
static size_t fields_choose(struct files *f, const struct mutate_files *m,
                            struct mutate_target **out, struct vdb_rng *r){
  size_t n_log = f->n_log ? 1 + f->n_frame : 0, at;
  size_t i = below(r, n_log + 2 + f->n_page);
  bool in_log = i<n_log;
  if( in_log ) at = i>0 ? frame_offset(f, i - 1) : 0;
  else if( i<n_log + 2 ) at = 4096*(i - n_log);
  else at = f->sz_page*(i - n_log - 2);
  return mutate_targets_at(m, in_log, at, out);
}

/* One field of format.def; payload of extents has none, so it tries again. */
static void field_change(struct files *f, struct vdb_rng *r){
  struct mutate_files m = { f->main, f->n_log ? f->log : NULL, f->n_main,
                            f->n_log, (uint32_t)f->sz_page };
  struct mutate_target *targets = NULL;
  size_t n = 0;
  char what[256];
  for(int i=0; i<16 && n==0; i++) n = fields_choose(f, &m, &targets, r);
  if( n>0 ){
    mutate_apply(&targets[below(r, n)],
                 (int)vdb_rng_below(r, MUTATE_N_VALUE), vdb_rng_u64(r), false,
                 &m, what, sizeof(what));
  }
  free(targets);
}

/* A page of the main file or the payload of a frame. */
static uint8_t *page_choose(struct files *f, struct vdb_rng *r){
  if( f->n_frame>0 && vdb_rng_below(r, 2) ){
    size_t i = below(r, f->n_frame);
    if( f->frame[i]==FRAME_SIZE + f->sz_page ){
      return f->log + frame_offset(f, i) + FRAME_SIZE;
    }
  }
  return f->main + below(r, f->n_page)*f->sz_page;
}

/* Anything anywhere, but for the longest zeros, which mean nothing. */
static void page_change(struct files *f, struct vdb_rng *r){
  uint8_t *p = page_choose(f, r);
  size_t at = 0, n;
  for(int i=0; i<16; i++){
    at = below(r, f->sz_page - 8);
    if( get_u64(p + at)!=0 ) break;
  }
  n = vdb_min_sz(32, f->sz_page - at);
  fuzz_change_value(p + at, n, r);
}

/* A link to some page that exists: wrong trees, shared pages, cycles. */
static void link_change(struct files *f, struct vdb_rng *r){
  uint8_t *p = page_choose(f, r);
  for(int i=0; i<64; i++){
    size_t at = below(r, f->sz_page/4)*4;
    uint32_t v = get_u32(p + at);
    if( at<PAGEHDR_SIZE || v==0 || v>=f->n_page + 4 ) continue;
    put_u32(p + at, (uint32_t)below(r, f->n_page + 2));
    return;
  }
}

/* One page in the place of another, under that one's number. */
static void page_copy(struct files *f, struct vdb_rng *r){
  uint8_t *from = page_choose(f, r), *to = page_choose(f, r);
  uint32_t pgno = get_u32(to + PAGEHDR_PGNO);
  memmove(to, from, f->sz_page);
  put_u32(to + PAGEHDR_PGNO, pgno);
}

void fuzz_mutate_file(uint8_t *main, size_t n_main, uint8_t *log,
                      size_t n_log, struct vdb_rng *r){
  unsigned k = 1 + vdb_rng_below(r, 3);
  struct files f;
  memset(&f, 0, sizeof(f));
  f.main = main;
  f.n_main = n_main;
  f.log = log;
  f.n_log = n_log;
  files_note(&f);
  while( k-->0 && f.n_page>0 ){
    switch( vdb_rng_below(r, 12) ){
      case 0: case 1: case 2: case 3: case 4: field_change(&f, r); break;
      case 5: link_change(&f, r);                                  break;
      case 6: page_copy(&f, r);                                    break;
      default: page_change(&f, r);
    }
  }
  if( vdb_rng_below(r, 8)!=0 ) files_repair(&f);
  free(f.page_ok);
  free(f.frame);
}
