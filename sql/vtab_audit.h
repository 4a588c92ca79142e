/* vtab_audit.h -- measuring the recall of searches against exact ones.
**
** Used by   vtab_recall.c and vtab_tune.c.
** Errors    SQLite codes; the sentence goes to *err.
**
** Queries are the vectors of rows drawn at random; a row is not counted as its
** own neighbour. The truth is an exact search of the same snapshot. Ties count
** as found: what is compared is the distance, not the key.
*/
#ifndef VDB_VTAB_AUDIT_H
#define VDB_VTAB_AUDIT_H
#include "sql/vtab_int.h"

struct audit {
  struct sql_table *t;
  int column;                 /* vector column */
  int n, n_max;               /* queries */
  uint32_t k;
  uint64_t seed;
  size_t sz;                  /* bytes of a vector */
  unsigned char *vec;         /* n vectors */
  int64_t *key;               /* of their rows; slot in text with a text key */
  char **text;                /* text keys, or NULL */
  char **filter;              /* of captured queries; NULL: none has one */
  int *bucket;                /* BUCKET_*, of captured queries */
  int only;                   /* measure this bucket; BUCKET_ALL: every one */
  double *limit;              /* distance of the k-th true neighbour */
  int *n_true;                /* neighbours there are, at most k */
};

/* How many rows a captured query's filter lets pass. */
enum { BUCKET_ALL = -1, BUCKET_NONE, BUCKET_TENTH, BUCKET_HUNDREDTH,
       BUCKET_FEW, BUCKET_N };

struct audit_result {
  int n;                                /* queries measured */
  double recall, lower, upper;          /* 95 % interval */
  double ms;                            /* of a query, mean */
  uint32_t ef;                          /* effort of the last one; 0: exact */
  uint64_t n_distance;                  /* compared, mean */
};

/* What one measurement asks for. All 0: as the table is set. */
struct audit_effort { uint32_t ef; double recall; int is_exact; };

/* Draw up to n rows. Call within vdb_conn_begin_read. */
int vdb_audit_begin(struct audit *a, struct sql_table *t, int column,
                    uint32_t k, int n, uint64_t seed, char **err);
/* The same for captured queries, up to n; their rows are not known. */
int vdb_audit_begin_captured(struct audit *a, struct sql_table *t, int column,
                             uint32_t k, int n, char **err);
/* vtab_capture.c: append them. A VECDB_ code. */
int vdb_capture_audit(struct sql_table *t, struct audit *a);
void vdb_audit_end(struct audit *a);
/* Exact neighbours in coll, which has the rows of the table or some of them. */
int vdb_audit_truth(struct audit *a, vecdb *db, vecdb_collection *coll,
                    char **err);
int vdb_audit_measure(struct audit *a, vecdb *db, vecdb_collection *coll,
                      const struct audit_effort *effort,
                      struct audit_result *out, char **err);
/* The smallest ef with which the measured recall reaches `target`; *ef 0: none
** up to the greatest tried does. out is what was measured with it. */
int vdb_audit_find_ef(struct audit *a, vecdb *db, vecdb_collection *coll,
                      double target, uint32_t *ef, struct audit_result *out,
                      char **err);
/* The column of that name, or the first vector column for NULL; -1 with *err. */
int vdb_audit_column(struct sql_table *t, const char *name, char **err);
double vdb_audit_now(void);             /* seconds, for differences */
#endif
