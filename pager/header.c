/* header.c -- the two header slots of a .vdb file, and making a new file.
**
** FORMAT   HDRSLOT in pager/format.def. The valid slot with the higher
**          sequence is in force; a new header goes into the other one, so a
**          torn write leaves the old one in force.
**
** CREATING In this order: slot B, marked CREATING, and the root page; sync;
**          slot A; sync; sync of the directory. A file is *unborn* if it is
**          empty, if slot A is all zero and the file is no longer than a new
**          one, or if A is bad and B says CREATING: whatever of this survived
**          a crash, it can be made again. Once slot A is valid the file is
**          born, and the first checkpoint overwrites the mark in slot B. Until
**          then a log of its uuid tells a born file whose slot A has rotted.
**
** INVARIANTS
**   D1  A slot is written only by the holder of the checkpoint lock, or by
**       who is alone with the file (lifecycle lock held exclusively).
**   D2  With CHECKPOINTING set, pages of the main file may be newer than TXID,
**       up to TARGET: the file is good only together with its log.
*/
#include "util/common.h"
#include "util/crc32c.h"
#include "pager/fstore.h"

static const unsigned char header_magic[16] = "vecdb format 1\0";
static const char sqlite_magic[16] = "SQLite format 3";

/* Seeds choices that decide bytes; the same in every file unless given. */
#define HEADER_SEED  0x5eed5eed5eed5eedu

static void header_encode(const struct header *h, unsigned char *b){
  memset(b, 0, HDRSLOT_SIZE);
  memcpy(b + HDRSLOT_MAGIC, header_magic, 16);
  b[HDRSLOT_RVERSION] = HEADER_VERSION;
  b[HDRSLOT_WVERSION] = HEADER_VERSION;
  put_u16(b + HDRSLOT_FLAGS, (uint16_t)h->flags);
  put_u32(b + HDRSLOT_PAGESIZE, h->sz_page);
  memcpy(b + HDRSLOT_UUID, h->uuid, 16);
  put_u64(b + HDRSLOT_SEQ, h->seq);
  put_u64(b + HDRSLOT_TXID, h->txid);
  put_u64(b + HDRSLOT_SALT, h->salt);
  put_u32(b + HDRSLOT_NPAGE, h->n_page);
  put_u32(b + HDRSLOT_ROOT, h->pg_root);
  put_u64(b + HDRSLOT_SEED, h->seed);
  put_u64(b + HDRSLOT_TARGET, h->target);
  put_u32(b + HDRSLOT_CRC, vdb_crc32c(0, b, HDRSLOT_CRC));
}

static bool slot_is_valid(const unsigned char *b){
  return memcmp(b + HDRSLOT_MAGIC, header_magic, 16)==0
      && get_u32(b + HDRSLOT_CRC)==vdb_crc32c(0, b, HDRSLOT_CRC);
}

static void header_decode(const unsigned char *b, struct header *h){
  h->flags = get_u16(b + HDRSLOT_FLAGS);
  h->sz_page = get_u32(b + HDRSLOT_PAGESIZE);
  memcpy(h->uuid, b + HDRSLOT_UUID, 16);
  h->seq = get_u64(b + HDRSLOT_SEQ);
  h->txid = get_u64(b + HDRSLOT_TXID);
  h->salt = get_u64(b + HDRSLOT_SALT);
  h->n_page = get_u32(b + HDRSLOT_NPAGE);
  h->pg_root = get_u32(b + HDRSLOT_ROOT);
  h->seed = get_u64(b + HDRSLOT_SEED);
  h->target = get_u64(b + HDRSLOT_TARGET);
  h->is_readonly = b[HDRSLOT_WVERSION]>HEADER_VERSION
                || get_u32(b + HDRSLOT_ROCOMPAT)!=0;
}

static page_no first_page(uint32_t sz_page){
  return sz_page<8192 ? 8192/sz_page : 1;
}

