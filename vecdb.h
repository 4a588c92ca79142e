/* vecdb.h -- the public interface of vecdb, an embedded vector database.
**
** This file is the contract and the manual: nothing outside it is stable.
** Read it top to bottom; each block of functions starts with its rules.
**
** CONVENTIONS
**
**   Results    Functions that can fail return an int: VECDB_OK, VECDB_ROW or
**              VECDB_DONE on success, else the code of the failure. The low
**              8 bits are the primary code, the rest says which kind.
**   Outputs    Output pointers come last and are set to NULL or 0 on failure.
**   Ownership  Every pointer you pass in is copied before the call returns
**              unless its destructor argument says otherwise; every pointer
**              you get belongs to the handle it came from and lives until
**              the next call on that handle. Handles from vecdb_open,
**              vecdb_collection_open and vecdb_prepare_* are yours and end
**              with the named close or finalize. Destroying NULL is a no-op.
**   Threads    A vecdb handle, its collections and its statements are used
**              by one thread at a time (calls from several threads wait for
**              each other). Open one handle per thread to search in parallel:
**              handles share nothing but the file. vecdb_interrupt() may be
**              called from any thread and from a signal handler.
**   Fork       Handles do not cross fork(): a child that uses one gets
**              VECDB_MISUSE.
**   Vectors    Plain arrays of the element type, no alignment needed. Sizes
**              called n_bytes are bytes, dims are elements (bits for BIT).
**              NaN and infinities are refused wherever a vector comes in.
**   Columns    Column 0 of every collection is its primary key (called
**              "rowid" when the schema names none); the others follow in the
**              order of the schema text.
*/
#ifndef VECDB_H
#define VECDB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef VECDB_API
# if defined(__GNUC__)
#  define VECDB_API __attribute__((visibility("default")))
# else
#  define VECDB_API
# endif
#endif

/* ---- Version ------------------------------------------------------------ */

#define VECDB_VERSION         "0.1.0"
#define VECDB_VERSION_NUMBER  1000        /* X*1000000 + Y*1000 + Z */

VECDB_API const char *vecdb_libversion(void);
VECDB_API int         vecdb_libversion_number(void);
/* The i-th fact about this build ("SIMD=avx512", "OPENBLAS", ..); NULL after
** the last. */
VECDB_API const char *vecdb_compile_option(int i);

/* ---- Result codes: VECDB_<name> is <number>, "<text>" from vecdb_errstr() */

#define VECDB_RESULT_MAP(X) \
  X(OK,          0, "not an error")                                  \
  X(ERROR,       1, "error")                                         \
  X(INTERNAL,    2, "internal logic error")                          \
  X(MISUSE,      3, "the interface was used incorrectly")            \
  X(NOMEM,       4, "out of memory")                                 \
  X(IOERR,       5, "disk I/O error")                                \
  X(FULL,        6, "database or disk is full")                      \
  X(CANTOPEN,    7, "cannot open the database file")                 \
  X(NOTADB,      8, "file is not a vecdb database")                  \
  X(CORRUPT,     9, "database file is malformed")                    \
  X(FORMAT,     10, "database format is newer than this library")    \
  X(BUSY,       11, "database is locked")                            \
  X(READONLY,   12, "attempt to write a read-only database")         \
  X(NOTFOUND,   13, "no such collection, column, row or option")     \
  X(EXISTS,     14, "already exists")                                \
  X(MISMATCH,   15, "dimension, element type or metric mismatch")    \
  X(RANGE,      16, "parameter out of range")                        \
  X(TOOBIG,     17, "value exceeds a limit")                         \
  X(INTERRUPT,  18, "interrupted")                                   \
  X(UNSUPPORTED,19, "not supported by this build")                   \
  X(CONSTRAINT, 20, "constraint failed")                             \
  X(SYNTAX,     21, "syntax error")                                  \
  X(ABORT,      22, "the transaction of this statement has ended")   \
  X(GPU,        23, "the device asked for could not do it")          \
  X(ROW,       100, "another row is available")                      \
  X(DONE,      101, "no more rows are available")

enum {
#define VECDB_X(name, num, text) VECDB_##name = num,
  VECDB_RESULT_MAP(VECDB_X)
#undef VECDB_X
  VECDB_RESULT_LAST_ = 0xff
};

/* Extended codes: the primary code in the low 8 bits, the kind above. */
#define VECDB_IOERR_READ          (VECDB_IOERR      | (1<<8))
#define VECDB_IOERR_SHORT_READ    (VECDB_IOERR      | (2<<8))
#define VECDB_IOERR_WRITE         (VECDB_IOERR      | (3<<8))
#define VECDB_IOERR_SYNC          (VECDB_IOERR      | (4<<8))
#define VECDB_IOERR_LOCK          (VECDB_IOERR      | (5<<8))
#define VECDB_IOERR_TRUNCATE      (VECDB_IOERR      | (6<<8))
#define VECDB_IOERR_MAP           (VECDB_IOERR      | (7<<8))
#define VECDB_CORRUPT_CHECKSUM    (VECDB_CORRUPT    | (1<<8))
#define VECDB_CORRUPT_WAL         (VECDB_CORRUPT    | (2<<8))
#define VECDB_CORRUPT_INDEX       (VECDB_CORRUPT    | (3<<8))
#define VECDB_BUSY_SNAPSHOT       (VECDB_BUSY       | (1<<8)) /* begin anew */
#define VECDB_BUSY_RECOVERY       (VECDB_BUSY       | (2<<8))
#define VECDB_BUSY_INDOUBT        (VECDB_BUSY       | (3<<8)) /* vecdb_decide */
#define VECDB_CONSTRAINT_PK       (VECDB_CONSTRAINT | (1<<8)) /* duplicate */
#define VECDB_CONSTRAINT_NOTNULL  (VECDB_CONSTRAINT | (2<<8))
#define VECDB_CONSTRAINT_TYPE     (VECDB_CONSTRAINT | (3<<8))

