/* lib_recipe.h -- small databases as bytes, one for each part of the format,
** always the same ones.
**
** Used by   t_golden (the bytes are pinned) and test/fuzz (seeds).
** Errors    abort: a recipe that cannot be followed is a bug.
*/
#ifndef LIB_RECIPE_H
#define LIB_RECIPE_H
#include "pager/file.h"

/* A main file and the log beside it (NULL, 0: none). */
struct file_pair {
  uint8_t *main, *log;
  size_t n_main, n_log;
};

/* Recipes are i = 0..recipe_n()-1. */
size_t recipe_n(void);
const char *recipe_name(size_t i);
/* Follow one. with_log: the last transactions stay in the log. Freed with
** recipe_free. */
void recipe_make(size_t i, bool with_log, unsigned n_thread,
                 struct file_pair *out);
void recipe_free(struct file_pair *f);
/* Follow one in a database that is open: memory, or pages of a host. */
void recipe_follow_in(size_t i, vecdb *db);
/* Bind the columns of an insert, by type, from a stamp. */
void recipe_bind(vecdb_collection *c, vecdb_stmt *s, int key, uint64_t stamp);
#endif