/* What a valid slot says must also make sense. */
static int header_check(struct fstore *fs, const unsigned char *b,
                        const struct header *h){
  const char *name = vdb_pager_name(fs->base.pager);
  uint32_t n = h->sz_page;

  if( b[HDRSLOT_RVERSION]>HEADER_VERSION ){
    return vdb_error(fs->err, VECDB_FORMAT, "cannot open %s: its format %u is "
                     "newer than this library, which reads up to %u", name,
                     b[HDRSLOT_RVERSION], HEADER_VERSION);
  }
  if( get_u32(b + HDRSLOT_INCOMPAT)!=0 ){
    return vdb_error(fs->err, VECDB_FORMAT, "cannot open %s: it uses features "
                     "0x%x that this library does not know", name,
                     get_u32(b + HDRSLOT_INCOMPAT));
  }
  if( n<4096 || n>65536 || (n&(n-1)) ){
    return VDB_CORRUPT(fs->err, "cannot open %s: page size %u is not a power "
                       "of two in 4096..65536", name, n);
  }
  if( h->txid==0 || h->txid>TXID_MAX || h->seq>TXID_MAX ){
    return VDB_CORRUPT(fs->err, "cannot open %s: transaction %llu, header %llu",
                       name, (unsigned long long)h->txid,
                       (unsigned long long)h->seq);
  }
  if( h->flags & ~(HEADER_CHECKPOINTING|HEADER_CREATING) ){
    return VDB_CORRUPT(fs->err, "cannot open %s: flags 0x%x", name, h->flags);
  }
  if( (h->flags & HEADER_CHECKPOINTING) && h->target<=h->txid ){
    return VDB_CORRUPT(fs->err, "cannot open %s: a checkpoint from transaction "
                       "%llu to %llu", name, (unsigned long long)h->txid,
                       (unsigned long long)h->target);
  }
  if( h->pg_root!=first_page(n) || h->n_page<=h->pg_root ){
    return VDB_CORRUPT(fs->err, "cannot open %s: root page %u of %u, expected "
                       "%u", name, h->pg_root, h->n_page, first_page(n));
  }
  return VECDB_OK;
}

/* Neither slot is valid: say what the file is instead. */
static int header_refuse(struct fstore *fs, const unsigned char *a, size_t n){
  const char *name = vdb_pager_name(fs->base.pager);

  if( n==0 ){
    return vdb_error(fs->err, VECDB_NOTADB, "cannot open %s: the file is empty",
                     name);
  }
  if( n>=16 && memcmp(a, sqlite_magic, 16)==0 ){
    return vdb_error(fs->err, VECDB_NOTADB, "%s is a SQLite database, not a "
                     "vecdb file; open it with SQLite and load the vecdb "
                     "extension", name);
  }
  if( n>=12 && memcmp(a, header_magic, 12)==0 ){
    if( n>=16 && memcmp(a, header_magic, 16)!=0 ){
      return vdb_error(fs->err, VECDB_FORMAT, "cannot open %s: its format is "
                       "newer than this library", name);
    }
    return vdb_error(fs->err, VECDB_CORRUPT_CHECKSUM, "cannot open %s: both "
                     "header slots are damaged", name);
  }
  return vdb_error(fs->err, VECDB_NOTADB, "%s is not a vecdb file", name);
}

/* Both slots as bytes; what is beyond the end of the file reads as zero. */
static int slots_read(struct fstore *fs, unsigned char b[2][HDRSLOT_SIZE],
                      size_t n_read[2]){
  int rc = VECDB_OK;
  memset(b, 0, 2*HDRSLOT_SIZE);
  for(unsigned i=0; i<2 && rc==VECDB_OK; i++){
    rc = fs->ops->read(fs->main, HEADER_SLOT_OFF(i), b[i], HDRSLOT_SIZE,
                       &n_read[i], fs->err);
  }
  return rc;
}

int vdb_header_read(struct fstore *fs, struct header *out){
  unsigned char b[2][HDRSLOT_SIZE];
  size_t n_read[2];
  bool ok[2];
  unsigned i;
  int rc = VECDB_OK;

  TRY( slots_read(fs, b, n_read) );
  ok[0] = slot_is_valid(b[0]);
  ok[1] = slot_is_valid(b[1])
       && !(get_u16(b[1] + HDRSLOT_FLAGS) & HEADER_CREATING);
  if( !ok[0] && !ok[1] ) return header_refuse(fs, b[0], n_read[0]);
  i = !ok[0] || (ok[1] && get_u64(b[1] + HDRSLOT_SEQ)
                          > get_u64(b[0] + HDRSLOT_SEQ));
  header_decode(b[i], out);
  out->i_slot = i;
  TRY( header_check(fs, b[i], out) );
done:
  return rc;
}

