/* lib_files.h -- small databases as bytes, and everything one can do with
** bytes that claim to be a database.
**
** Used by   f_image, f_wal, f_shm.
*/
#ifndef LIB_FILES_H
#define LIB_FILES_H
#include "fuzz/fuzz.h"
#include "pager/file.h"

/* A main file and the log beside it (NULL, 0: none). */
struct file_pair {
  uint8_t *main, *log;
  size_t n_main, n_log;
};

/* The databases that the corpus starts from, one for each part of the
** format: i = 0.. files_n()-1. with_log: the last transactions stay in the
** log. Freed with files_free. */
size_t files_n(void);
const char *files_name(size_t i);
void files_make(size_t i, bool with_log, struct file_pair *out);
void files_free(struct file_pair *f);

/* A world in memory that holds the pair as "x.vdb". */
struct vecdb_file_ops *files_world(const struct file_pair *f);
/* Open "x.vdb" of the world. NULL: refused (cleanly, or the target fails). */
vecdb *files_open(struct vecdb_file_ops *ops, uint64_t how);
/* Hash of all rows of all collections; *rc_out says why reading stopped. */
uint64_t files_digest(vecdb *db, int *rc_out);
/* Read, search, check, write, and so on, as the bits of `how` say. If the
** check finds nothing wrong, reading must not, and a search for all rows
** must give the rows of a scan. */
void files_use(vecdb *db, uint64_t how);
#endif
