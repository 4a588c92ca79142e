/* t_util.c -- the modules of util/. */
#include "vt.h"
TEST(vt__passes){ CHECK_INT(2, 1+1); CHECK_STR("a", "a"); }
