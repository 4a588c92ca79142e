/* stmt_int.h -- a statement, as the files stmt*.c see it. */
#ifndef VDB_STMT_INT_H
#define VDB_STMT_INT_H
#include "store/filter.h"
#include "store/multi.h"
#include "store/passed.h"
#include "store/search.h"
#include "store/stmt.h"

#define STMT_KEYS_AHEAD  16

enum stmt_state { ST_RESET, ST_ROW, ST_DONE, ST_ABORTED };

/* A bound value. The bytes belong to the caller (free_fn NULL), to us
** (is_copy), or are handed back through free_fn. */
struct binding {
  bool is_set;
  struct vdb_value v;
  int element;                 /* of a VECTOR */
  bool is_copy;
  vecdb_free_fn free_fn;
};

/* The row a statement stands on; values are read when they are asked for. */
struct stmt_row {
  slot_no slot;
  bool *is_loaded;             /* by column */
  struct vdb_value *val;
  struct vdb_str *buf;         /* bytes of val */
  struct vdb_str *text;        /* val as text, when it is none */
  double distance;
};

struct stmt {
  struct session *ss;
  struct stmt *next, **link;   /* list of the session */
  void *owner;
  struct coll *coll;
  const struct schema *schema;
  enum stmt_kind kind;
  unsigned flags;              /* VECDB_OR_* */
  enum stmt_state state;
  bool is_suspended;           /* ROW: the place is known by key */
  bool held;                   /* the automatic read transaction */
  int rc_column;               /* a value of this row could not be read */

  struct binding *col;         /* insert, update: by column */
  struct binding key, query;
  struct binding *param;       /* filter parameters */
  unsigned n_param;
  uint64_t bind_version;       /* changes with params and keys */
  struct stmt_row row;
  void *vec_buf;               /* vectors that need another element type */

  struct filter *filter;       /* scan, search */
  struct filter_run *run;      /* while in progress */
  struct keyset *keys;
  char *filter_text;           /* as it was given */
  /* Rows that passed, kept from run to run while nothing changes. */
  struct passed *passed;
  uint64_t passed_bind;        /* bind_version they are for */

  vecdb_search_options opt;    /* search */
  int column;
  struct multi_part *part;     /* search of several columns */
  size_t n_part;
  struct vdb_hit *hit;
  size_t n_hit, i_hit;
  /* Integer keys of hit[i_ahead..], n_ahead of them: those of a row are hardly
  ** ever the only ones asked for. */
  int64_t key_ahead[STMT_KEYS_AHEAD];
  size_t i_ahead, n_ahead;
  struct vdb_str hit_keys;     /* suspended: keys of hit[i_hit..], encoded */
  size_t off_key;              /* of the next one */

  struct coll_cursor *cursor;  /* scan */
  struct keyset *found;        /* scan: keys of the rows that passed, if few */
  size_t i_key;                /* scan of a set of keys: the next one */
};

/* Bytes of vec_buf for a column: kept aligned for any element type. */
static inline size_t vdb_vec_room(const struct schema_column *col){
  return ((size_t)col->sz_vec+63) & ~(size_t)63;
}

/* stmt.c */
int  vdb_stmt_key_missing(struct stmt *s, const struct vdb_value *key);
void vdb_stmt_row_set(struct stmt *s, slot_no slot, double distance);
int  vdb_stmt_row_load(struct stmt *s);          /* every column */
int  vdb_stmt_filter_begin(struct stmt *s);      /* s->run, when filtered */
/* s->passed, for a filter or keys, of the state at hand; runs: what the search
** has open, or NULL. */
int  vdb_stmt_pass(struct stmt *s, const struct coll_runs *runs);

/* stmt_bind.c */
void vdb_binding_clear(struct binding *b);
/* The bound value as one of column `column`, ready for collection.h. */
int  vdb_stmt_bound(struct stmt *s, const struct binding *b, int column,
                    void *buf, struct vdb_value *out);

/* stmt_search.c */
/* The integer key of the row that a search stands on. */
int  vdb_stmt_search_key(struct stmt *s, int64_t *key);

/* One file per kind: step from RESET and from ROW; end lets go of what a run
** holds besides the transaction. */
int  vdb_stmt_write_step(struct stmt *s);
int  vdb_stmt_get_step(struct stmt *s);
int  vdb_stmt_scan_step(struct stmt *s);
int  vdb_stmt_scan_suspend(struct stmt *s);
void vdb_stmt_scan_end(struct stmt *s);
int  vdb_stmt_search_step(struct stmt *s);
int  vdb_stmt_search_suspend(struct stmt *s);
void vdb_stmt_search_end(struct stmt *s);
#endif
