/* table.h -- one table of vectors of the open file, whichever kind of file.
**
** Used by   .import, .export, .dump and .bench, which know no difference.
** Doors     a .vdb is reached through vecdb.h (table_vdb.c), a SQLite database
**           through SQL on its module's tables (table_sql.c).
** Columns   `c` tells them: the collection itself, or an empty one of the same
**           schema, in memory.
** Errors    VECDB_ codes; table.err says what happened.
*/
#ifndef VDB_SHELL_TABLE_H
#define VDB_SHELL_TABLE_H
#include "shell/shell.h"

#define TABLE_ERR 512

struct table {
  struct shell *sh;
  const struct table_ops *ops;
  const char *name;
  vecdb_collection *c;
  vecdb *shape;                   /* of a SQLite database: holds c */
  sqlite3_stmt *write;            /* the INSERT or UPDATE in use */
  bool is_update;                 /* which of them it is */
  char err[TABLE_ERR];
};

/* Where a pass over all rows, in order of the key, stands. */
struct scan {
  struct table *t;
  vecdb_stmt *v;                  /* either of a .vdb, */
  sqlite3_stmt *s;                /* or of a SQLite database */
  char number[40];
};

/* A value of the row; lives until the next step or value. */
struct cell {
  int type;                       /* VECDB_NULL .. VECDB_VECTOR */
  int64_t i;                      /* of an integer */
  const char *text;               /* of text and of numbers: exact */
  const void *data;               /* of blobs and vectors */
  size_t n;                       /* bytes of it */
};

struct table_ops {
  /* A snapshot, or with `write` the one transaction of an import. */
  int  (*begin)(struct table *t, bool write);
  int  (*commit)(struct table *t);
  void (*rollback)(struct table *t);     /* also ends a snapshot */
  /* The savepoint of a batch: `keep` releases it, else it is undone. */
  int  (*batch_begin)(struct table *t);
  int  (*batch_end)(struct table *t, bool keep);

  int  (*create)(struct table *t, const char *schema);
  int  (*open)(struct table *t);         /* VECDB_NOTFOUND: no such table */
  int  (*count)(struct table *t, uint64_t *n_row);
  /* n rows from columns of values, as vecdb_put_many takes them; update finds
  ** the rows by column 0. */
  int  (*put)(struct table *t, size_t n, const vecdb_column_data *d,
              size_t n_d);
  int  (*update)(struct table *t, size_t n, const vecdb_column_data *d,
                 size_t n_d);

  int  (*scan_begin)(struct table *t, struct scan *s);
  int  (*scan_step)(struct scan *s);     /* VECDB_ROW, VECDB_DONE */
  int  (*scan_value)(struct scan *s, int column, struct cell *v);
  void (*scan_end)(struct scan *s);

  /* nq searches, as vecdb_search_many does them and with its results: over
  ** all threads at once, or through SQL one after another by one thread. */
  int  (*search)(struct table *t, const vecdb_search_options *o, size_t nq,
                 int element, const void *queries, int64_t *keys,
                 float *distances);
};
extern const struct table_ops table_ops_vdb, table_ops_sql;

/* For the file that is open. The name is kept, not copied. */
void table_init(struct table *t, struct shell *sh, const char *name);
void table_close(struct table *t);
/* Report what went wrong. */
void table_error(struct table *t, int rc);
/* Value j of a column of values. */
const void *table_value_at(const vecdb_column_data *d, size_t j);
bool table_is_null_at(const vecdb_column_data *d, size_t j);
/* The shortest text that reads back as the same double, and as a double, in
** SQL, too; in s->number. */
const char *table_real_text(struct scan *s, double d);
#endif
