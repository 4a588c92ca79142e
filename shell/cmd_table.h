/* cmd_table.h -- every dot-command: X(name, function, usage, help). One text
** for dispatch, .help, completion and usage errors. In order of the help.
*/
#define SHELL_COMMANDS(X) \
  X("help",       cmd_help,       "[COMMAND]",          "this list, or one command") \
  X("open",       cmd_open,       "FILE",               "close this database and open another") \
  X("attach",     cmd_attach,     "FILE [AS] NAME",     "mount the tables of another file as schema NAME") \
  X("detach",     cmd_detach,     "NAME",               "let go of it") \
  X("databases",  cmd_databases,  "",                   "schemas and their files") \
  X("tables",     cmd_tables,     "[PATTERN]",          "names of the tables") \
  X("collections",cmd_collections,"",                   "collections with rows, dimensions, type and metric") \
  X("schema",     cmd_schema,     "[TABLE]",            "CREATE statements that can be run again") \
  X("indexes",    cmd_indexes,    "[TABLE]",            "index and metric of every vector column") \
  X("stat",       cmd_stat,       "[TABLE]",            "figures of the file, or of one table") \
  X("import",     cmd_import,     "FILE TABLE [--meta FILE] [--column NAME] [--format F] [--id NAME] [--first-id N] [--metric M] [--skip N] [--limit N] [--batch N] [--on-error abort|skip|log]", \
    "vectors (fvecs bvecs ivecs fbin u8bin i8bin ibin npy) or rows (csv tsv jsonl) into TABLE, which is made when absent; FILE may be |COMMAND, or - for standard input") \
  X("mode",       cmd_mode,       "[MODE]",             "box table markdown json jsonl csv tabs line list html quote") \
  X("headers",    cmd_headers,    "on|off",             "column names above the rows") \
  X("separator",  cmd_separator,  "TEXT",               "between columns in list mode") \
  X("nullvalue",  cmd_nullvalue,  "TEXT",               "what NULL looks like") \
  X("width",      cmd_width,      "[N ...]",            "column widths of box and table, 0: as needed") \
  X("output",     cmd_output,     "[FILE||COMMAND]",    "send results there; alone: back to the screen") \
  X("once",       cmd_once,       "FILE||COMMAND",      "as .output, for the next command only") \
  X("timer",      cmd_timer,      "on|off",             "time of every statement") \
  X("echo",       cmd_echo,       "on|off",             "print statements before running them") \
  X("eqp",        cmd_eqp,        "on|off|full",        "show the plan of every query; full: what it really did") \
  X("explain",    cmd_explain,    "SQL",                "the plan of one query") \
  X("parameter",  cmd_parameter,  "set NAME VALUE|unset NAME|list|clear", "values for ?1, :name, @name and $name in SQL") \
  X("prompt",     cmd_prompt,     "MAIN [CONTINUE]",    "what stands before a line") \
  X("bail",       cmd_bail,       "on|off",             "stop a script at the first error") \
  X("gpu",        cmd_gpu,        "[off|auto|require]", "whether exact searches may use a GPU; alone: what there is") \
  X("timeout",    cmd_timeout,    "MS",                 "wait this long for locks") \
  X("show",       cmd_show,       "",                   "current settings") \
  X("knn",        cmd_knn,        "TABLE QUERY K",      "nearest rows; QUERY is JSON or KEY=n for a row's own vector") \
  X("check",      cmd_check,      "[quick]",            "examine the whole file") \
  X("checkpoint", cmd_checkpoint, "[passive|full|restart|truncate]", "copy the log home") \
  X("wal",        cmd_wal,        "",                   "size and state of the log") \
  X("backup",     cmd_backup,     "FILE",               "a consistent copy, while others write") \
  X("save",       cmd_save,       "FILE",               "as .backup; a temporary database goes on in FILE") \
  X("restore",    cmd_restore,    "FILE",               "put a backup in the place of this database") \
  X("recover",    cmd_recover,    "FILE NEW",           "copy what can be read of a damaged FILE into NEW") \
  X("resolve",    cmd_resolve,    "[commit|rollback]",  "show, or settle, what a SQLite database left undecided") \
  X("vacuum",     cmd_vacuum,     "",                   "rebuild the file without free space") \
  X("optimize",   cmd_optimize,   "[TABLE] [all] [device=gpu|auto]", "merge what is unmerged, drop dead rows") \
  X("rebuild",    cmd_rebuild,    "[TABLE] [NAME=VALUE ...]", "build indexes anew, with other options: ef=100, v.index=graph(bits=2)") \
  X("recall",     cmd_recall,     "TABLE [k=N] [samples=N] [column=C] [seed=N] | TABLE keep", "recall of searches against exact ones, with its 95 % interval; keep: remember it in the file") \
  X("tune",       cmd_tune,       "TABLE [recall=X] [column=C] [apply]", "what reaches that recall with the least work; apply: take it") \
  X("bench",      cmd_bench,      "TABLE [k=N] [queries=N] [column=C] [FILE.csv|FILE.svg]", "recall and rate of searches of growing effort") \
  X("dump",       cmd_dump,       "[TABLE]",            "SQL that makes the tables and rows again") \
  X("export",     cmd_export,     "TABLE FILE [COLUMN]","vectors to fvecs, bvecs, ivecs, fbin, u8bin, i8bin, ibin or npy; rows to csv, tsv or jsonl") \
  X("read",       cmd_read,       "FILE",               "run a file of SQL and dot-commands") \
  X("print",      cmd_print,      "TEXT ...",           "print it") \
  X("cd",         cmd_cd,         "DIRECTORY",          "change the working directory") \
  X("shell",      cmd_shell,      "COMMAND ...",        "run it in a system shell") \
  X("exit",       cmd_exit,       "[CODE]",             "leave with an exit code") \
  X("quit",       cmd_quit,       "",                   "leave")
