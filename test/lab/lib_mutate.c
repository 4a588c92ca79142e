/* lib_mutate.c -- damage by table. See lib_mutate.h. */
#include <stdio.h>
#include <stdlib.h>

#include "util/common.h"
#include "util/bytes.h"
#include "util/crc32c.h"
#include "util/rng.h"
#include "pager/format.h"
#include "lab/lib_layer.h"
#include "lab/lib_mutate.h"

struct field { const char *s, *f; size_t off, n; };

static const struct field fields[] = {
#define STRUCT(s, size, where)
#define FIELD(s, f, off, n, doc)  { #s, #f, off, n },
#define END(s)
#include "pager/format.def"
#undef STRUCT
#undef FIELD
#undef END
};

/* Structure of a page by PAGEHDR.TYPE. */
static const char *page_struct(unsigned type){
  static const char *const names[] = {
    NULL, "ROOT", "FREETRUNK", "BTREELEAF", "BTREENODE", "OVERFLOW",
    "PARRAYDIR", "PARRAYDATA", "EXTENT", "COLL"
  };
  return type<VDB_ARRAY_LEN(names) ? names[type] : NULL;
}

/* ---- targets ------------------------------------------------------------- */

struct target_list { struct mutate_target *p; size_t n, n_cap; };

static void target_add(struct target_list *l, const struct mutate_target *t){
  if( l->n==l->n_cap ){
    l->n_cap = l->n_cap ? l->n_cap*2 : 256;
    l->p = lab_grow(l->p, l->n_cap*sizeof(*l->p));
  }
  l->p[l->n++] = *t;
}

/* The fields of structure s at `at`; those that hold another are left out. */
static void targets_struct(struct target_list *l, struct mutate_target base,
                           const char *s, size_t at){
  for(size_t i=0; i<VDB_ARRAY_LEN(fields); i++){
    struct mutate_target t = base;
    if( strcmp(fields[i].s, s)!=0 || strcmp(fields[i].f, "HDR")==0 ) continue;
    t.s = s;
    t.f = fields[i].f;
    t.off = at + fields[i].off;
    t.n = fields[i].n;
    target_add(l, &t);
  }
}

static void targets_words(struct target_list *l, struct mutate_target base,
                          size_t lo, size_t hi, size_t n){
  base.s = "content";
  for(size_t off=lo; off+n<=hi; off+=n){
    base.f = n==2 ? "u16" : "u32";
    base.off = off;
    base.n = n;
    target_add(l, &base);
  }
}

static void targets_page(struct target_list *l, bool in_log, size_t at,
                         const unsigned char *p, uint32_t sz_page,
                         unsigned repair){
  struct mutate_target base;
  const char *s = page_struct(p[PAGEHDR_TYPE]);
  memset(&base, 0, sizeof(base));
  if( !s ) return;                              /* payload of an extent */
  base.in_log = in_log;
  base.base = at;
  base.repair = repair;
  targets_struct(l, base, "PAGEHDR", at);
  targets_struct(l, base, s, at);
  targets_words(l, base, at + 16, at + 48, 2);
  targets_words(l, base, at + 48, at + 96, 4);
  targets_words(l, base, at + sz_page - 64, at + sz_page, 4);
}

static size_t frame_size(const unsigned char *p, uint32_t sz_page){
  unsigned kind = get_u16(p + FRAME_KIND);
  if( kind==1 ) return FRAME_SIZE + sz_page;
  return kind>=2 && kind<=4 ? FRAME_SIZE + COMMIT_SIZE : 0;
}

/* The header of the log at 0, or the frame at `at`; returns its size, 0: there
** is none. */
static size_t targets_log_at(struct target_list *l,
                             const struct mutate_files *f, size_t at){
  const unsigned char *p = f->log + at;
  struct mutate_target base;
  size_t n;

  memset(&base, 0, sizeof(base));
  base.in_log = true;
  base.repair = REPAIR_LOG;
  base.base = at;
  if( at==0 && f->n_log>=WALHDR_SIZE ){
    targets_struct(l, base, "WALHDR", 0);
    return WALHDR_SIZE;
  }
  if( at==0 || at + FRAME_SIZE>f->n_log ) return 0;
  n = frame_size(p, f->sz_page);
  if( n==0 || n>f->n_log - at ) return 0;
  targets_struct(l, base, "FRAME", at);
  if( get_u16(p + FRAME_KIND)==1 ){
    targets_page(l, true, at + FRAME_SIZE, p + FRAME_SIZE, f->sz_page,
                 REPAIR_PAGE|REPAIR_LOG);
  }else{
    targets_struct(l, base, "COMMIT", at + FRAME_SIZE);
  }
  return n;
}

/* The header slot or the page of the main file at `at`. */
static void targets_main_at(struct target_list *l,
                            const struct mutate_files *f, size_t at){
  struct mutate_target base;
  if( at>=8192 ){
    if( f->sz_page<=f->n_main && at<=f->n_main - f->sz_page ){
      targets_page(l, false, at, f->main + at, f->sz_page, REPAIR_PAGE);
    }
    return;
  }
  memset(&base, 0, sizeof(base));
  base.repair = REPAIR_HEADER;
  base.base = at;
  if( at+HDRSLOT_SIZE<=f->n_main ) targets_struct(l, base, "HDRSLOT", at);
}