/* ---- Handles ------------------------------------------------------------ */

typedef struct vecdb            vecdb;            /* an open database */
typedef struct vecdb_collection vecdb_collection; /* rows of one schema */
typedef struct vecdb_stmt       vecdb_stmt;       /* a prepared operation */

/* ---- Element types, metrics, value types -------------------------------- */

enum {                       /* element types of vectors */
  VECDB_F32 = 1, VECDB_F16 = 2, VECDB_BF16 = 3,
  VECDB_I8 = 4, VECDB_U8 = 5, VECDB_BIT = 6
};
enum {                       /* metrics; distance is always "less is nearer" */
  VECDB_L2 = 1,              /* square root of the sum of squares */
  VECDB_COSINE = 2,          /* 1 - cos; 1 when a side is the zero vector */
  VECDB_IP = 3,              /* minus the inner product */
  VECDB_L1 = 4,              /* sum of absolute differences */
  VECDB_HAMMING = 5,         /* BIT: number of differing bits */
  VECDB_JACCARD = 6          /* BIT: 1 - |a and b| / |a or b|; both 0: 0 */
};
enum {                       /* types of values and of metadata columns */
  VECDB_NULL = 0, VECDB_INTEGER = 11, VECDB_REAL = 12, VECDB_TEXT = 13,
  VECDB_BLOB = 14, VECDB_BOOLEAN = 15, VECDB_VECTOR = 16
};

/* ---- Opening and closing ------------------------------------------------ */

#define VECDB_OPEN_READONLY   0x0001u
#define VECDB_OPEN_READWRITE  0x0002u   /* the default */
#define VECDB_OPEN_CREATE     0x0004u   /* with READWRITE: make the file */
#define VECDB_OPEN_MEMORY     0x0008u   /* nothing on disk; path is ignored */
#define VECDB_OPEN_IMMUTABLE  0x0010u   /* nobody writes: no locks, no WAL */
#define VECDB_OPEN_NOFOLLOW   0x0020u   /* refuse a symbolic link */

enum { VECDB_SYNC_FULL = 0,             /* a commit that returned is durable */
       VECDB_SYNC_NORMAL = 1,           /* after a power cut a prefix is kept */
       VECDB_SYNC_OFF = 2 };            /* the operating system decides */

enum { VECDB_GPU_DEFAULT = 0,           /* $VECDB_GPU, else off */
       VECDB_GPU_OFF = 1,
       VECDB_GPU_AUTO = 2,              /* a GPU where it is there and faster */
       VECDB_GPU_REQUIRE = 3 };         /* VECDB_GPU if there is none */

struct vecdb_page_store;                /* below: an outside page store */
struct vecdb_file_ops;                  /* the file layer, for tests */

/* Options structs begin with their own size, set by the _INIT macro. A
** shorter struct is an older caller: missing fields read 0. A longer one is a
** newer caller: its unknown tail must be 0, else VECDB_MISUSE. 0 always means
** the default; fields are only ever appended. */
typedef struct vecdb_options {
  uint32_t size;             /* sizeof(vecdb_options) */
  uint32_t page_size;        /* bytes, power of two 4096..65536; at creation */
  uint64_t cache_bytes;      /* budget of pages and mirrors; 0: 64 MiB */
  uint32_t sync;             /* VECDB_SYNC_* */
  uint32_t threads;          /* for batches and builds; 0: cores */
  uint32_t busy_ms;          /* wait this long for a lock; 0: do not wait */
  uint32_t no_mmap;          /* 1: read with pread instead of mapping */
  uint64_t wal_bytes;        /* checkpoint beyond this; 0: 4 MiB */
  uint64_t fixed_seed;       /* not 0: uuid and salts from it (tests) */
  const struct vecdb_page_store *store; /* not NULL: pages live there */
  const struct vecdb_file_ops *file;    /* not NULL: replaces the OS (tests) */
  uint32_t gpu;              /* VECDB_GPU_*: for exact searches of k rows */
  uint32_t reserved;
  uint64_t build_bytes;      /* memory that building a graph may take, 1 MiB at
                             ** least; 0: half of the machine's. Where it does
                             ** not do for all rows there are several graphs */
} vecdb_options;
#define VECDB_OPTIONS_INIT \
  { sizeof(vecdb_options),0,0,0,0,0,0,0,0,NULL,NULL,0,0,0 }

/* Open path. opt may be NULL. On failure *out is still a handle unless the
** code is VECDB_NOMEM: ask it for vecdb_errmsg, then close it.
** CANTOPEN, NOTADB, FORMAT, CORRUPT_*, BUSY, READONLY, IOERR_*. */
VECDB_API int vecdb_open(const char *path, uint32_t flags,
                         const vecdb_options *opt, vecdb **out);
