/* wal_scan.c -- reading the log: recovery, and following what others
** appended.
**
** FORMAT   WALHDR, FRAME and COMMIT in pager/format.def. A frame is valid if
**          its salt and number are the expected ones and its CRC, seeded with
**          the CRC of the frame before it (the first: of the log header), is
**          right. A bad frame hides all that follow.
**
** WHOSE LOG  A log belongs to the main file iff page size and uuid agree, its
**          salt or its previous salt is HDRSLOT.SALT, and it began at a state
**          that is home. Otherwise it is ignored with a message in the log of
**          the process, unless the main file needs it (CHECKPOINTING).
**
** TORN OR ROTTEN  A scan ends at the first bad frame, s. After a crash that is
**          the torn tail of what was not synced. But a COMMIT or PREPARE says
**          how far the log was synced before it was written: if a later one,
**          valid against the CRC stored in the frame before it, says that s
**          was synced, then s has rotted: VECDB_CORRUPT_WAL. The same if the
**          log header is bad although a COMMIT in the chain behind it is not
**          home yet. A log begins to be used after its header was synced, so a
**          header torn by a crash has only frames of the log before it behind
**          it; those that were ever valid are home.
**
**          Frames are found again after s by their salt: every frame begins at
**          a multiple of 8, since all sizes are.
**
** INVARIANTS
**   R1  Recovery changes nothing on disk: doing it twice gives the same.
**   R2  A state it returns was complete in the log, or is the main file's.
*/
#include "util/common.h"
#include "util/crc32c.h"
#include "pager/fstore.h"

#define WAL_VERSION  1
#define SEARCH_BYTES (256u<<10)     /* searched at once for later frames */

static const unsigned char wal_magic[16] = "vecdb log 1";

size_t vdb_frame_payload(const struct fstore *fs, unsigned kind){
  switch( kind ){
    case FRAME_PAGE:    return fs->sz_page;
    case FRAME_COMMIT:
    case FRAME_PREPARE:
    case FRAME_ABORT:   return COMMIT_SIZE;
    default:            return 0;               /* no frame */
  }
}

int vdb_wal_open(struct fstore *fs, bool create){
  unsigned flags = FILE_NOFOLLOW | (create ? FILE_CREATE : 0u)
                 | (fs->mode!=FSTORE_SHARED ? FILE_READONLY : 0u);
  bool exists = true;
  int rc = VECDB_OK;

  if( fs->wal ) return VECDB_OK;
  if( !create ){
    TRY( fs->ops->exists(fs->ops->env, fs->path_wal, &exists) );
    if( !exists ) return VECDB_NOTFOUND;
  }
  TRY( fs->ops->open(fs->ops->env, fs->path_wal, flags, &fs->wal, fs->err) );
done:
  return rc;
}

/* ---- the log header ------------------------------------------------------ */

static bool wal_header_is_valid(const unsigned char *b, size_t n){
  return n==WALHDR_SIZE && memcmp(b, wal_magic, 16)==0
      && get_u32(b + WALHDR_CRC)==vdb_crc32c(0, b, WALHDR_CRC);
}

int vdb_wal_exists_of(struct fstore *fs, const unsigned char uuid[16],
                      bool *yes){
  unsigned char b[WALHDR_SIZE];
  size_t n = 0;
  int rc = vdb_wal_open(fs, false);

  *yes = false;
  if( rc!=VECDB_OK ) return rc==VECDB_NOTFOUND ? VECDB_OK : rc;
  rc = fs->ops->read(fs->wal, 0, b, sizeof(b), &n, fs->err);
  *yes = rc==VECDB_OK && wal_header_is_valid(b, n)
      && memcmp(b + WALHDR_UUID, uuid, 16)==0;
  (void)fs->ops->close(fs->wal);
  fs->wal = NULL;
  return rc;
}

static bool wal_header_belongs(const struct fstore *fs,
                               const unsigned char *b){
  uint64_t salt = fs->header.salt;
  return get_u32(b + WALHDR_VERSION)==WAL_VERSION
      && get_u32(b + WALHDR_PAGESIZE)==fs->header.sz_page
      && memcmp(b + WALHDR_UUID, fs->header.uuid, 16)==0
      && (get_u64(b + WALHDR_SALT)==salt || get_u64(b + WALHDR_PREVSALT)==salt)
      && get_u64(b + WALHDR_TXID)<=fs->header.txid;
}

