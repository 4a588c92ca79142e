/* coll_int.h -- an open collection, as the files of the row store see it.
**
** Used by   the .c files of store/ that implement collection.h and store.h.
** Threads   the connection's.
**
** INVARIANTS of a collection in the file
**   C1  Slots 0..delta_first-1 are sealed, delta_first..next_slot-1 are the
**       delta: record i of the array DELTA is slot delta_first+i; what the
**       array holds beyond is left over from rows that were sealed.
**   C2  A sealed slot lives iff its bit in LIVE is set; a slot of the delta
**       lives iff its bit in DEAD is clear. Bits of LIVE at delta_first or
**       above and bits of DEAD outside of the delta are clear.
**   C3  For each vector column every live sealed slot is a row of exactly one
**       row group; groups do not overlap and lie below delta_first.
**   C4  The pk map holds exactly the live rows: key -> slot, and column 0 of
**       that slot is the key.
**   C5  The heap holds entries of live rows only.
**   C6  Bits of a NULLS array are only set for live sealed rows and for rows
**       that were live once; cells of dead rows mean nothing.
**   C7  Graphs of a vector column cover ascending, disjoint ranges of sealed
**       slots: every live row of such a range is in the graph (or its side
**       list), so what is not covered is what searches must scan.
**
** CACHES, all by the version numbers of the collection page. Committed
** versions are never used twice, so equal numbers mean equal contents; what a
** transaction of our own makes up (is_dirty) is dropped when it is undone.
*/
#ifndef VDB_COLL_INT_H
#define VDB_COLL_INT_H
#include "pager/btree.h"
#include "pager/extent.h"
#include "pager/format.h"
#include "pager/parray.h"
#include "store/collection.h"
#include "store/store.h"
#include "util/bitset.h"
#include "util/bytes.h"
#include "util/mem.h"

#define SEG_KIND_PLAIN     1            /* SEGKEY.KIND */
#define SEG_KIND_CODER     2
#define EXTENT_KIND_VECTORS 1           /* extent_spec.kind */
#define EXTENT_KIND_SLOTMAP 2
#define EXTENT_KIND_GRAPH   3
#define EXTENT_KIND_CODES   4
#define EXTENT_KIND_GRAPHROWS 5
#define EXTENT_KIND_ROWCODES  6
#define PASSED_SETS 8                   /* passed.h: kept by a collection */
#define SLOT_MAX  0xfffffffdu           /* 2^32-2 slots, SLOT_NONE is none */
#define DELTA_BYTES_MAX (16u<<20)       /* storage.md 7 */
#define DELTA_ROWS_MIN  4096u
#define TEXT_BYTES_MAX  ((size_t)1<<30) /* key, text, blob (storage.md 8) */

/* The fields of the collection page. */
struct coll_state {
  uint64_t version, seg_version, graph_version, delta_edits;
  int64_t  max_key;
  bool     has_max_key;
  bool     is_ordered;                  /* keys ascend with slots */
  slot_no  next_slot, delta_first;
  uint32_t n_live_sealed, n_dead_delta, n_row_sealed;
  page_no  pk, segs, heap, delta, live, dead, cols, graphs;
};

/* Where the value of a column lies in a delta record. */
struct coll_field {
  uint32_t off;                         /* byte in the record */
  uint32_t width;                       /* bytes; 0: aux, not in the record */
  int32_t  i_null;                      /* bit in the null bitmap, -1: none */
};
/* RECORD  null bitmap | scalar cells by column | vectors by column */
struct coll_layout {
  uint32_t sz_record, sz_meta;          /* meta: up to the first vector */
  struct coll_field *field;             /* by column */
};

/* Roots of a scalar column, COLROOT. */
struct col_root { page_no cells, nulls; };

/* A row group, in memory. */
struct seg {
  slot_no first, last;
  uint32_t n_row;
  page_no data, map, codes;             /* extents; 0: it has none */
  int     form;                         /* SEGREC.FORM */
  txn_id  map_txid;                     /* map checked, as created by; else 0 */
};
struct seg_list {
  struct seg *seg;
  size_t n, n_cap;
  struct flat_coder *coder;             /* of its codes; NULL: none yet */
};

/* Bitmap of live slots, shared with open searches. */
struct live_map {
  unsigned n_ref;
  uint64_t n_bit;
  size_t   n_word_cap;
  uint64_t *word;
};

