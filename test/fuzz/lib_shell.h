/* lib_shell.h -- the shell inside a fuzz target.
**
** Used by   f_shell, f_import, f_sql. Programs that are started, and files other than
**           the shell's own that are opened for writing, fail the target.
*/
#ifndef LIB_SHELL_H
#define LIB_SHELL_H
#include <sqlite3.h>

#include "fuzz/fuzz.h"
#include "shell/shell.h"

/* Once: where files go, limits of SQLite, no output. */
void shell_world_begin(void);
/* A shell with a database of its own in which `sql` was run (may be NULL), and
** nothing else. The caller gives it back; it may be lent again if nothing
** changed. `sql` is compared by its address. */
struct shell *shell_lend(bool is_safe, const char *sql);
void shell_return(struct shell *sh);
/* The next statement may take as long again. */
void shell_renew(struct shell *sh);
/* Run text as a script. */
void shell_feed(struct shell *sh, const void *p, size_t n);
/* Close all that were given back. */
void shell_world_end(void);
/* A folder for the target's own files, without slash at the end. */
const char *shell_folder(void);
#endif