/* Rolls back an open transaction, finalizes statements and collections left
** open, checkpoints and removes the log when this was the last user. */
VECDB_API int vecdb_close(vecdb *db);

/* ---- Errors ------------------------------------------------------------- */

VECDB_API int         vecdb_errcode(vecdb *db);  /* extended code, last call */
VECDB_API const char *vecdb_errmsg(vecdb *db);   /* sentence about that call */
VECDB_API const char *vecdb_errstr(int rc);      /* text of the primary code */
VECDB_API const char *vecdb_errname(int rc);     /* "VECDB_IOERR_SYNC", .. */

/* Process-wide log of things worth knowing that are no errors of a call. */
typedef void (*vecdb_log_fn)(void *arg, int rc, const char *msg);
VECDB_API void vecdb_config_log(vecdb_log_fn fn, void *arg);

/* ---- Transactions: many snapshot readers, one writer ---------------------
**
** Without vecdb_begin every call is a transaction of its own. A read
** transaction sees the newest commit at its begin until it ends. Upgrading
** (a write inside a read transaction) fails with VECDB_BUSY_SNAPSHOT when
** somebody committed meanwhile. A failed statement leaves the transaction as
** it was before the statement. */

enum { VECDB_READ = 0, VECDB_WRITE = 1 };
VECDB_API int vecdb_begin(vecdb *db, int mode);
VECDB_API int vecdb_commit(vecdb *db);
VECDB_API int vecdb_rollback(vecdb *db);
/* 0 none, 1 read, 2 write. */
VECDB_API int vecdb_in_transaction(vecdb *db);

/* Savepoints are numbered by the caller; numbers grow inwards. release and
** rollback_to act on the outermost savepoint with a number >= id and on all
** inside it; rollback_to keeps it. An id that no savepoint reaches: release
** does nothing, rollback_to undoes nothing. */
VECDB_API int vecdb_savepoint(vecdb *db, uint32_t id);
VECDB_API int vecdb_release(vecdb *db, uint32_t id);
VECDB_API int vecdb_rollback_to(vecdb *db, uint32_t id);

/* Two-phase commit, for a host database that owns the decision. prepare
** makes the write transaction durable but undecided, under the host's uuid
** and a token that grows; it may be called again after more writes. decide
** ends it: commit != 0 or not (one that was not prepared, too, as commit and
** rollback do). A process that dies in between leaves the
** file in doubt: readers see the state before, writers get
** VECDB_BUSY_INDOUBT, until somebody who knows calls vecdb_decide on a
** handle without a transaction. */
VECDB_API int vecdb_prepare_commit(vecdb *db, const unsigned char host_uuid[16],
                                   uint64_t token);
VECDB_API int vecdb_decide(vecdb *db, int commit);
#define VECDB_DECIDE_UNDOABLE 2   /* committed; the host may still lose it */
/* OK and *in_doubt = 1 with uuid and token of an undecided prepare whose
** owner is gone. */
VECDB_API int vecdb_in_doubt(vecdb *db, int *in_doubt,
                             unsigned char host_uuid[16], uint64_t *token);
/* The token and host of the newest committed state (0 when never set). */
VECDB_API int vecdb_committed_token(vecdb *db, unsigned char host_uuid[16],
                                    uint64_t *token);
/* A host that says "committed" before its commit is durable decides with
** VECDB_DECIDE_UNDOABLE. Such commits are seen as any other, but no checkpoint
** brings them home until the host's handler (which makes the host durable and
** returns VECDB_OK) was called, and only a handle with a handler writes on top
** of them: others get VECDB_BUSY_INDOUBT. fn is called inside other calls on
** this handle and must not use it; NULL takes it away. */
VECDB_API int vecdb_host_handler(vecdb *db, int (*fn)(void *arg), void *arg);
/* *undoable = 1: commits up to the one with token `newest` may be undone, back
** to the one with token `firm`. */
VECDB_API int vecdb_undoable(vecdb *db, int *undoable,
                             unsigned char host_uuid[16], uint64_t *newest,
                             uint64_t *firm);
/* The host has lost its commits after `token`: undo those. The rest stays for
** good. newest: what vecdb_undoable said, BUSY_SNAPSHOT when that is no longer
** so. Needs to be alone with the file (BUSY otherwise). */
VECDB_API int vecdb_rewind(vecdb *db, uint64_t token, uint64_t newest);
/* Make the names in the folder of path durable, as the end of a host's commit
** that removes a journal. A host's handler may call it; it sets no message. */
VECDB_API int vecdb_sync_folder(vecdb *db, const char *path);
/* Begin reading the newest state whose token is `token`, the undecided one
** included; VECDB_BUSY_SNAPSHOT when it is gone. */
VECDB_API int vecdb_begin_read_at(vecdb *db, uint64_t token);

/* ---- Upkeep ------------------------------------------------------------- */

enum { VECDB_CHECKPOINT_PASSIVE = 0, VECDB_CHECKPOINT_FULL = 1,
       VECDB_CHECKPOINT_RESTART = 2, VECDB_CHECKPOINT_TRUNCATE = 3 };
/* Copy the log home. *n_log and *n_done (may be NULL): frames in the log, and
** how many of them are home afterwards. */
VECDB_API int vecdb_checkpoint(vecdb *db, int mode, uint64_t *n_log,
                               uint64_t *n_done);
