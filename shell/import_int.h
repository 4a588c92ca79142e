/* import_int.h -- what import.c and import_plan.c share. */
#ifndef VDB_SHELL_IMPORT_INT_H
#define VDB_SHELL_IMPORT_INT_H
#include "shell/reader.h"
#include "shell/table.h"

enum on_error { ON_ERROR_ABORT, ON_ERROR_SKIP, ON_ERROR_LOG };

struct import_args {
  const char *path, *table, *meta, *column, *format, *id, *metric;
  uint64_t skip, limit, batch;        /* 0: none, all, by size */
  long long first_id;
  bool has_first_id;
  enum on_error on_error;
};

/* One column of the row file and where it goes. */
struct import_column {
  int type;                           /* VECDB_INTEGER, _REAL, _TEXT, _VECTOR,
                                      ** as inferred or as the table has it */
  int target;                         /* column of the table; -1: left out */
  uint32_t dims;                      /* of a vector column */
  int element;
};

struct import {
  struct shell *sh;
  struct import_args a;
  struct vec_reader vec;
  struct row_reader row;
  bool has_vec, has_row;
  bool is_update;                     /* metadata of rows that exist */
  struct import_column col[READER_MAX_COLS];
  int  vec_target;                    /* column of the vectors of `vec` */
  int  vec_element;                   /* its element type */
  struct table t;
  uint64_t n_total;                   /* rows expected; 0 unknown */
  uint64_t n_done, n_bad;
  char err[READER_ERR];
};

bool import_fail(struct import *im, const char *fmt, ...)
  __attribute__((format(printf,2,3)));
/* Infer types, make the table when it is absent, map columns. Runs inside the
** write transaction. */
bool import_plan(struct import *im);
#endif
