/* reader.h -- files of vectors and files of rows, for .import.
**
** Errors    functions return false and leave a sentence in `err`; it names
**           the file and the row or line, what was expected and what was
**           found. Nothing read before is invalid then.
*/
#ifndef VDB_SHELL_READER_H
#define VDB_SHELL_READER_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define READER_ERR 512
#define READER_MAX_COLS 1024

/* Open a file, "-" or "|COMMAND" for reading and seeking. NULL: `why`, of
** READER_ERR/2 bytes, says why not. */
FILE *reader_file_open(const char *path, char *why);

/* ---- Vectors ------------------------------------------------------------- */
enum vec_format {
  VEC_NONE, VEC_FVECS, VEC_BVECS, VEC_IVECS,   /* i32 d before each row */
  VEC_FBIN, VEC_U8BIN, VEC_I8BIN, VEC_IBIN,    /* u32 n, u32 d, rows */
  VEC_NPY                                      /* numpy, 2-d, C order */
};

struct vec_reader {
  FILE *f;
  const char *path;
  enum vec_format format;
  int      element;          /* VECDB_F32 .. of the rows handed out */
  int      source;           /* how a number is stored: 'f' 'd' 'e' 'u' 'b' 'i' */
  uint32_t dims;
  uint64_t n_total;          /* rows in the file */
  uint64_t n_read;
  unsigned char *raw;        /* one row as stored */
  char err[READER_ERR];
};

/* By name ("fvecs"), by the extension of path when name is NULL. */
enum vec_format vec_format_find(const char *name, const char *path);
/* Open and check header and size of the whole file. */
bool vec_reader_open(struct vec_reader *r, const char *path,
                     enum vec_format format);
void vec_reader_close(struct vec_reader *r);
size_t vec_reader_row_bytes(const struct vec_reader *r);
bool vec_reader_skip(struct vec_reader *r, uint64_t n);
/* Up to n rows into buf; *n_got is 0 at the end. */
bool vec_reader_next(struct vec_reader *r, size_t n, void *buf, size_t *n_got);

/* ---- Rows of text -------------------------------------------------------- */
enum row_format { ROW_NONE, ROW_CSV, ROW_TSV, ROW_JSONL, ROW_U8 };

struct row_reader {
  FILE *f;
  const char *path;
  enum row_format format;
  int      n_col;
  char    *name[READER_MAX_COLS];
  char    *field[READER_MAX_COLS];   /* of the current row; NULL is NULL */
  uint64_t n_line;                   /* of the current row, from 1 */
  uint64_t n_row;
  char    *buf;                      /* holds the fields */
  size_t   n_buf, n_cap;
  void    *json;                     /* sqlite3*, for jsonl */
  void    *json_stmt;
  char err[READER_ERR];
};

enum row_format row_format_find(const char *name, const char *path);
/* Opens and reads the header. A .u8 file is one column, named after the file,
** with one byte per row. */
bool row_reader_open(struct row_reader *r, const char *path,
                     enum row_format format);
void row_reader_close(struct row_reader *r);
bool row_reader_next(struct row_reader *r, bool *at_end);
bool row_reader_rewind(struct row_reader *r);
#endif