/* Write a consistent copy of the newest commit to a new file, while others
** read and write; the copy is checked before this returns OK. What is in
** memory or in an outside store is copied, too, under a uuid of its own. */
VECDB_API int vecdb_backup(vecdb *db, const char *path);
/* Rebuild the file without free space. Needs to be alone (BUSY otherwise);
** BUSY_SNAPSHOT when somebody came, committed and left meanwhile: retry. */
VECDB_API int vecdb_vacuum(vecdb *db);
/* Examine everything; report is called once per finding (severity 2 damage,
** 1 leak or waste, 0 note). VECDB_OK: sound. VECDB_CORRUPT*: something of
** severity 2 was found. quick != 0: structure without checksums of vectors. */
typedef void (*vecdb_check_fn)(void *arg, int severity, const char *object,
                               const char *message);
VECDB_API int vecdb_check(vecdb *db, int quick, vecdb_check_fn report,
                          void *arg);

/* Long operations call fn a few times a second and stop with
** VECDB_INTERRUPT when it returns nonzero. `phase` is a word or two, done and
** total are in `unit` ("rows", "bytes", "pages"); total 0: unknown. Setting
** and clearing it leaves vecdb_errcode and vecdb_errmsg as they are. */
typedef struct vecdb_progress {
  uint32_t size, reserved;
  const char *phase, *unit;
  uint64_t done, total;
} vecdb_progress;
typedef int (*vecdb_progress_fn)(void *arg, const vecdb_progress *p);
VECDB_API int  vecdb_progress_handler(vecdb *db, vecdb_progress_fn fn,
                                      void *arg);
/* Stop what runs now on db, from any thread or a signal handler. */
VECDB_API void vecdb_interrupt(vecdb *db);

typedef struct vecdb_stats {
  uint32_t size;             /* sizeof(vecdb_stats), set by you */
  uint32_t page_size;
  uint64_t n_page, n_free_page;        /* of the file, at this snapshot */
  uint64_t file_bytes, wal_bytes;
  uint64_t txid, checkpoint_txid;
  uint64_t cache_bytes, cache_hits, cache_misses;
  uint64_t n_distance;                 /* rows compared by this handle */
  uint64_t n_commit, n_sync, n_frame;  /* done by this handle */
  uint64_t mem_bytes, mem_peak_bytes;  /* of the library in this process */
} vecdb_stats;
VECDB_API int vecdb_stat(vecdb *db, vecdb_stats *out);
/* The 16 bytes that name this database: given at creation, kept by copies. */
VECDB_API int vecdb_uuid(vecdb *db, unsigned char uuid[16]);

/* Named settings of one handle: "busy_ms", "build_bytes", "threads", "sync",
** "wal_bytes", "gpu" (VECDB_GPU_*). NOTFOUND names the nearest known one. */
VECDB_API int vecdb_set(vecdb *db, const char *name, int64_t value);

/* ---- GPUs -----------------------------------------------------------------
**
** A plugin, libvecdb_gpu.so, does exact searches (the more, the larger the
** batch of vecdb_search_many) and builds of graphs (VECDB_OPTIMIZE_GPU) on a
** GPU. It is loaded when it is first asked for, never before, and stays.
** Answers are those of the CPU, to the bit. */

/* Where the plugin is; NULL: $VECDB_GPU_PLUGIN ("none": nowhere), else beside
** the library. For the process; MISUSE once it was looked for. */
VECDB_API int vecdb_config_gpu(const char *path);
/* JSON: state of the plugin and the device, counters. Free with vecdb_free. */
VECDB_API int vecdb_gpu_status(char **json);

/* ---- Collections ---------------------------------------------------------
**
** The schema is the argument list of CREATE VIRTUAL TABLE .. USING vecdb:
**
**   id integer primary key, embedding float[768] distance_metric=cosine,
**   year int, title text, +thumbnail blob
**
** (doc/sql.md has the grammar). What is stored is the parsed text printed
** again, so it round-trips. */

VECDB_API int vecdb_create_collection(vecdb *db, const char *name,
                                      const char *schema);
VECDB_API int vecdb_drop_collection(vecdb *db, const char *name);
VECDB_API int vecdb_rename_collection(vecdb *db, const char *from,
                                      const char *to);
/* Calls fn for each, in order of name; a nonzero return stops. */
VECDB_API int vecdb_list_collections(vecdb *db,
    int (*fn)(void *arg, const char *name, const char *schema), void *arg);
/* Parse without creating. *canonical (may be NULL) is freed by vecdb_free. */
VECDB_API int vecdb_check_schema(vecdb *db, const char *schema,
                                 char **canonical);

/* Open by name. The handle follows the collection across transactions; once
** it is dropped every call says VECDB_NOTFOUND. */
VECDB_API int vecdb_collection_open(vecdb *db, const char *name,
                                    vecdb_collection **out);
VECDB_API int vecdb_collection_close(vecdb_collection *c);
VECDB_API vecdb *vecdb_collection_db(vecdb_collection *c);
VECDB_API const char *vecdb_collection_name(vecdb_collection *c);
VECDB_API const char *vecdb_collection_schema(vecdb_collection *c);

/* Roles of a column. */
enum { VECDB_ROLE_KEY = 1, VECDB_ROLE_VECTOR = 2, VECDB_ROLE_META = 3,
       VECDB_ROLE_PARTITION = 4, VECDB_ROLE_AUX = 5 };