void vdb_wal_header_encode(const struct fstore *fs, unsigned char *b,
                           uint64_t generation, uint64_t salt, txn_id txid){
  memset(b, 0, WALHDR_SIZE);
  memcpy(b + WALHDR_MAGIC, wal_magic, 16);
  put_u32(b + WALHDR_VERSION, WAL_VERSION);
  put_u32(b + WALHDR_PAGESIZE, fs->header.sz_page);
  memcpy(b + WALHDR_UUID, fs->header.uuid, 16);
  put_u64(b + WALHDR_GENERATION, generation);
  put_u64(b + WALHDR_SALT, salt);
  put_u64(b + WALHDR_PREVSALT, fs->header.salt);
  put_u64(b + WALHDR_TXID, txid);
  put_u32(b + WALHDR_CRC, vdb_crc32c(0, b, WALHDR_CRC));
}

/* ---- one frame ----------------------------------------------------------- */

struct frame {                      /* a frame header, decoded */
  unsigned kind, flags;
  page_no  pgno;
  txn_id   txid;
  uint64_t seq, salt;
  uint32_t crc;
  size_t   sz;                      /* header and payload; 0: no frame */
};

static void frame_decode(const struct fstore *fs, const unsigned char *b,
                         struct frame *f){
  size_t n;
  f->kind = get_u16(b + FRAME_KIND);
  f->flags = get_u16(b + FRAME_FLAGS);
  f->pgno = get_u32(b + FRAME_PGNO);
  f->txid = get_u64(b + FRAME_TXID);
  f->seq = get_u64(b + FRAME_SEQ);
  f->salt = get_u64(b + FRAME_SALT);
  f->crc = get_u32(b + FRAME_CRC);
  n = vdb_frame_payload(fs, f->kind);
  f->sz = n ? FRAME_SIZE + n : 0;
  if( f->kind==FRAME_PAGE ? f->pgno<fs->header.pg_root : f->pgno!=0 ){
    f->sz = 0;                      /* nobody writes over the header region */
  }
  if( f->txid==0 || f->txid>TXID_MAX ) f->sz = 0;
}

/* The CRC of a whole frame; the header comes first, without its CRC. */
uint32_t vdb_frame_crc(uint32_t seed, const unsigned char *header,
                       const void *payload, size_t n){
  uint32_t crc = vdb_crc32c(seed, header, FRAME_CRC);
  return vdb_crc32c(crc, payload, n);
}

/* Read the frame at off into b (room for the largest). False: there is no
** valid one that follows a frame of CRC `seed`. */
static bool frame_read(struct fstore *fs, uint64_t off, uint64_t seq,
                       uint64_t salt, uint32_t seed, unsigned char *b,
                       struct frame *f, int *rc){
  size_t n = 0;

  *rc = fs->ops->read(fs->wal, off, b, FRAME_SIZE + fs->sz_page, &n, fs->err);
  if( *rc!=VECDB_OK || n<FRAME_SIZE ) return false;
  frame_decode(fs, b, f);
  return f->sz!=0 && f->sz<=n && f->seq==seq && f->salt==salt
      && f->crc==vdb_frame_crc(seed, b, b+FRAME_SIZE, f->sz-FRAME_SIZE);
}

/* ---- the scan ------------------------------------------------------------ */

/* How many pages a state has is in its root page, too. The two must agree, for
** memory and the length of the main file depend on it. n_page_root is what the
** newest root page in the log says; 0: none yet, so the number has not changed
** since the log began. If the state is not home, that is the header's. */
static int commit_check(struct fstore *fs, const struct frame *f,
                        page_no n_page, page_no n_page_root){
  if( n_page_root==0 && f->txid<=fs->header.txid ) n_page_root = n_page;
  if( n_page_root==0 ) n_page_root = fs->header.n_page;
  if( n_page==n_page_root && n_page>fs->header.pg_root ) return VECDB_OK;
  return VDB_CORRUPT(fs->err, "frame %llu of the log of %s: transaction %llu "
                     "has %u pages, expected %u", (unsigned long long)f->seq,
                     vdb_pager_name(fs->base.pager),
                     (unsigned long long)f->txid, n_page, n_page_root);
}

