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
/* False and an error message when the file is a SQLite database. */
bool cmd_needs_vdb(struct shell *sh, const char *what);
/* Copy the file; "`verb` "FILE" and checked". False after an error. */
bool cmd_backup_to(struct shell *sh, const char *path, const char *verb);

/* cmd_host.c: commands on a SQLite database. table NULL: all. */
void host_collections(struct shell *sh);
void host_schema(struct shell *sh, const char *only);
void host_stat(struct shell *sh, const char *table);
void host_check(struct shell *sh, bool quick);
bool host_backup(struct shell *sh, const char *path);
void host_command(struct shell *sh, const char *table, const char *command);

/* Report a failed vecdb_ call on sh->db. */
void cmd_vecdb_error(struct shell *sh, int rc);
/* Optimize one collection with a progress line. flags: VECDB_OPTIMIZE_*. */
void cmd_optimize_table(struct shell *sh, const char *name, uint32_t flags);
/* Run SQL with one text parameter and print its rows; false after an error. */
bool cmd_query(struct shell *sh, const char *sql, const char *arg);
#endif