typedef struct vecdb_column_info {
  uint32_t size;             /* set by you */
  uint32_t role;             /* VECDB_ROLE_* */
  uint32_t type;             /* VECDB_INTEGER .. or VECDB_VECTOR */
  uint32_t element;          /* of a vector: VECDB_F32 .. */
  uint32_t dims;             /* of a vector; bits for VECDB_BIT */
  uint32_t metric;           /* of a vector */
  uint32_t not_null;
  uint32_t vector_bytes;     /* of a vector: size of one value */
  const char *name;          /* lives as long as the collection handle */
  const char *decl;          /* declared type as written, "float[768]", .. */
  const char *index;         /* of a vector: what a search of it walks now,
                             ** "flat", "graph" or "ivf"; else NULL */
} vecdb_column_info;
VECDB_API int vecdb_column_count(vecdb_collection *c);
VECDB_API int vecdb_column_describe(vecdb_collection *c, int column,
                                    vecdb_column_info *out);
/* Number of the column of that name (ASCII case ignored), or -1. */
VECDB_API int vecdb_column_find(vecdb_collection *c, const char *name);
/* 0: the schema names no primary key and column 0 is the implied rowid. */
VECDB_API int vecdb_has_declared_key(vecdb_collection *c);

typedef struct vecdb_collection_stats {
  uint32_t size, reserved;
  uint64_t n_row;            /* live rows */
  uint64_t n_slot;           /* slots ever used since the last vacuum */
  uint64_t n_delta;          /* live rows not sealed yet */
  uint64_t n_tombstone;      /* dead rows that still occupy space */
  uint64_t n_segment, n_extent;
  uint64_t vector_bytes;     /* in extents */
  uint64_t data_version;     /* changes with every commit that changes rows */
  uint64_t n_graph_row;      /* rows that a graph covers, over all columns */
  uint64_t graph_bytes;      /* of graphs, in extents */
  uint64_t n_graph;          /* graphs, over all columns */
} vecdb_collection_stats;
VECDB_API int vecdb_collection_stat(vecdb_collection *c,
                                    vecdb_collection_stats *out);

/* Merge what is unmerged, drop dead rows, give space back inside the file, build
** graphs. Outside of a transaction, on a file, graphs are built from a snapshot
** while others write; the write lock is held to enter them (and waited for
** 10 seconds then, if busy_ms is less). In an open transaction, and where a
** host keeps the pages, all happens inside it.
** A graph that would need more than build_bytes of memory becomes several of
** equal size, which searches ask one after the other, with the same answers; the
** log says so. They are entered as they come, so that what was done stays after
** an interruption: the next call goes on. While VECDB_OPTIMIZE_ALL does this,
** rows that have no new graph yet are compared one by one. TOOBIG: not even 1024
** rows would fit, searches stay exact. */
typedef struct vecdb_optimize_options {
  uint32_t size;
  uint32_t flags;            /* VECDB_OPTIMIZE_* */
  uint32_t budget_ms;        /* 0: none. Else begin no step later than this,
                             ** nor one that is expected to take longer; the
                             ** next call goes on. The bytes of the file then
                             ** depend on the time it took */
} vecdb_optimize_options;
#define VECDB_OPTIMIZE_SEAL  0x1u      /* only seal the delta */
#define VECDB_OPTIMIZE_ALL   0x2u      /* rewrite clean segments too */
#define VECDB_OPTIMIZE_GPU   0x10u     /* a GPU chooses the edges of graphs;
                                       ** VECDB_GPU without one */
#define VECDB_OPTIMIZE_GPU_OR_CPU 0x20u  /* the same, and without one as if it
                                       ** were not asked for: the log says so,
                                       ** bytes depend on the machine */
VECDB_API int vecdb_optimize(vecdb_collection *c,
                             const vecdb_optimize_options *opt);

/* Upkeep by collections with optimize=background is done by a thread of the
** library: one per file and process, on a connection of its own, with half of
** the threads that the handle whose commit started it would use. It stops, in
** the middle of its work if need be, when the last handle whose commits asked
** for it is closed. In memory, where a host keeps the pages, for commits that
** may be undone, and when the system gives no thread, the commit does the work,
** as with optimize=commit. */
#define VECDB_BACKGROUND_NONE  0       /* this handle asked for nothing yet */
#define VECDB_BACKGROUND_IDLE  1       /* all that was asked for is done */
#define VECDB_BACKGROUND_BUSY  2
typedef struct vecdb_background_info {
  uint32_t size;
  uint32_t state;            /* VECDB_BACKGROUND_* */
  uint64_t n_done;           /* times that a collection was brought up to date */
  uint64_t n_failed;         /* times that this failed; the next commit asks
                             ** again */
  int32_t  rc;               /* of the last failure; VECDB_OK: there was none */
  uint32_t reserved;
  const char *message;       /* its sentence; lives until the next such call */
} vecdb_background_info;
VECDB_API int vecdb_background(vecdb *db, vecdb_background_info *out);

/* Set a persistent table option ("recall", "ef", "merge_rows", of which "auto"
** takes back what was set; "optimize"), or
** the index of a column ("COLUMN.index", "graph(bits=2, nav=pca:128)"), which
** the next rebuild makes (VECDB_OPTIMIZE_ALL): value is text as in the
** schema. */
VECDB_API int vecdb_collection_set(vecdb_collection *c, const char *name,
                                   const char *value);

