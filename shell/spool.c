/* spool.c -- what .import reads: a file, "-" for standard input, "|COMMAND"
** for what a command prints.
**
** The readers seek: they compare the size with what the header promises, and
** look at the rows once before they hand them out. So what comes through a
** pipe goes to a temporary file first, which has no name and is gone with its
** FILE.
*/
#include "shell/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static void why_errno(char *why){
  snprintf(why, READER_ERR/2, "%s", strerror(errno));
}

/* Copy `in` to its end. */
static FILE *spool_copy(FILE *in, char *why){
  char buf[65536];
  FILE *out = tmpfile();
  size_t n;
  if( out==NULL ){ why_errno(why); return NULL; }
  while( (n = fread(buf, 1, sizeof buf, in))>0 ){
    if( fwrite(buf, 1, n, out)!=n ) break;
  }
  if( ferror(in) || ferror(out) || fflush(out)!=0 ){
    why_errno(why);
    fclose(out);
    return NULL;
  }
  rewind(out);
  return out;
}

static FILE *spool_command(const char *command, char *why){
  FILE *in = popen(command, "r"), *out;
  int status;
  if( in==NULL ){ why_errno(why); return NULL; }
  out = spool_copy(in, why);
  status = pclose(in);
  if( out!=NULL && status!=0 ){
    snprintf(why, READER_ERR/2, "the command ended with status %d",
             WIFEXITED(status) ? WEXITSTATUS(status) : status);
    fclose(out);
    return NULL;
  }
  return out;
}

FILE *reader_file_open(const char *path, char *why){
  FILE *f;
  if( strcmp(path, "-")==0 ) return spool_copy(stdin, why);
  if( path[0]=='|' ) return spool_command(path+1, why);
  f = fopen(path, "rb");
  if( f==NULL ) why_errno(why);
  return f;
}
