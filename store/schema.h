/* schema.h -- the schema of a collection: parsed text, printed again.
**
** Used by   store/ (catalog, rows, planner) and vecdb.c.
** Threads   a struct schema is not changed after parsing, save by
**           vdb_schema_set_option.
** Errors    SYNTAX for text that does not parse or words nobody knows, RANGE
**           for numbers out of range, TOOBIG for too many columns, MISMATCH
**           for a metric that does not fit a type, EXISTS for two columns of
**           one name; the sentence is in *err.
**
** The grammar is that of sql.md 1. What is stored is the canonical text:
** key first, then the columns in the order written, then the table options;
** printing a parsed canonical text gives the same bytes again.
*/
#ifndef VDB_SCHEMA_H
#define VDB_SCHEMA_H
#include "util/common.h"
#include "util/err.h"

#define SCHEMA_VECTOR_MAX      64
#define SCHEMA_PARTITION_MAX   64
#define SCHEMA_META_MAX      1024
#define SCHEMA_AUX_MAX       1024
#define SCHEMA_DIMS_MAX     65535
#define SCHEMA_NAME_MAX       255      /* bytes of a column's name */
#define SCHEMA_TEXT_MAX    (1u<<20)    /* bytes of a schema text */

enum schema_index_kind {               /* what was asked for */
  INDEX_FLAT = 1, INDEX_GRAPH = 2, INDEX_IVF = 3
};
enum schema_codec {                    /* flat: codec=, ivf-codecs.md 5 */
  CODEC_DEFAULT = 0, CODEC_RABITQ = 1, CODEC_SQ8 = 2, CODEC_F16 = 3,
  CODEC_BF16 = 4, CODEC_PQ4 = 5, CODEC_PQ8 = 6, CODEC_LSH = 7, CODEC_NONE = 8
};
enum schema_nav {                      /* graph: nav= */
  NAV_AUTO = 0, NAV_NONE = 1, NAV_PCA = 2, NAV_RP = 3, NAV_TRUNCATE = 4
};
/* 0 in any field but the kind: the default. */
struct schema_index {
  enum schema_index_kind kind;
  uint32_t bits;                       /* 1, 2, 4 (LSH: code length) */
  enum schema_codec codec;             /* flat */
  uint32_t r, build_l;                 /* graph: degree, list while building*/
  double   alpha;                      /* graph: pruning */
  enum schema_nav nav;                 /* graph: navigation code ... */
  uint32_t n_nav;                      /* ... and its dimensions */
  uint32_t nlist, nprobe;              /* ivf */
  bool     is_soar;                    /* ivf: spill=soar */
  bool     is_given;                   /* named in the text */
};

struct schema_column {
  char    *name;                       /* as written, without quotes */
  char    *decl;                       /* "float[768]", "text", .. */
  int      role;                       /* VECDB_ROLE_* */
  int      type;                       /* VECDB_INTEGER .. VECDB_VECTOR */
  bool     not_null;
  /* Of a vector: */
  int      element;                    /* VECDB_F32 .. */
  uint32_t dims;                       /* elements; bits for VECDB_BIT */
  int      metric;                     /* VECDB_L2 .. */
  bool     metric_given;               /* named in the text */
  uint32_t sz_vec;                     /* bytes of one value */
  struct schema_index index;
  double   recall;                     /* 0: the table's */
  uint32_t ef;                         /* 0: the table's */
};

enum schema_policy { POLICY_COMMIT = 0, POLICY_MANUAL = 1,
                     POLICY_BACKGROUND = 2 };

struct schema {
  struct schema_column *col;           /* col[0] is the key */
  int      n_col;
  bool     has_key;                    /* declared; else col[0] is "rowid" */
  int      n_vector, n_partition, n_meta, n_aux;
  int      i_first_vector;
  /* Table options; 0 and NULL: not given. */
  bool     policy_given;
  enum schema_policy policy;
  uint64_t merge_rows;
  double   recall;
  uint32_t ef;
  uint32_t page_size, chunk_size;
  uint32_t durability;                 /* 1 full, 2 relaxed */
  char    *file, *collection;
};

/* Parse text. *out is freed with vdb_schema_destroy. */
int  vdb_schema_parse(const char *text, struct vdb_err *err,
                      struct schema **out);
void vdb_schema_destroy(struct schema *s);               /* NULL is fine */

/* The canonical text, vdb_free()d by the caller. `stored` leaves out what
** belongs to the statement rather than to the collection: file, collection,
** durability, page_size, chunk_size. */
int  vdb_schema_print(const struct schema *s, bool stored, char **out);

/* Number of the column of that name (ASCII case ignored), or -1. */
int  vdb_schema_find(const struct schema *s, const char *name);

/* Set one persistent table option ("optimize", "merge_rows", "recall", "ef")
** from its text, or the index of a vector column ("COLUMN.index"). NOTFOUND names the nearest known one; nothing changes on
** error. */
int  vdb_schema_set_option(struct schema *s, const char *name,
                           const char *value, struct vdb_err *err);

/* Quote `name` if it is not a plain identifier. */
struct vdb_str;
void vdb_schema_quote(struct vdb_str *out, const char *name);
#endif