/* ---- Statements: prepare, bind, step, read columns, reset, finalize -------
**
** Insert      bind columns by number, step once: VECDB_DONE. An unbound
**             column is NULL; a NULL integer key is given max ever used + 1
**             (vecdb_last_key).
** Update      bind VECDB_KEY to say which row, and the columns that change;
**             the rest stays. Changing column 0 moves the row to a new key.
** Delete      bind VECDB_KEY.      Get: bind VECDB_KEY; ROW, then DONE.
**             update, delete and get of an absent key: VECDB_NOTFOUND.
** Scan        all rows that pass the filter, in order of the key.
** Search      bind the query vector to VECDB_QUERY and ?1.. of the filter to
**             1..; step: rows in order of (distance, key).
**
** After VECDB_DONE or an error a statement is reset before it is stepped
** again (vecdb_step does it when you do not). Bindings stay; between
** VECDB_ROW and the reset nothing can be bound (MISUSE). A search or scan
** keeps its snapshot until it is reset or has returned VECDB_DONE, or until
** its own handle writes, or begins or commits a transaction: it then goes on
** behind the row it stands on, with rows as they are by now and without those
** that are gone (so a scan may delete what it finds). After a rollback, also
** to a savepoint, its next step says VECDB_ABORT. */

#define VECDB_KEY    (-1)
#define VECDB_QUERY  (-2)

#define VECDB_OR_REPLACE  0x1u          /* insert: a row of that key goes */
#define VECDB_OR_IGNORE   0x2u          /* insert: keep the old, DONE */

VECDB_API int vecdb_prepare_insert(vecdb_collection *c, uint32_t flags,
                                   vecdb_stmt **out);
VECDB_API int vecdb_prepare_update(vecdb_collection *c, vecdb_stmt **out);
VECDB_API int vecdb_prepare_delete(vecdb_collection *c, vecdb_stmt **out);
VECDB_API int vecdb_prepare_get(vecdb_collection *c, vecdb_stmt **out);
VECDB_API int vecdb_prepare_scan(vecdb_collection *c, const char *filter,
                                 vecdb_stmt **out);

#define VECDB_SEARCH_EXACT        0x1u  /* never approximate */
#define VECDB_SEARCH_AFTER_STRICT 0x2u  /* min_distance itself is excluded */
#define VECDB_SEARCH_WITHIN_STRICT 0x4u /* max_distance itself is excluded */
#define VECDB_SEARCH_HAS_MIN      0x8u  /* min_distance is meant */
#define VECDB_SEARCH_HAS_MAX     0x10u  /* max_distance is meant */
typedef struct vecdb_search_options {
  uint32_t    size;
  uint32_t    flags;         /* VECDB_SEARCH_* */
  int32_t     column;        /* number of the vector column; 0: the first */
  uint32_t    ef;            /* effort of an approximate index; 0: default */
  uint64_t    k;             /* at most so many rows; 0: all (needs HAS_MAX),
                             ** exactly, or with ef or recall nearly all */
  double      recall;        /* target of an approximate index; 0: default */
  double      min_distance, max_distance;
  const char *filter;        /* "lang = ?1 AND year > 2000", or NULL */
} vecdb_search_options;
#define VECDB_SEARCH_OPTIONS_INIT \
  { sizeof(vecdb_search_options), 0, 0, 0, 10, 0, 0, 0, NULL }
VECDB_API int vecdb_prepare_search(vecdb_collection *c,
                                   const vecdb_search_options *opt,
                                   vecdb_stmt **out);
/* Search several vector columns at once: rows by (sum of weight * distance,
** key), the sum computed in double precision in the order of the parts and
** rounded to a float. Queries are copied now, VECDB_QUERY is not bound. Of the
** options, column and the distance window do not apply (MISUSE), k is at least
** 1. Exact, or where every column has a graph by lists of each that reach far
** enough to prove that no other row is nearer, as far as the graphs know. */
typedef struct vecdb_query_part {
  uint32_t size;             /* sizeof(vecdb_query_part) */
  int32_t  column;           /* number of the vector column; 0: the first */
  uint32_t element;          /* as in vecdb_bind_vector */
  uint32_t reserved;
  double   weight;           /* at least 0 */
  const void *query;
  size_t   n_bytes;
} vecdb_query_part;
VECDB_API int vecdb_prepare_search_multi(vecdb_collection *c,
                                         const vecdb_search_options *opt,
                                         const vecdb_query_part *part,
                                         size_t n_part, vecdb_stmt **out);
/* Change k between runs (a bound parameter). */
VECDB_API int vecdb_search_set_k(vecdb_stmt *s, uint64_t k);
/* Restrict a search or scan to these integer keys (besides the filter); NULL
** takes the restriction away. Keys that do not exist are ignored. */
VECDB_API int vecdb_search_set_keys(vecdb_stmt *s, size_t n,
                                    const int64_t *keys);
VECDB_API int vecdb_search_set_text_keys(vecdb_stmt *s, size_t n,
                                         const char *const *keys);

typedef void (*vecdb_free_fn)(void *);
#define VECDB_STATIC     ((vecdb_free_fn)0)    /* stays valid until rebound */
#define VECDB_TRANSIENT  ((vecdb_free_fn)-1)   /* copied now */

