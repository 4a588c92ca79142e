/* gen-format.c -- print pager/format.def as the tables of doc/file-format.md.
**
** Compiled and run by `make docs`. The table is read by the compiler, as in
** the library, so that the document cannot say anything else than the code.
** Offsets and sizes may be constant expressions; they are printed as numbers.
*/
#include <stdio.h>

/* A "|" would end the cell. */
static void cell(const char *z){
  for(; *z; z++){
    if( *z=='|' ) putchar('\\');
    putchar(*z);
  }
}

static void begin_struct(const char *name, long size, const char *where){
  printf("### %s\n\n", name);
  cell(where);
  printf("; %ld bytes.\n\n", size);
  printf("| offset | size | field | meaning |\n|--:|--:|---|---|\n");
}

static void field(const char *name, long off, long size, const char *doc){
  printf("| %ld | %ld | %s | ", off, size, name);
  cell(doc);
  printf(" |\n");
}

int main(void){
#define STRUCT(s, size, where)    begin_struct(#s, (long)(size), where);
#define FIELD(s, f, off, n, doc)  field(#f, (long)(off), (long)(n), doc);
#define END(s)                    putchar('\n');
#include "pager/format.def"
  return 0;
}