/* A valid frame, already in the index as the last one: what it means. */
static int frame_apply(struct fstore *fs, const struct frame *f,
                       const unsigned char *payload, struct log_state *st,
                       page_no *n_page_root){
  int rc;
  if( f->txid>st->txid_used ) st->txid_used = f->txid;
  if( f->kind==FRAME_PAGE ){
    if( f->pgno==fs->header.pg_root ){
      *n_page_root = get_u32(payload + ROOT_NPAGE);
    }
    return VECDB_OK;
  }
  st->n_frame = f->seq;
  st->off_end = fs->ix.off_end;
  st->crc = f->crc;
  st->synced = get_u64(payload + COMMIT_SYNCED);
  st->prep_txid = 0;
  if( f->kind==FRAME_ABORT ){
    vdb_walindex_abort(&fs->ix);
    *n_page_root = st->n_visible ? st->n_page : 0;
    return VECDB_OK;
  }
  rc = commit_check(fs, f, get_u32(payload + COMMIT_NPAGE), *n_page_root);
  if( rc!=VECDB_OK ) return rc;
  if( f->kind==FRAME_PREPARE ){
    st->prep_txid = f->txid;
    st->prep_n_page = get_u32(payload + COMMIT_NPAGE);
    st->prep_token = get_u64(payload + COMMIT_TOKEN);
    memcpy(st->prep_host, payload + COMMIT_HOST, 16);
    return VECDB_OK;
  }
  if( fs->ix.n_commit && f->txid<=fs->ix.commit[fs->ix.n_commit-1].txid ){
    return VDB_CORRUPT(fs->err, "frame %llu of the log of %s commits "
                       "transaction %llu after a later one",
                       (unsigned long long)f->seq,
                       vdb_pager_name(fs->base.pager),
                       (unsigned long long)f->txid);
  }
  st->txid = f->txid;
  if( !(f->flags & FRAME_UNDOABLE) ) st->txid_firm = f->txid;
  st->n_page = get_u32(payload + COMMIT_NPAGE);
  st->n_visible = f->seq;
  return vdb_walindex_add_commit(&fs->ix, f->txid, st->n_page,
                                 get_u64(payload + COMMIT_TOKEN));
}

/* What a search for later frames looks for. */
struct search { uint64_t salt, seq_min; bool found; };

/* Is the frame after the one whose header, of the right salt, is at h (offset
** off) valid against it, and does it tell of a loss? */
static int search_try(struct fstore *fs, struct search *s,
                      const unsigned char *h, uint64_t off,
                      unsigned char *b){
  struct frame f, next;
  int rc = VECDB_OK;

  frame_decode(fs, h, &f);
  if( f.sz==0 || f.seq<s->seq_min ) return VECDB_OK;
  if( !frame_read(fs, off+f.sz, f.seq+1, s->salt, f.crc, b, &next, &rc) ){
    return rc;
  }
  if( next.kind==FRAME_COMMIT || next.kind==FRAME_PREPARE ){
    uint64_t synced = get_u64(b + FRAME_SIZE + COMMIT_SYNCED);
    if( synced>=s->seq_min ) s->found = true;
  }
  return VECDB_OK;
}

/* Search the log from off on. */
static int search_run(struct fstore *fs, uint64_t off, struct search *s){
  unsigned char *chunk = vdb_malloc(SEARCH_BYTES + FRAME_SIZE);
  unsigned char *b = vdb_malloc(FRAME_SIZE + fs->sz_page);
  size_t n = 0;
  int rc = chunk && b ? VECDB_OK : VECDB_NOMEM;

  while( rc==VECDB_OK && !s->found ){
    TRY( fs->ops->read(fs->wal, off, chunk, SEARCH_BYTES + FRAME_SIZE, &n,
                       fs->err) );
    if( n<FRAME_SIZE ) break;
    for(size_t i=0; i+FRAME_SIZE<=n && i<SEARCH_BYTES && !s->found; i+=8){
      if( get_u64(chunk + i + FRAME_SALT)!=s->salt ) continue;
      TRY( search_try(fs, s, chunk+i, off+i, b) );
    }
    off += SEARCH_BYTES;
  }
done:
  vdb_free(chunk);
  vdb_free(b);
  return rc;
}

static int wal_rotten(struct fstore *fs, uint64_t seq){
  return vdb_error(fs->err, VECDB_CORRUPT_WAL, "frame %llu of the log of %s is "
                   "damaged although it was synced; restore a backup, or "
                   "open immutable for the state before the log",
                   (unsigned long long)seq, vdb_pager_name(fs->base.pager));
}

/* The scan stopped where frame seq should begin: torn, or rotten? */
static int tail_judge(struct fstore *fs, uint64_t seq, uint64_t off,
                      uint64_t salt){
  struct search s = { salt, seq, false };
  int rc = search_run(fs, off, &s);
  return rc==VECDB_OK && s.found ? wal_rotten(fs, seq) : rc;
}