size_t mutate_targets_at(const struct mutate_files *f, bool in_log, size_t at,
                         struct mutate_target **out){
  struct target_list l = { NULL, 0, 0 };
  if( in_log ) targets_log_at(&l, f, at);
  else targets_main_at(&l, f, at);
  *out = l.p;
  return l.n;
}

size_t mutate_targets(const struct mutate_files *f,
                      struct mutate_target **out){
  size_t first = f->sz_page>8192 ? f->sz_page : 8192, n;
  struct target_list l = { NULL, 0, 0 };

  targets_main_at(&l, f, 0);
  targets_main_at(&l, f, 4096);
  for(size_t at=first; at+f->sz_page<=f->n_main; at+=f->sz_page){
    targets_main_at(&l, f, at);
  }
  for(size_t at=0; f->log && (n = targets_log_at(&l, f, at))>0; at+=n){}
  *out = l.p;
  return l.n;
}

/* ---- repairing ----------------------------------------------------------- */

static void repair_page(unsigned char *p, uint32_t sz_page){
  uint32_t crc = vdb_crc32c(0, p, PAGEHDR_CRC);
  crc = vdb_crc32c(crc, p + PAGEHDR_SIZE, sz_page - PAGEHDR_SIZE);
  put_u32(p + PAGEHDR_CRC, crc);
}

/* Frame sizes come from `sizes`, noted before the damage. */
static void repair_log(struct mutate_files *f, const size_t *sizes,
                       size_t n_frame){
  unsigned char *p = f->log;
  uint32_t crc = vdb_crc32c(0, p, WALHDR_CRC);
  put_u32(p + WALHDR_CRC, crc);
  p += WALHDR_SIZE;
  for(size_t i=0; i<n_frame; i++){
    crc = vdb_crc32c(crc, p, FRAME_CRC);
    crc = vdb_crc32c(crc, p + FRAME_SIZE, sizes[i] - FRAME_SIZE);
    put_u32(p + FRAME_CRC, crc);
    p += sizes[i];
  }
}

static size_t log_sizes(const struct mutate_files *f, size_t **out){
  size_t at = WALHDR_SIZE, n = 0;
  *out = lab_alloc((f->n_log/FRAME_SIZE + 1)*sizeof(size_t));
  while( at + FRAME_SIZE<=f->n_log ){
    size_t sz = frame_size(f->log + at, f->sz_page);
    if( sz==0 || at + sz>f->n_log ) break;
    (*out)[n++] = sz;
    at += sz;
  }
  return n;
}

/* ---- values -------------------------------------------------------------- */

static uint64_t field_load(const unsigned char *p, size_t n){
  uint64_t v = 0;
  for(size_t i=0; i<n && i<8; i++) v |= (uint64_t)p[i] << 8*i;
  return v;
}

static void field_store(unsigned char *p, size_t n, uint64_t v){
  for(size_t i=0; i<n; i++) p[i] = i<8 ? (unsigned char)(v >> 8*i) : 0;
}

static uint64_t field_value(uint64_t now, size_t n, int value, uint64_t seed){
  size_t bits = n<8 ? 8*n : 64;
  switch( value ){
    case 0:  return 0;
    case 1:  return ~(uint64_t)0;
    case 2:  return now + 1;
    case 3:  return now - 1;
    case 4:  return ((uint64_t)1 << (bits-1)) - 1;
    case 5:  return 2 + vdb_mix64(seed) % 40;
    default: return vdb_mix64(seed + 1);
  }
}

bool mutate_apply(const struct mutate_target *t, int value, uint64_t seed,
                  bool repair, struct mutate_files *f, char *what,
                  size_t sz_what){
  unsigned char *file = t->in_log ? f->log : f->main;
  unsigned char *p = file + t->off, before[64];
  size_t n = t->n<sizeof(before) ? t->n : sizeof(before);
  uint64_t now = field_load(p, t->n);
  size_t *sizes = NULL, n_frame = 0;

  if( repair && f->log ) n_frame = log_sizes(f, &sizes);
  memcpy(before, p, n);
  field_store(p, n, field_value(now, n, value, seed));
  if( memcmp(before, p, n)==0 ){
    free(sizes);
    return false;
  }
  if( repair && (t->repair & REPAIR_HEADER) ){
    put_u32(file + t->base + HDRSLOT_CRC,
            vdb_crc32c(0, file + t->base, HDRSLOT_CRC));
  }
  if( repair && (t->repair & REPAIR_PAGE) ){
    repair_page(file + t->base, f->sz_page);
  }
  if( repair && (t->repair & REPAIR_LOG) ) repair_log(f, sizes, n_frame);
  free(sizes);
  snprintf(what, sz_what, "%s at %zu: %s.%s %llu -> %llu%s",
           t->in_log ? "log" : "main file", t->off, t->s, t->f,
           (unsigned long long)now, (unsigned long long)field_load(p, n),
           repair ? ", repaired" : "");
  return true;
}
