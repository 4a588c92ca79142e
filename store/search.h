/* search.h -- which rows a search may return, and the nearest of them.
**
** Used by   store/stmt_search.c, vecdb.c (vecdb_search_many).
** Threads   the connection's; searches of a batch use several threads inside.
** Errors    VECDB_ codes; the sentence is in vdb_store_err().
**
** All functions need a transaction.
*/
#ifndef VDB_SEARCH_H
#define VDB_SEARCH_H
#include <pthread.h>

#include "index/index.h"
#include "store/collection.h"
#include "store/filter.h"
#include "store/session.h"

/* Keys that a search or scan is restricted to, sorted, without doubles. */
struct key_text { char *p; size_t n; };
struct keyset {
  int type;                  /* VECDB_INTEGER or VECDB_TEXT */
  size_t n;
  int64_t *i;                /* INTEGER */
  struct key_text *t;        /* TEXT */
};
int  vdb_keyset_create(size_t n, const int64_t *i, const char *const *z,
                       struct keyset **out);
/* The keys of n rows, those whose bit is set. */
int  vdb_keyset_of_rows(struct coll *c, const uint64_t *rows, uint64_t n_slot,
                        uint64_t n, struct keyset **out);
void vdb_keyset_destroy(struct keyset *k);                  /* NULL is fine */
void vdb_keyset_get(const struct keyset *k, size_t i, struct vdb_value *out);

/* Bitmap by slot, r->n_slot bits, of the live rows that pass the filter
** (NULL: all) and whose key is in the set (NULL: all); freed with vdb_free.
** *n is how many. */
int  vdb_search_rows(struct coll *c, const struct coll_runs *r,
                     struct filter_run *filter, const struct keyset *keys,
                     uint64_t **out, uint64_t *n);

/* What the caller of a search wants of an approximate index. */
struct graph_wish { uint32_t ef; double recall; bool exact; };

struct search_watch {                  /* what the progress callback knows */
  struct session *ss;
  pthread_t thread;                    /* of the connection */
};

struct search_request {
  int column;                          /* of vectors */
  uint64_t k;                          /* 0: all in the window */
  const struct flat_window *window;    /* NULL: any distance */
  const uint64_t *rows;                /* NULL: all live rows */
  uint64_t n_rows;                     /* rows that qualify */
  struct graph_wish wish;
};

/* Everything within a distance, and the caller lets graphs answer it, nearly? */
bool vdb_search_range_wish(const struct search_request *q);
/* Open what a search with this request must look at: where graphs may answer
** it, only the rows that they do not cover. */
int  vdb_search_open(struct coll *c, const struct search_request *q,
                     struct coll_runs *out);
/* Fill *s and *w for an exact search of the runs by one thread; keep *w as
** long as *s. */
void vdb_search_setup(struct session *ss, struct coll *c,
                      const struct coll_runs *r,
                      const struct search_request *q,
                      struct search_watch *w, struct flat_search *s);
/* The rows nearest to the query, in order; freed with vdb_free. */
int  vdb_search_one(struct session *ss, struct coll *c,
                    const struct coll_runs *r,
                    const struct search_request *q, const void *query,
                    struct vdb_hit **hit, size_t *n_hit);
/* nq queries, `stride` bytes apart, k>0: those of query i are hit[i*k..] and
** n_hit[i] many. hit and n_hit are the caller's. k is at most the rows that
** qualify. */
int  vdb_search_batch(struct session *ss, struct coll *c,
                      const struct coll_runs *r,
                      const struct search_request *q, const void *queries,
                      size_t stride, size_t nq, struct vdb_hit *hit,
                      size_t *n_hit);

/* Add what a walk did to the note of the last search. */
struct vdb_graph_stats;
void vdb_search_note_walk(struct session *ss, const struct vdb_graph_stats *w);
/* A walk found too few: the codes of all rows that pass are compared. */
void vdb_search_note_codes(struct session *ss);

/* What options say of approximate indexes. */
void vdb_search_wish(const vecdb_search_options *opt, struct graph_wish *w);
/* The window of search options; false: any distance will do. VECDB_RANGE. */
int  vdb_search_window(const vecdb_search_options *opt, struct vdb_err *err,
                       struct flat_window *w, bool *has_window);
/* Check options against a schema; *column is that of the vectors. MISUSE,
** RANGE, MISMATCH, NOTFOUND. */
int  vdb_search_check(const struct schema *s, const vecdb_search_options *opt,
                      struct vdb_err *err, int *column);
#endif
