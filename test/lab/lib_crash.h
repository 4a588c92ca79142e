/* lib_crash.h -- what a power cut may leave behind.
**
** Used by   t_crash. A scenario runs once, over a layer that logs its effects
**           on files (struct crash_log). Then, for every boundary between two
**           effects, images are built of what a disk may hold if the power
**           fails there, and each is handed to a probe that opens it as after
**           a reboot.
**
** MODEL     Between two syncs of a file its writes are an unordered set, cut
**           into sectors of 512 bytes; each sector holds any of the versions
**           written since the last sync, or the synced one. The size of a file
**           is a write of its own. Files are independent. Creations, renames
**           and removals take effect in order, and for certain only once the
**           folder was synced. Shared memory is lost; its file may be absent,
**           empty, stale or garbage.
**
** IMAGES    At each boundary: none, all, and every prefix of the unsynced
**           writes; each dropped alone, each kept alone; seeded random
**           subsets; the newest write torn at each sector, with the sector at
**           the tear old, zero, garbage, or missing alone, or the tail new
**           and the head old; its length without its bytes, its bytes without
**           the length; names lost; the four fates of shared memory. Where a
**           boundary has more than the plan's limit, a seeded sample of them.
**           Images are deduplicated by hash, also between explorations that
**           share a struct crash_seen.
**
** ORACLE    The scenario numbers the states of the database 0,1,2.. and says
**           with crash_mark which are allowed from now on: lo..hi; where it is
**           in the middle of a two-phase commit, also whether state lo must be
**           in doubt. The probe answers with the number of the state it found.
**           An image that was seen before is not opened again; only its number
**           is compared.
*/
#ifndef LIB_CRASH_H
#define LIB_CRASH_H
#include "lab/lib_layer.h"

struct crash_image_file {
  const char *path;
  unsigned char *p;
  size_t n, n_cap;
};

struct crash_image {
  struct crash_image_file *files;
  size_t n_file;
  uint64_t hash;                 /* of paths and bytes */
  int lo, hi;                    /* states allowed */
  bool doubt;                    /* and lo only if it is in doubt */
  size_t i_boundary;             /* effects before the cut */
  char what[120];                /* how it was made, for a report */
};

/* The number of the state found in the image; -1 after reporting why there is
** none (which ends the exploration). Called again for an image seen before
** when its state is not in lo..hi, so that the probe reports it. */
typedef int (*crash_probe)(void *arg, const struct crash_image *img);

struct crash_seen;                        /* images by hash, with their state */
struct crash_seen *crash_seen_create(void);
void crash_seen_destroy(struct crash_seen *s);
size_t crash_seen_count(const struct crash_seen *s);

struct crash_plan {
  uint64_t seed;
  size_t n_per_boundary;                  /* images tried at one boundary */
  size_t n_max;                           /* new images in all; 0: no limit */
};

struct crash_log;
/* A recorder over `mem` (a world of vdb_file_mem_create, which must outlive
** it). What the files hold when they are first opened is on disk and synced. */
struct crash_log *crash_log_create(struct vecdb_file_ops *mem);
void crash_log_destroy(struct crash_log *c);
const struct vecdb_file_ops *crash_log_ops(struct crash_log *c);
void crash_mark(struct crash_log *c, int lo, int hi, bool doubt);
size_t crash_log_size(const struct crash_log *c);         /* effects so far */

/* Build the images and probe those not seen yet; returns how many those were.
** *failed is set when a probe answered -1 or out of range twice. */
size_t crash_explore(struct crash_log *c, const struct crash_plan *plan,
                     struct crash_seen *seen, crash_probe probe, void *arg,
                     bool *failed);

/* A world in RAM that holds the image. Abort when out of memory. */
struct vecdb_file_ops *crash_world(const struct crash_image *img,
                                   uint64_t seed);
#endif