/* All frames of a log, whose header is in the index. */
static int wal_scan(struct fstore *fs, struct log_state *st){
  unsigned char *b = vdb_malloc(FRAME_SIZE + fs->sz_page);
  struct walindex *ix = &fs->ix;
  page_no n_page_root = 0;
  struct frame f;
  int rc = b ? VECDB_OK : VECDB_NOMEM;

  while( rc==VECDB_OK && frame_read(fs, ix->off_end, ix->n+1, ix->salt, ix->crc,
                                    b, &f, &rc) ){
    TRY( vdb_walindex_add(ix, f.pgno, f.sz, f.crc) );
    TRY( frame_apply(fs, &f, b+FRAME_SIZE, st, &n_page_root) );
  }
  if( rc==VECDB_OK ) rc = tail_judge(fs, ix->n+1, ix->off_end, ix->salt);
done:
  if( rc==VECDB_OK ) vdb_walindex_truncate(ix, st->n_frame);
  vdb_free(b);
  return rc;
}

/* ---- recovery ------------------------------------------------------------ */

/* There is no log for this file: the main file is all there is. */
static int recover_without_log(struct fstore *fs, const char *why){
  const char *name = vdb_pager_name(fs->base.pager);

  if( fs->header.flags & HEADER_CHECKPOINTING ){
    return vdb_error(fs->err, VECDB_CORRUPT_WAL, "cannot open %s: a checkpoint "
                     "was interrupted, and its log \"%s\" %s", name,
                     fs->path_wal, why);
  }
  if( fs->wal ) vdb_log(VECDB_OK, "log \"%s\" is ignored: it %s",
                        fs->path_wal, why);
  return VECDB_OK;
}

/* The first frame of a log whose header is bad: nothing seeds its CRC, but a
** page has one of its own. */
static bool frame_read_first(struct fstore *fs, unsigned char *b,
                             struct frame *f, int *rc){
  size_t n = 0;

  *rc = fs->ops->read(fs->wal, WALHDR_SIZE, b, FRAME_SIZE + fs->sz_page, &n,
                      fs->err);
  if( *rc!=VECDB_OK || n<FRAME_SIZE ) return false;
  frame_decode(fs, b, f);
  return f->sz!=0 && f->sz<=n && f->seq==1
      && (f->kind!=FRAME_PAGE
          || vdb_page_verify_bytes(b+FRAME_SIZE, fs->sz_page, f->pgno));
}

/* Is a COMMIT or an undecided PREPARE that is not home in the unbroken chain
** that begins behind the bad header? What follows a break was never complete
** and says nothing: the tail of a transaction that a crash tore may stay there
** when the log is begun anew. */
static int chain_is_needed(struct fstore *fs, bool *is_needed){
  unsigned char *b = vdb_malloc(FRAME_SIZE + fs->sz_page);
  txn_id txid_prepared = 0, txid_home = fs->header.txid;
  uint64_t off = WALHDR_SIZE;
  struct frame f;
  bool more;
  int rc = b ? VECDB_OK : VECDB_NOMEM;

  *is_needed = false;
  if( rc!=VECDB_OK ) return rc;
  for(more=frame_read_first(fs, b, &f, &rc); more && !*is_needed;
      more=frame_read(fs, off, f.seq+1, f.salt, f.crc, b, &f, &rc)){
    if( f.kind==FRAME_COMMIT && f.txid>txid_home ) *is_needed = true;
    if( f.kind!=FRAME_PAGE ) txid_prepared = f.kind==FRAME_PREPARE ? f.txid : 0;
    off += f.sz;
  }
  if( txid_prepared>txid_home ) *is_needed = true;
  vdb_free(b);
  return rc;
}

/* The log header is bad. Harmless, unless a commit behind it is not home. */
static int recover_bad_header(struct fstore *fs){
  bool is_needed = false;
  int rc = VECDB_OK;

  TRY( chain_is_needed(fs, &is_needed) );
  if( is_needed ){
    return vdb_error(fs->err, VECDB_CORRUPT_WAL, "the header of the log of %s "
                     "is damaged although it was synced; restore a backup, "
                     "or open immutable for the state before the log",
                     vdb_pager_name(fs->base.pager));
  }
  TRY( recover_without_log(fs, "has no valid header") );
done:
  return rc;
}

