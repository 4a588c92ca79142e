/* lib_files.h -- everything one can do with bytes that claim to be a database.
**
** Used by   f_image, f_wal, f_shm.
*/
#ifndef LIB_FILES_H
#define LIB_FILES_H
#include "fuzz/fuzz.h"
#include "lab/lib_recipe.h"
#include "pager/file.h"

/* fn for the bytes of every recipe, for targets that make seeds of them. */
void files_each_recipe(bool with_log,
                       void (*fn)(const char *name, const struct file_pair *));
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
