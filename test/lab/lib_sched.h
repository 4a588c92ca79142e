/* lib_sched.h -- actors that take turns as a scheduler says, for exploring
** what several connections may do to each other.
**
** Used by   t_sched. Each actor is a coroutine with a connection of its own;
**           they share only the files, locks and shared memory of one world in
**           RAM, as processes would. Control can change hands before every
**           lock, unlock, sync, write, truncation, opening, removal and access
**           to shared memory, and whenever somebody sleeps.
**
** Two ways of choosing, both replayed exactly by the seed:
**   even seeds   random priorities with a few change points (PCT): finds bugs
**                that need a few particular preemptions
**   odd seeds    at each point a switch with small probability
** Whoever sleeps goes behind all others, so nobody waits in vain; a run of
** more than SCHED_STEP_MAX steps is a failure (somebody waits for ever).
**
** An actor may die: it is never continued, and its files are closed below the
** layer, which releases its locks. What it had in memory stays where it is.
**
** This explores sequentially consistent orders only.
*/
#ifndef LIB_SCHED_H
#define LIB_SCHED_H
#include "lab/lib_layer.h"

enum { SCHED_ACTOR_MAX = 8, SCHED_STEP_MAX = 400000 };

struct sched;
struct sched *sched_create(struct vecdb_file_ops *mem, uint64_t seed);
void sched_destroy(struct sched *s);
const struct vecdb_file_ops *sched_ops(struct sched *s);

/* An actor that will run fn(arg). It must close what it opens. */
void sched_spawn(struct sched *s, void (*fn)(void *arg), void *arg);
/* Kill that actor (0 is the first spawned) before its n-th step. */
void sched_kill_at(struct sched *s, int i_actor, uint64_t n);
/* Run until all have returned or died. False: too many steps. */
bool sched_run(struct sched *s);

uint64_t sched_n_step(const struct sched *s);
/* A hash of who moved at each step: equal hashes, equal schedules. */
uint64_t sched_trace(const struct sched *s);
/* The calls of the last steps, for a report, newest last. */
void sched_print_tail(const struct sched *s);
#endif
