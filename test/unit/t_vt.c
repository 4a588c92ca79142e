/* t_vt.c -- the test harness itself: a harness that misses a failure would
** make every other result worthless.
**
** Each test runs this program again for one inner test, which misbehaves, and
** reads what the harness said about it. Inner tests exist in that run only.
*/
#include <unistd.h>

#include "vt.h"

#define INNER(id) \
  static void inner_##id(struct vt *t); \
  __attribute__((constructor)) static void add_##id(void){ \
    static struct vt test = { "inner_" #id, inner_##id, NULL, 0, 0 }; \
    if( getenv("VT_INNER") ) vt_add(&test); \
  } \
  static void inner_##id(struct vt *t __attribute__((unused)))

INNER(check){ CHECK_INT(1, 2); CHECK_STR("a", "b"); }
INNER(require){ REQUIRE(false); FAIL("went on"); }
INNER(crash){ abort(); }
INNER(exit){ _exit(9); }
INNER(hang){ for(;;) pause(); }
INNER(skip){ SKIP("no %s here", "moon"); }
INNER(rc){ CHECK_RC(VECDB_OK, VECDB_IOERR_SYNC); }
INNER(file){
  FILE *f = fopen(vt_path("left-behind"), "w");
  REQUIRE( f!=NULL );
  fclose(f);
  printf("folder %s\n", vt_tmpdir());
}

/* What the harness prints about the inner test `name`; *status as system(). */
static const char *output_of(const char *name, int *status){
  static char out[4096];
  char self[1024], cmd[1200];
  ssize_t n = readlink("/proc/self/exe", self, sizeof(self)-1);
  FILE *p;

  REQUIRE( n>0 );
  self[n] = 0;
  snprintf(cmd, sizeof(cmd), "VT_INNER=1 VECDB_TEST_LIMIT=1 '%s' %s 2>&1", self,
           name);
  p = popen(cmd, "r");
  REQUIRE( p!=NULL );
  out[fread(out, 1, sizeof(out)-1, p)] = 0;
  *status = pclose(p);
  return out;
}

/* The inner test must fail, and the output contain `text`. */
static void must_fail(const char *name, const char *text){
  int status = 0;
  const char *out = output_of(name, &status);
  CHECK( status!=0 );
  if( !strstr(out, text) || !strstr(out, "\n0 passed, 1 failed\n") ){
    FAIL( "no \"%s\" or no closing line in:\n%s", text, out );
  }
}

TEST(vt__both_values_are_printed){
  must_fail("inner_check", "2 is 2, expected 1");
  must_fail("inner_check", "\"b\" is \"b\", expected \"a\"");
  must_fail("inner_rc", "is IOERR (1029, kind 4), expected OK (0, kind 0)");
}

TEST(vt__require_ends_the_test){
  int status = 0;
  must_fail("inner_require", "false is false");
  CHECK( strstr(output_of("inner_require", &status), "went on")==NULL );
}

TEST(vt__a_crash_is_a_failure){
  must_fail("inner_crash", "killed by signal 6");
}

TEST(vt__an_early_exit_is_a_failure){
  must_fail("inner_exit", "exited with status 9");
}

TEST(vt__a_hang_is_a_failure){
  must_fail("inner_hang", "took longer than 1 s");
}

TEST(vt__a_failure_says_how_to_repeat_it){
  must_fail("inner_check", "again: VECDB_SEED=");
}

TEST(vt__a_skip_is_neither){
  int status = 0;
  const char *out = output_of("inner_skip", &status);
  CHECK( strstr(out, "skip inner_skip: no moon here\n") );
  CHECK( strstr(out, "0 passed, 0 failed, 1 skipped\n") );
}

TEST(vt__scratch_folders_are_removed){
  int status = 0;
  const char *out = output_of("inner_file", &status);
  char *path = strstr(out, "folder ");
  CHECK_INT( 0, status );
  REQUIRE( path!=NULL );
  path += strlen("folder ");
  path[strcspn(path, "\n")] = 0;
  CHECK( access(path, F_OK)!=0 );
}

TEST(vt__no_test_of_that_name_is_not_a_success){
  int status = 0;
  CHECK( strstr(output_of("nonesuch", &status), "0 passed, 0 failed\n") );
  CHECK( status!=0 );
}
