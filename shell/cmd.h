/* cmd.h -- prototypes of the dot-commands, from cmd_table.h. */
#ifndef VDB_SHELL_CMD_H
#define VDB_SHELL_CMD_H
#include "shell/shell.h"
#include "shell/cmd_table.h"

#define X(name, fn, usage, help) bool fn(struct shell *sh, int argc, char **argv);
SHELL_COMMANDS(X)
#undef X

/* "on", "off", "1", "yes", ..: 1 or 0; -1 for anything else. */
int  cmd_boolean(const char *z);
/* False and an error message in -safe mode. */
bool cmd_allowed(struct shell *sh, const char *what);
/* Report a failed vecdb_ call on sh->db. */
void cmd_vecdb_error(struct shell *sh, int rc);
/* Optimize one collection with a progress line. flags: VECDB_OPTIMIZE_*. */
void cmd_optimize_table(struct shell *sh, const char *name, uint32_t flags);
/* Run SQL with one text parameter and print its rows; false after an error. */
bool cmd_query(struct shell *sh, const char *sql, const char *arg);
#endif