/* i: column number (insert, update), VECDB_KEY, VECDB_QUERY, or the number
** of a filter parameter. n_bytes (size_t)-1: up to the NUL. Types are checked
** here or at step: MISMATCH, CONSTRAINT_TYPE, RANGE. */
VECDB_API int vecdb_bind_null(vecdb_stmt *s, int i);
VECDB_API int vecdb_bind_int64(vecdb_stmt *s, int i, int64_t v);
VECDB_API int vecdb_bind_double(vecdb_stmt *s, int i, double v);
VECDB_API int vecdb_bind_text(vecdb_stmt *s, int i, const char *z,
                              size_t n_bytes, vecdb_free_fn destroy);
VECDB_API int vecdb_bind_blob(vecdb_stmt *s, int i, const void *p,
                              size_t n_bytes, vecdb_free_fn destroy);
/* element: the type of p's elements: the column's own, or VECDB_F32, which is
** rounded to float16/bfloat16 (refused by integer and bit columns). */
VECDB_API int vecdb_bind_vector(vecdb_stmt *s, int i, int element,
                                const void *p, size_t n_bytes,
                                vecdb_free_fn destroy);
/* A JSON array of numbers, "[0.1, 2, -3e4]". */
VECDB_API int vecdb_bind_vector_text(vecdb_stmt *s, int i, const char *z,
                                     size_t n_bytes);
VECDB_API int vecdb_clear_bindings(vecdb_stmt *s);

VECDB_API int vecdb_step(vecdb_stmt *s);      /* ROW, DONE or an error */
VECDB_API int vecdb_reset(vecdb_stmt *s);
VECDB_API int vecdb_finalize(vecdb_stmt *s);
VECDB_API vecdb_collection *vecdb_stmt_collection(vecdb_stmt *s);

/* Columns of the row that step just returned; conversions as in SQLite. A
** value that cannot be read (CORRUPT_*, IOERR_*, NOMEM) looks like NULL:
** vecdb_column_errcode tells the one from the other, vecdb_errmsg says why,
** and the next step fails with the same code. */
VECDB_API int         vecdb_column_type(vecdb_stmt *s, int column);
VECDB_API int64_t     vecdb_column_int64(vecdb_stmt *s, int column);
VECDB_API double      vecdb_column_double(vecdb_stmt *s, int column);
VECDB_API const char *vecdb_column_text(vecdb_stmt *s, int column);
VECDB_API const void *vecdb_column_blob(vecdb_stmt *s, int column);
VECDB_API size_t      vecdb_column_bytes(vecdb_stmt *s, int column);
/* Why a value of this row could not be read; VECDB_OK: all could. */
VECDB_API int         vecdb_column_errcode(vecdb_stmt *s);
/* The stored vector, bit for bit, in the column's element type. */
VECDB_API const void *vecdb_column_vector(vecdb_stmt *s, int column,
                                          size_t *n_bytes);
/* Distance of this row to the query; NaN in get and scan. */
VECDB_API double      vecdb_row_distance(vecdb_stmt *s);
/* Integer key that the last successful insert on this handle used. */
VECDB_API int64_t     vecdb_last_key(vecdb *db);

/* ---- Bulk ---------------------------------------------------------------- */

/* One column of a batch: n values, `stride` bytes apart (0: packed).
**   type VECDB_VECTOR: `element` says which; data is n vectors
**   type VECDB_INTEGER: int64_t; VECDB_REAL: double; VECDB_BOOLEAN: uint8_t
**   type VECDB_TEXT: const char*, NUL terminated, NULL pointer is NULL
** nulls (may be NULL): one byte per row, nonzero is NULL. */
typedef struct vecdb_column_data {
  uint32_t size;
  int32_t  column;           /* number; VECDB_KEY is column 0 */
  uint32_t type;
  uint32_t element;
  const void *data;
  size_t   stride;
  const uint8_t *nulls;
} vecdb_column_data;
/* Insert n rows in one transaction (or inside the open one): all or none.
** Without data for column 0, integer keys are given in order; *first_key (may
** be NULL) is the first of them. Large batches go straight into extents.
** flags: VECDB_OR_REPLACE, VECDB_OR_IGNORE. */
VECDB_API int vecdb_put_many(vecdb_collection *c, size_t n,
                             const vecdb_column_data *data, size_t n_data,
                             uint32_t flags, int64_t *first_key);

/* nq queries at once over several threads; integer keys only. Row i of keys
** and distances (nq x k, row-major) holds the results of query i in order;
** counts[i] (may be NULL) how many; the rest is key -1, distance +inf.
** element and stride as in vecdb_bind_vector; stride 0: packed. */
VECDB_API int vecdb_search_many(vecdb_collection *c,
                                const vecdb_search_options *opt, size_t nq,
                                int element, const void *queries,
                                size_t stride, int64_t *keys,
                                float *distances, uint32_t *counts);