/* The delta in memory: contiguous arrays, shared with open searches. */
struct delta_mirror {
  unsigned n_ref;
  slot_no  first;
  uint32_t n, n_cap;                    /* rows */
  uint64_t edits;                       /* delta_edits it shows */
  uint32_t sz_meta;
  unsigned char *meta;                  /* n_cap * sz_meta */
  int      n_vec;
  unsigned char **vec;                  /* by vector column, n_cap * sz_vec */
};

struct coll {
  struct store *st;
  struct pager *p;
  struct coll *next, **link;            /* open ones of the store; NULL: not
                                        ** among them */
  struct coll *id_next, **id_link;      /* in a chain by id */
  struct coll *dirty_next;              /* among dirty ones */
  unsigned n_ref;
  uint64_t id;
  char    *name, *text;                 /* as in the catalog */
  struct schema *schema;
  struct coll_layout lay;
  int      *vec_col;                    /* column number of each vector */

  bool     is_attached;                 /* by vdb_coll_attach: not in the
                                        ** catalog, changed by us alone */
  bool     is_gone;                     /* its creation was undone */
  bool     is_valid;                    /* state is that of `pager_version` */
  bool     is_dirty;                    /* changed by this transaction */
  uint64_t pager_version, cookie;
  uint64_t n_forgotten;                 /* vdb_pager_n_forgotten of caches */
  page_no  page;
  struct coll_state s;

  struct col_root *root;                /* by column; valid iff has_roots */
  bool     has_roots;
  uint64_t roots_version;               /* seg_version they were read at */
  struct seg_list *segs;                /* by vector number */
  bool     has_segs;
  uint64_t segs_version;                /* seg_version they were read at */
  uint64_t tidy_version;                /* seg_version found tidy */
  bool     is_asking;                   /* this commit asks the tender */
  bool     is_stepping;                 /* optimize has more to enter: no policy */
  struct graph_cache *graphs;           /* graphs.h; NULL: not read yet */
  struct device_hold *device;           /* device.c, by vector number */
  struct passed *passed[PASSED_SETS];   /* passed.h; newest use first */
  struct live_map *live;
  uint64_t live_version;                /* version it shows */
  bool     live_follows;                /* and the running change, too */
  struct delta_mirror *mirror;
  unsigned char *record;                /* scratch: one delta record */
};

/* An open search (coll_runs.hold); closed by the end of its transaction. */
struct coll_hold;

struct store {
  struct pager *p;
  struct vdb_err *err;
  struct pager_config cfg;              /* as given at open */
  struct coll *coll;                    /* open collections, n_coll of them */
  struct coll **bucket;                 /* the same by id */
  size_t n_coll, n_bucket;              /* n_bucket: a power of two, or 0 */
  struct coll *dirty;                   /* those that are dirty */
  bool has_left_dirty;                  /* one of them was closed since */
  struct coll_hold *hold;               /* open searches */
  uint64_t new_id;                      /* the least id that this transaction
                                        ** gave out; 0: none */
  bool is_explicit;                     /* begun by vdb_store_begin_* */
  unsigned n_read_scope;                /* open reading statements */
  uint64_t n_undo;
  unsigned n_thread;                    /* for builds; 0: cores */
  uint64_t sz_build;                    /* memory of a build; 0: the default */
  struct tender *tender;                /* tender.h; NULL: not joined */
  bool is_tender;                       /* the thread's own: no policies */
  bool is_undoable;                     /* what is committed now may be undone */
  vdb_progress_cb progress;
  void *progress_arg;
};

/* ---- store.c ------------------------------------------------------------- */
/* Memory that the build of a graph may take; 0: any. */
uint64_t vdb_store_build_bytes(const struct store *st);
struct vdb_err *vdb_coll_err(struct coll *c);
void vdb_hold_end_all(struct store *st);          /* runs.c */
void vdb_hold_detach_all(struct store *st);       /* the store closes */

/* ---- handles.c ----------------------------------------------------------- */
struct coll *vdb_handle_find(struct store *st, uint64_t id);   /* or NULL */
int  vdb_handle_enter(struct store *st, struct coll *c);
void vdb_handle_leave(struct coll *c);             /* not entered is fine */
/* The running transaction changes c; then, it is over. */
void vdb_handle_dirty(struct coll *c);
void vdb_handles_clean(struct store *st);
/* There is no such collection any more; its id may become another's. */
void vdb_handle_lose(struct coll *c);

