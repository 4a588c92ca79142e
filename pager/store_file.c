/* store_file.c -- the page store of a .vdb file. */
#include "util/common.h"
#include "pager/pager_int.h"

int vdb_store_file_open(struct pager *p, struct page_store **out){
  *out = NULL;
  return vdb_error(p->err, VECDB_UNSUPPORTED, "cannot open %s: files are not "
                   "supported by this build", vdb_pager_name(p));
}
