/* clock.h -- seconds that have passed, and that this process has worked. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H
#include <time.h>

static inline double clock_seconds(clockid_t id){
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}
static inline double wall_seconds(void){
  return clock_seconds(CLOCK_MONOTONIC);
}
static inline double cpu_seconds(void){
  return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}
#endif