/* ---- collection.c -------------------------------------------------------- */
int  vdb_coll_state_read(struct coll *c);         /* page -> c->s */
/* Every change of rows is between these two: begin before the first page
** changes (all checks done), state_write (c->s -> page) after the last. */
void vdb_coll_change_begin(struct coll *c);
int  vdb_coll_state_write(struct coll *c);
/* Row groups or column roots changed; caches that were current still are. */
void vdb_coll_structure_changed(struct coll *c);
int  vdb_coll_page_create(struct store *st, uint64_t id,
                          const struct schema *schema, page_no *page);
int  vdb_coll_page_destroy(struct coll *c);       /* frees everything */
void vdb_coll_drop_caches(struct coll *c);
void vdb_coll_forget_dirty(struct coll *c);       /* after an undo */
int  vdb_coll_roots(struct coll *c);              /* c->root is valid */
uint64_t vdb_coll_delta_limit(struct coll *c);    /* rows */
static inline uint32_t coll_n_delta(const struct coll *c){
  return c->s.next_slot - c->s.delta_first;
}
static inline uint64_t coll_n_row(const struct coll *c){       /* live */
  return (uint64_t)c->s.n_live_sealed + coll_n_delta(c) - c->s.n_dead_delta;
}
int  vdb_coll_corrupt(struct coll *c, const char *file, int line,
                      const char *what);
#define COLL_CORRUPT(c, what) vdb_coll_corrupt((c), __FILE__, __LINE__, (what))

/* ---- passed.c ------------------------------------------------------------ */
void vdb_passed_clear(struct coll *c);             /* keep none */

/* ---- catalog.c ----------------------------------------------------------- */
/* Find c's entry by name, else by id: page, name and text. NOTFOUND. */
int  vdb_catalog_locate(struct coll *c, page_no *page, struct vdb_str *name,
                        struct vdb_str *text);
/* Change page (0: keep) and text (NULL: keep) of c's entry. */
int  vdb_catalog_set(struct coll *c, page_no page, const char *text);
typedef int (*vdb_catalog_fn)(void *arg, uint64_t id, page_no page,
                              const char *name, const char *text);
int  vdb_catalog_each(struct store *st, vdb_catalog_fn fn, void *arg);
int  vdb_catalog_create(struct store *st, const char *name, const char *text,
                        const uint64_t *id);      /* NULL: the next one */
int  vdb_catalog_touch(struct store *st);         /* a new schema cookie */
/* NOTFOUND, with its sentence. */
int  vdb_catalog_missing(struct store *st, const char *name);

/* ---- cell.c: values, cells, records, heap -------------------------------- */
int  vdb_cell_width(int type);
int  vdb_layout_create(const struct schema *s, struct coll_layout *out);
void vdb_layout_clear(struct coll_layout *lay);
/* Is *v storable in the column? CONSTRAINT_TYPE, _NOTNULL, TOOBIG. */
int  vdb_value_check(struct coll *c, int column, const struct vdb_value *v);
/* Encode a scalar: cell of its width, *is_null. */
void vdb_cell_encode(int type, const struct vdb_value *v,
                     unsigned char *cell, bool *is_null);
/* Put *v in the record; scalars and vectors, not aux. */
void vdb_record_set(const struct coll *c, unsigned char *rec, int column,
                    const struct vdb_value *v);
bool vdb_record_is_null(const struct coll *c, const unsigned char *rec,
                        int column);
/* Heap entry of one value: write what the column needs (long text, aux), or
** remove what is there. */
int  vdb_heap_set(struct coll *c, slot_no slot, int column,
                  const struct vdb_value *v);
bool vdb_heap_needed(const struct coll *c, int column,
                     const struct vdb_value *v);
int  vdb_heap_drop_row(struct coll *c, slot_no slot);
int  vdb_heap_move(struct coll *c, slot_no from, slot_no to,
                   const struct vdb_value *row);  /* UNSET columns only */
int  vdb_heap_get(struct coll *c, slot_no slot, int column,
                  struct vdb_str *out);           /* NOTFOUND: none */
/* Decode. */
int  vdb_cell_decode(struct coll *c, int column, slot_no slot,
                     const unsigned char *cell, bool is_null,
                     struct vdb_str *buf, struct vdb_value *out);

