/* f_shell.c -- scripts for the shell, with -safe: statements and dot-commands
** of any text. Nothing is started, no other file is written, and afterwards
** the database is sound. */
#include <sqlite3.h>

#include "fuzz/lib_shell.h"

static const char *const words[] = {
  ".help", ".tables", ".collections", ".schema", ".indexes", ".stat",
  ".import f t", ".mode json", ".mode box", ".mode csv", ".mode line",
  ".mode quote", ".mode html", ".mode markdown", ".headers on",
  ".separator \"\\t\"", ".nullvalue x", ".width 3 -3 0", ".output f",
  ".once f", ".timer on", ".echo on", ".eqp full", ".explain ", ".bail off",
  ".timeout 1", ".show", ".knn t [1,2,3] 3", ".knn t KEY=2 3", ".check",
  ".check quick", ".checkpoint truncate", ".wal", ".backup f", ".vacuum",
  ".optimize", ".optimize t all", ".dump", ".export t f v", ".read f",
  ".print ", ".cd /", ".shell true", ".open f", "\n", "\n.", ";\n", ";", "\"",
  "'", "\\", "#", "--", "/*", "*/", "\ngo\n", "\n/\n",
  "SELECT * FROM t;", "SELECT id, distance FROM t WHERE v MATCH '[1,2,3]' AND"
  " k=3;", "INSERT INTO t(v,n) VALUES('[1,2,3]',4);", "DELETE FROM t;",
  "UPDATE t SET n=1;", "BEGIN;", "COMMIT;", "ROLLBACK;", "SAVEPOINT a;",
  "CREATE VIRTUAL TABLE u USING vecdb(v float[2]);", "DROP TABLE t;",
  "ATTACH 'f' AS g;", "VACUUM INTO 'f';", "vecdb_config('default_file','f')",
  "USING vecdb(file='f',v float[2])", "PRAGMA ", "WITH RECURSIVE ",
  "ALTER TABLE t RENAME TO u;", "INSERT INTO t(t) VALUES('optimize');",
  "vec_to_json(v)", "vecdb_stats('t')", "vec_each('[1,2]')", NULL
};

static const char setup[] =
  "CREATE VIRTUAL TABLE t USING vecdb(id integer primary key, v float[3], "
  "n int, s text);"
  "INSERT INTO t(id,v,n,s) VALUES(1,'[1,0,0]',1,'a'),(2,'[0,1,0]',NULL,'b'),"
  "(3,'[0,0,1]',3,'longer than any cell would be');";

static void script_one(const uint8_t *p, size_t n){
  struct shell *sh = shell_lend(true, setup);
  shell_feed(sh, p, n);
  sqlite3_exec(sh->sql, "ROLLBACK", NULL, NULL, NULL);
  if( vecdb_check(sh->db, 0, NULL, NULL)!=VECDB_OK ){
    fuzz_fail("check: %s", vecdb_errmsg(sh->db));
  }
  shell_return(sh);
}

static void script_seeds(void){
  static const char *const text[] = {
    ".tables\n.schema\n.mode box\nSELECT * FROM t;\n.stat\n",
    ".mode json\nSELECT id, distance FROM t WHERE v MATCH '[1,2,3]' AND k=2;\n"
      ".mode line\nSELECT vec_to_json(v) FROM t;\n",
    "BEGIN;\nINSERT INTO t(v,n) VALUES('[1,2,3]',4);\nROLLBACK;\n.check\n",
    ".width 3 -5\n.headers on\n.separator \"a\\tb\"\n.show\nSELECT 1,NULL;\n",
    ".dump\n.optimize t all\n.vacuum\n.checkpoint truncate\n.wal\n.check\n",
    ".knn t [1,0,0] 2\n.knn t KEY=2 1\n.eqp full\n.explain SELECT * FROM t\n",
    "CREATE VIRTUAL TABLE u USING vecdb(v float[2], x int);\nINSERT INTO u(v)\n"
      "VALUES('[1,2]');\n.collections\nDROP TABLE u;\n",
    ".help\n.help import\n.print \"a b\" 'c'\n.exit 3\n",
    "ATTACH 'f' AS g;\nVACUUM INTO 'f';\n.shell true\n.output f\n.read f\n"
  };
  for(size_t i=0; i<VDB_ARRAY_LEN(text); i++){
    fuzz_seed_text("", i, -1, text[i]);
  }
}

const struct fuzz_target fuzz_target = {
  .name = "shell", .sz_max = 2048, .mem_max = 64<<20, .n_keep = 2000,
  .seconds_max = 5, .words = words, .begin = shell_world_begin,
  .one = script_one, .end = shell_world_end, .seeds = script_seeds
};