/* The log was read; is it as long as the main file says it was? */
static int recover_check(struct fstore *fs, struct log_state *st){
  const struct header *h = &fs->header;

  if( (h->flags & HEADER_CHECKPOINTING) && st->txid<h->target ){
    return recover_without_log(fs, "does not reach far enough");
  }
  if( st->txid<=h->txid ){                      /* the rest is home anyway */
    st->txid = h->txid;
    st->n_page = h->n_page;
  }
  /* What is home stays, and what a checkpoint has begun to bring home. */
  if( st->txid_firm<h->txid ) st->txid_firm = h->txid;
  if( (h->flags & HEADER_CHECKPOINTING) && st->txid_firm<h->target ){
    st->txid_firm = h->target;
  }
  return VECDB_OK;
}

int vdb_wal_recover(struct fstore *fs, struct log_state *st){
  unsigned char b[WALHDR_SIZE];
  size_t n = 0;
  int rc = VECDB_OK;

  memset(st, 0, sizeof(*st));
  st->txid = st->txid_used = st->txid_firm = fs->header.txid;
  st->n_page = fs->header.n_page;
  rc = vdb_wal_open(fs, false);
  if( rc==VECDB_NOTFOUND ) return recover_without_log(fs, "is missing");
  if( rc!=VECDB_OK ) goto done;
  TRY( fs->ops->read(fs->wal, 0, b, sizeof(b), &n, fs->err) );
  if( n==0 ) return recover_without_log(fs, "is empty");
  if( !wal_header_is_valid(b, n) ) return recover_bad_header(fs);
  st->generation = get_u64(b + WALHDR_GENERATION);
  if( !wal_header_belongs(fs, b) ){
    return recover_without_log(fs, "belongs to another file or state");
  }
  st->salt = get_u64(b + WALHDR_SALT);
  st->crc = get_u32(b + WALHDR_CRC);
  st->off_end = WALHDR_SIZE;
  vdb_walindex_init(&fs->ix, st->generation, st->salt, st->crc);
  TRY( wal_scan(fs, st) );
  TRY( recover_check(fs, st) );
done:
  return rc;
}

/* ---- following others ---------------------------------------------------- */

static int follow_begin(struct fstore *fs, const struct log_state *st){
  unsigned char b[WALHDR_SIZE];
  int rc = VECDB_OK;

  TRY( vdb_file_read_full(fs->wal, 0, b, sizeof(b), fs->err) );
  if( get_u64(b + WALHDR_SALT)!=st->salt ){
    TRY( vdb_error(fs->err, VECDB_CORRUPT_WAL, "the log \"%s\" is not the one "
                   "that is in use", fs->path_wal) );
  }
  vdb_walindex_init(&fs->ix, st->generation, st->salt,
                    get_u32(b + WALHDR_CRC));
done:
  return rc;
}

/* Frames up to st->n_frame were published, so only their headers are read. */
static int follow_frame(struct fstore *fs, const struct log_state *st){
  unsigned char b[FRAME_SIZE + COMMIT_SIZE];
  struct walindex *ix = &fs->ix;
  struct frame f;
  int rc = VECDB_OK;

  TRY( vdb_file_read_full(fs->wal, ix->off_end, b, sizeof(b), fs->err) );
  frame_decode(fs, b, &f);
  if( f.sz==0 || f.seq!=ix->n+1 || f.salt!=st->salt ) return
    wal_rotten(fs, ix->n+1);
  TRY( vdb_walindex_add(ix, f.pgno, f.sz, f.crc) );
  if( f.kind==FRAME_ABORT ) vdb_walindex_abort(ix);
  if( f.kind==FRAME_COMMIT ){
    TRY( vdb_walindex_add_commit(ix, f.txid, get_u32(b+FRAME_SIZE+COMMIT_NPAGE),
                                 get_u64(b + FRAME_SIZE + COMMIT_TOKEN)) );
  }
done:
  if( rc!=VECDB_OK ) ix->generation = 0;        /* begin anew next time */
  return rc;
}

int vdb_wal_follow(struct fstore *fs, const struct log_state *st){
  struct walindex *ix = &fs->ix;
  int rc = VECDB_OK;

  if( st->off_end==0 ) return VECDB_OK;
  rc = vdb_wal_open(fs, false);
  if( rc==VECDB_NOTFOUND ){
    rc = vdb_error(fs->err, VECDB_CORRUPT_WAL, "the log \"%s\" has vanished "
                   "while in use", fs->path_wal);
  }
  if( rc!=VECDB_OK ) goto done;
  if( ix->generation!=st->generation || ix->salt!=st->salt
      || ix->n>st->n_frame ){
    TRY( follow_begin(fs, st) );
  }
  while( ix->n<st->n_frame ) TRY( follow_frame(fs, st) );
done:
  return rc;
}