/* What the last search of this handle did: a statement's first step, or
** vecdb_search_many, whose numbers are sums over all queries. The strings are
** constants. VECDB_NOTFOUND: there was none. */
typedef struct vecdb_search_info {
  uint32_t size;             /* sizeof(vecdb_search_info), set by you */
  uint32_t ef;               /* effort in the graph, widened by what the filter
                             ** leaves out; 0: none was walked */
  uint64_t n_match;          /* rows that qualified (of each query) */
  uint64_t n_distance;       /* rows compared; of the blocks of a graph that a
                             ** batch walks, only the results */
  double   recall;           /* to be expected, as measured when the graph was
                             ** built; 1: exact; 0: unknown, as ef was given */
  const char *plan;          /* "exact", "graph" (through all rows), "graph over
                             ** bridges" (among those that qualify), "codes" (of
                             ** those), or ".., then codes", ".., then exact" */
  const char *why;           /* a few words */
  uint64_t n_row;            /* live rows */
  uint64_t n_block;          /* blocks of graphs read; not counted by batches,
                             ** nor are the next four */
  uint64_t n_bridge;         /* of them, of rows that do not qualify */
  uint32_t n_far;            /* walks with hardly a row that qualifies near the
                             ** query */
  uint32_t n_switch;         /* searches that went on by codes, or exactly */
  double   share_near;       /* share of rows near the query that qualify, as
                             ** sampled by the last walk over bridges */
  double   cost_exact_us;    /* expected costs, by fixed prices, of comparing */
  double   cost_through_us;  /* what qualifies, of walking through all rows, */
  double   cost_within_us;   /* over bridges; 0: not possible, or not asked */
  double   cost_codes_us;    /* and of comparing codes of what qualifies */
} vecdb_search_info;
VECDB_API int vecdb_last_search(vecdb *db, vecdb_search_info *out);

/* ---- Vectors as values --------------------------------------------------- */

/* Bytes of one vector; 0 when the pair is not allowed. */
VECDB_API size_t vecdb_vector_bytes(int element, size_t dims);
/* The distance that searches report, to the bit. NaN for the cosine of a zero
** vector. MISMATCH when the metric does not take the type. */
VECDB_API int vecdb_distance(int metric, int element, size_t dims,
                             const void *a, const void *b, double *out);
/* Parse a strict JSON array of numbers. out (cap bytes) may be NULL to count:
** *dims is set either way. SYNTAX, RANGE, TOOBIG; err (n_err bytes, may be
** NULL) gets the sentence. */
VECDB_API int vecdb_vector_parse(int element, const char *z, size_t n,
                                 void *out, size_t cap, size_t *dims,
                                 char *err, size_t n_err);
/* JSON text, shortest that reads back the same. Free with vecdb_free. */
VECDB_API int vecdb_vector_print(int element, size_t dims, const void *v,
                                 char **out);
/* Convert between float types; RANGE when a value overflows to infinity or is
** not finite (err names the element). */
VECDB_API int vecdb_vector_convert(int from, int to, size_t dims,
                                   const void *in, void *out,
                                   char *err, size_t n_err);
VECDB_API void vecdb_free(void *p);

/* ---- An outside page store -----------------------------------------------
**
** A host that has storage of its own (SQLite tables, say) passes these
** functions in vecdb_options.store; the engine then keeps its pages there
** and leaves durability, isolation and rollback to the host. Pages are
** usable_size bytes; extents are immutable byte arrays under a number the
** engine chooses; a number is used again only after free.
** Every function returns a VECDB_ code. `arg` is passed through.
**
**   begin_read    start a snapshot; *version grows whenever somebody else
**                 may have changed the contents since the last call on this
**                 handle, and becomes smaller than it ever was when they may
**                 have come from elsewhere (a restored copy, say): then
**                 nothing cached is used any more, extents included.
**   begin_write   the host's write transaction is open: *version as above.
**   flush         bring n changed pages to the host, inside its transaction.
**   free_page     the page is not needed any more (before `end`, after the
**                 last flush); it may be flushed again later. NOTFOUND is fine
**                 when it was never written.
**   end           the transaction is over (or rolled back): nothing cached
**                 from it may be used when committed is 0.
** read_page of a page never written returns VECDB_NOTFOUND.
**
** When the host commits in two phases (or may fail to), vecdb_prepare_commit
** brings all changes to it and leaves the transaction open; vecdb_decide ends
** it. uuid and token are stored and mean nothing. A savepoint made with
** vecdb_savepoint is one of the host's as well: before vecdb_rollback_to is
** called, the host has undone what it was given since. The path given to
** vecdb_open names the store in messages. */
typedef struct vecdb_page_store {
  uint32_t size;             /* sizeof(vecdb_page_store) */
  uint32_t usable_size;      /* bytes of a page, 4032..65536, multiple of 32 */
  void *arg;
  int  (*begin_read)(void *arg, uint64_t *version);
  int  (*begin_write)(void *arg, uint64_t *version);
  int  (*end)(void *arg, int committed);
  int  (*read_page)(void *arg, uint32_t pgno, void *buf);
  int  (*flush)(void *arg, size_t n, const uint32_t *pgno,
                const void *const *pages);
  int  (*free_page)(void *arg, uint32_t pgno);
  int  (*extent_write)(void *arg, uint64_t no, const void *p, size_t n_bytes);
  int  (*extent_read)(void *arg, uint64_t no, size_t off, void *buf,
                      size_t n_bytes);
  int  (*extent_free)(void *arg, uint64_t no);
  const char *(*errmsg)(void *arg);    /* of the last failure; may be NULL */
} vecdb_page_store;

#ifdef __cplusplus
}
#endif
#endif /* VECDB_H */