/* ---- column.c: sealed scalar columns ------------------------------------- */
int  vdb_column_put(struct coll *c, int column, slot_no lo, uint32_t n,
                    const unsigned char *cells, const uint64_t *nulls);
                                         /* nulls: bit i is slot lo+i; NULL */
int  vdb_column_get(struct coll *c, int column, slot_no slot,
                    unsigned char *cell, bool *is_null);
int  vdb_column_clear(struct coll *c, slot_no lo, slot_no hi);
/* Set bits lo..lo+n-1 of a bitmap array to those of `bits` (bit i is lo+i). */
int  vdb_bits_put(struct pager *p, page_no root, slot_no lo, uint32_t n,
                  const uint64_t *bits);
int  vdb_bits_set_one(struct pager *p, page_no root, slot_no at, bool on);
int  vdb_bits_get_one(struct pager *p, page_no root, slot_no at, bool *on);

/* ---- live.c -------------------------------------------------------------- */
int  vdb_live_ref(struct coll *c, struct live_map **out);
void vdb_live_unref(struct live_map *m);
/* Live slots in lo..hi-1. */
uint64_t vdb_live_count(const struct live_map *m, uint64_t lo, uint64_t hi);
/* The slot of live row n (0: the first) at or after slot lo; n_bit: none. */
uint64_t vdb_live_nth(const struct live_map *m, uint64_t lo, uint64_t n);
/* Inside a change: keep the cache in step, where it is current and nobody
** else's. */
void vdb_live_set(struct coll *c, slot_no slot, bool on);

/* ---- delta.c ------------------------------------------------------------- */
int  vdb_delta_get(struct coll *c, slot_no slot, unsigned char *rec);
bool vdb_delta_is_mirrored(const struct coll *c, slot_no slot);
int  vdb_delta_append(struct coll *c, const unsigned char *rec, slot_no *slot);
int  vdb_delta_put(struct coll *c, slot_no slot, const unsigned char *rec);
int  vdb_delta_sync(struct coll *c);               /* c->mirror is current */
void vdb_delta_unref(struct delta_mirror *m);
int  vdb_delta_seal(struct coll *c);

/* ---- segment.c ----------------------------------------------------------- */
/* Number of a column among the vector columns, -1 if it is none. */
int  vdb_vector_number(const struct coll *c, int column);
int  vdb_segs_load(struct coll *c);                /* c->segs is current */
void vdb_segs_clear(struct coll *c);
/* Pin a group's extents, checked. *slots is NULL for the identity. */
int  vdb_seg_pin(struct coll *c, int i_vec, struct seg *g, struct extent *data,
                 struct extent *map, const slot_no **slots);
void vdb_seg_key(unsigned char *key, int column, int kind, slot_no first);
int  vdb_seg_vector(struct coll *c, int i_vec, slot_no slot,
                    unsigned char *out);
/* Write rows as a new group (slots NULL: first..first+n-1) and enter it. */
int  vdb_seg_write(struct coll *c, int i_vec, slot_no first, uint32_t n,
                   const slot_no *slots, const unsigned char *rows);
int  vdb_seg_remove(struct coll *c, int i_vec, const struct seg *g);
/* Give a group codes, or take them away (0). The old ones are freed. */
int  vdb_seg_set_codes(struct coll *c, int i_vec, struct seg *g,
                       page_no codes);
/* Is `e` the extent that it should be, of this collection? */
int  vdb_seg_check_extent(struct coll *c, const struct extent *e,
                          uint32_t kind, uint32_t stride, uint32_t n_rec);
/* Bytes of a stored row of a group; the element type of such rows, or 0: the
** column's own. */
uint32_t vdb_seg_row_bytes(const struct coll *c, int i_vec,
                           const struct seg *g);
int  vdb_seg_row_type(const struct seg *g);
/* Rows i..i+n-1 of a group, from where its data lie, as the column has them. */
void vdb_seg_rows(const struct coll *c, int i_vec, const struct seg *g,
                  const unsigned char *data, uint32_t i, uint32_t n,
                  unsigned char *out);
/* Pin data and map, verifying the map alone. */
int  vdb_seg_pin_raw(struct coll *c, int i_vec, struct seg *g,
                     struct extent *data, struct extent *map,
                     const slot_no **slots);
uint32_t vdb_seg_capacity(const struct coll *c, int i_vec);