/* Write h into the slot that is not in force (D1). */
int vdb_header_write(struct fstore *fs, struct header *h){
  unsigned char b[HDRSLOT_SIZE];
  unsigned i_slot = !h->i_slot;
  int rc;

  h->seq++;
  header_encode(h, b);
  rc = fs->ops->write(fs->main, HEADER_SLOT_OFF(i_slot), b, sizeof(b),
                      fs->err);
  if( rc==VECDB_OK ) h->i_slot = i_slot;
  return rc;
}

int vdb_header_sync(struct fstore *fs){
  struct pager *p = fs->base.pager;
  int rc;

  if( p->cfg.sync==VECDB_SYNC_OFF ) return VECDB_OK;
  p->n_sync++;
  rc = fs->ops->sync(fs->main, fs->err);
  if( rc!=VECDB_OK ) vdb_pager_poison(p);
  return rc;
}

/* ---- new files ----------------------------------------------------------- */

static bool is_zero(const unsigned char *b, size_t n){
  for(size_t i=0; i<n; i++) if( b[i] ) return false;
  return true;
}

/* Slot B says CREATING and A is bad. */
static bool creation_was_torn(struct fstore *fs, const unsigned char *b,
                              int *rc){
  bool has_log = false;

  if( !(get_u16(b + HDRSLOT_FLAGS) & HEADER_CREATING) ) return false;
  *rc = vdb_wal_exists_of(fs, b + HDRSLOT_UUID, &has_log);
  return *rc==VECDB_OK && !has_log;
}

bool vdb_header_is_unborn(struct fstore *fs, int *rc){
  unsigned char b[2][HDRSLOT_SIZE];
  size_t n_read[2];
  uint64_t sz = 0;

  *rc = fs->ops->size(fs->main, &sz, fs->err);
  if( *rc!=VECDB_OK ) return false;
  if( sz==0 ) return true;
  *rc = slots_read(fs, b, n_read);
  if( *rc!=VECDB_OK || slot_is_valid(b[0]) ) return false;
  if( slot_is_valid(b[1]) ) return creation_was_torn(fs, b[1], rc);
  return sz<=2*65536 && is_zero(b[0], HDRSLOT_SIZE);
}

static void header_init(struct fstore *fs, struct header *h){
  struct pager *p = fs->base.pager;

  memset(h, 0, sizeof(*h));
  h->sz_page = p->cfg.sz_page;
  h->flags = HEADER_CREATING;
  h->txid = 1;
  h->pg_root = first_page(h->sz_page);
  h->n_page = h->pg_root + 1;
  h->seed = HEADER_SEED;
  vdb_pager_random(p, 1, h->uuid, 16);
  vdb_pager_random(p, 2, &h->salt, 8);
}

/* What an interrupted creation left must go first, durably: slot A torn, then
** slot B torn by a second attempt would leave nothing to know it by. */
static int unborn_clear(struct fstore *fs){
  uint64_t sz = 0;
  int rc = VECDB_OK;

  TRY( fs->ops->size(fs->main, &sz, fs->err) );
  if( sz==0 ) return VECDB_OK;
  TRY( fs->ops->truncate(fs->main, 0, fs->err) );
  TRY( vdb_header_sync(fs) );
done:
  return rc;
}

/* Make the file, which is unborn. We are alone with it. */
int vdb_header_create(struct fstore *fs){
  struct header h;
  unsigned char *root = NULL;
  int rc = VECDB_OK;

  header_init(fs, &h);
  TRY( unborn_clear(fs) );
  root = vdb_malloc(h.sz_page);
  if( root==NULL ) TRY( VECDB_NOMEM );
  vdb_root_format(root, h.sz_page, h.pg_root);
  TRY( vdb_header_write(fs, &h) );                   /* slot B */
  TRY( fs->ops->write(fs->main, (uint64_t)h.pg_root*h.sz_page, root,
                      h.sz_page, fs->err) );
  TRY( vdb_header_sync(fs) );
  h.flags = 0;
  TRY( vdb_header_write(fs, &h) );                   /* slot A */
  TRY( vdb_header_sync(fs) );
  if( fs->base.pager->cfg.sync!=VECDB_SYNC_OFF ){
    TRY( fs->ops->sync_dir(fs->ops->env, fs->path, fs->err) );
  }
  fs->header = h;
done:
  vdb_free(root);
  return rc;
}
