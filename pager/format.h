/* format.h -- offsets, widths and compile-time checks from format.def.
**
** Used by   everything that touches bytes of a file. `get_u32(p+FRAME_PGNO)`
**           is how a field is read; nobody casts a struct onto page bytes.
*/
#ifndef VDB_FORMAT_H
#define VDB_FORMAT_H
#include "util/common.h"

/* A shadow struct of byte arrays: it has no padding, so offsetof() in it is
** exactly the sum of the widths above a field. Never instantiated. */
#define STRUCT(s, size, where)   struct fmt_##s {
#define FIELD(s, f, off, n, doc)   unsigned char f[n];
#define END(s)                   };
#include "pager/format.def"
#undef STRUCT
#undef FIELD
#undef END

/* S_F is the offset of field F in structure S, S_SIZE the size of S. */
enum {
#define STRUCT(s, size, where)   s##_SIZE = size,
#define FIELD(s, f, off, n, doc) s##_##f = off,
#define END(s)
#include "pager/format.def"
#undef STRUCT
#undef FIELD
#undef END
  FMT_LAST_
};

#define STRUCT(s, size, where) \
  _Static_assert(sizeof(struct fmt_##s)==size, #s ": widths and size differ");
#define FIELD(s, f, off, n, doc) \
  _Static_assert(offsetof(struct fmt_##s, f)==off, #s "." #f ": gap or overlap");
#define END(s)
#include "pager/format.def"
#undef STRUCT
#undef FIELD
#undef END
#endif