/* ---- narrow.c: floats stored as bytes ------------------------------------ */
enum { FORM_PLAIN = 0, FORM_U8 = 1, FORM_I8 = 2 };   /* SEGREC.FORM */
/* The form in which n rows of column v are stored; out has room for a byte
** per element and is filled unless that is FORM_PLAIN. */
int  vdb_narrow(const struct coll *c, int v, const unsigned char *rows,
                uint32_t n, unsigned char *out);
/* Could rows of column v have another form than FORM_PLAIN? */
bool vdb_narrow_fits(const struct coll *c, int v);

/* ---- codes.c ------------------------------------------------------------- */
/* The coder in a CODEREC of column v. */
int  vdb_codes_decode(struct coll *c, int v, const unsigned char *val,
                      size_t n_val, struct flat_coder **out);
/* Should a group of n rows of column v have codes? */
bool vdb_codes_wanted(const struct coll *c, int v, uint32_t n);
/* Write codes of n rows; *codes names the extent. */
int  vdb_codes_write(struct coll *c, int v, const unsigned char *rows,
                     uint32_t n, page_no *codes);
int  vdb_codes_pin(struct coll *c, int v, const struct seg *g,
                   struct extent *out);
/* Groups that should have codes get them, others lose them: for files of other
** versions. Inside a write transaction. */
int  vdb_codes_tidy(struct coll *c);
/* Do the codes of a group say what its rows do? */
int  vdb_codes_verify(struct coll *c, int v, struct seg *g, bool *ok);

/* ---- graphs.c ------------------------------------------------------------ */
void vdb_graphs_clear(struct coll *c);             /* the cache */
void vdb_device_clear(struct coll *c);             /* what GPUs hold */
int  vdb_graphs_destroy(struct coll *c);           /* free all of the file's */
int  vdb_graphs_stats(struct coll *c, vecdb_collection_stats *out);

/* ---- row.c --------------------------------------------------------------- */
/* The whole record of any live slot. */
int  vdb_record_load(struct coll *c, slot_no slot, unsigned char *rec);
/* Key bytes of a value; CONSTRAINT_TYPE, TOOBIG. */
struct coll_key { unsigned char b[BTREE_KEY_MAX]; size_t n; };
int  vdb_key_encode(struct coll *c, const struct vdb_value *v,
                    struct coll_key *out);
/* The sentence for a key that was refused (TOOBIG, CONSTRAINT_PK, NOTFOUND);
** returns rc. */
int  vdb_key_fail(struct coll *c, int rc, const struct vdb_value *v);
int  vdb_slot_left(struct coll *c);                /* FULL: none */
/* A key is given to a new row: the greatest ever, and their order. */
void vdb_key_note(struct coll *c, const struct vdb_value *key);
int  vdb_key_of_slot(struct coll *c, slot_no slot, struct coll_key *out);
int  vdb_pk_get(struct coll *c, const struct coll_key *k, slot_no *slot);
int  vdb_pk_put(struct coll *c, const struct coll_key *k, slot_no slot,
                enum btree_put_mode mode);
/* The row dies: bit, counters, heap. Not the pk map, not the page. */
int  vdb_row_kill(struct coll *c, slot_no slot);
/* Check a row to insert; give a NULL integer key its value in *key. */
int  vdb_row_check(struct coll *c, const struct vdb_value *row,
                   struct vdb_value *key);

/* ---- collection.c, for vacuum -------------------------------------------- */
/* A handle of a collection that is in no catalog yet. */
int  vdb_coll_attach(struct store *st, uint64_t id, page_no page,
                     const char *name, const char *text, struct coll **out);

/* ---- optimize.c ---------------------------------------------------------- */
/* As vdb_store_write_begin, waiting for the lock even where the handle does not:
** there is work that must not be lost. */
int  vdb_coll_write_patiently(struct coll *c, struct write_scope *w);
/* Row groups that a commit would tidy; segments are loaded. And doing it. */
bool vdb_coll_has_untidy_groups(struct coll *c);
int  vdb_coll_tidy_groups(struct coll *c);
/* ---- tend.c: all upkeep, outside of transactions; *did: there was some ----- */
int  vdb_coll_tend(struct coll *c, bool *did);
/* Policy optimize=commit: quickly, could there be work? And doing it. */
bool vdb_coll_wants_tidying(struct coll *c);
int  vdb_coll_maintain(struct coll *c);
#endif
