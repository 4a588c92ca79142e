/* record.h -- what a benchmark measured: series, figures against goals, JSON.
**
** A series is every repetition of one measurement; a figure is one number of
** the table, most often the median of a series, with the goal it is held
** against. The table goes to stdout as figures come in, all of it at the end
** to a JSON file, with the machine (not its name) and the command line.
**
** Included by one benchmark program each, which has these globals to itself.
*/
#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { REPS_MAX = 200, SERIES_MAX = 64, FIGURES_MAX = 64 };

struct series { char key[48]; int n; double v[REPS_MAX]; };
static struct series series[SERIES_MAX];
static int n_series;

enum goal { GOAL_NONE, AT_LEAST, AT_MOST };
struct figure {
  char key[64];
  const char *unit;
  double value, bound;
  enum goal goal;
};
static struct figure figures[FIGURES_MAX];
static int n_figure, n_missed;

static struct series *series_of(const char *key){
  for(int i=0; i<n_series; i++){
    if( strcmp(series[i].key, key)==0 ) return &series[i];
  }
  if( n_series==SERIES_MAX ) abort();
  snprintf(series[n_series].key, sizeof(series[0].key), "%s", key);
  return &series[n_series++];
}

static void record(const char *key, double v){
  struct series *s = series_of(key);
  if( s->n<REPS_MAX ) s->v[s->n++] = v;
}

static int compare_doubles(const void *a, const void *b){
  double x = *(const double*)a, y = *(const double*)b;
  return x<y ? -1 : x>y;
}

static double median(const char *key){
  struct series *s = series_of(key);
  double v[REPS_MAX];
  if( s->n==0 ) return 0;
  memcpy(v, s->v, (size_t)s->n*sizeof(v[0]));
  qsort(v, (size_t)s->n, sizeof(v[0]), compare_doubles);
  return s->n%2 ? v[s->n/2] : (v[s->n/2-1] + v[s->n/2])/2;
}

/* The median of the ratios of two series repetition by repetition: both of a
** pair met the same disk. */
static inline double median_ratio(const char *above, const char *below){
  struct series *a = series_of(above), *b = series_of(below);
  char key[64];
  snprintf(key, sizeof(key), "%.44s/ratio", above);
  for(int i=0; i<a->n && i<b->n; i++) record(key, a->v[i]/b->v[i]);
  return median(key);
}

static void figure(const char *key, double value, const char *unit,
                   enum goal goal, double bound){
  struct figure *f = &figures[n_figure++];
  const char *verdict = "";
  if( n_figure>FIGURES_MAX ) abort();
  snprintf(f->key, sizeof(f->key), "%s", key);
  f->value = value;
  f->unit = unit;
  f->goal = goal;
  f->bound = bound;
  if( goal!=GOAL_NONE ){
    bool met = goal==AT_LEAST ? value>=bound : value<=bound;
    verdict = met ? "met" : "MISSED";
    n_missed += !met;
  }
  printf("%-52s %12.4g %-8s", key, value, unit);
  if( goal!=GOAL_NONE ){
    printf(" goal %s %-6.4g %s", goal==AT_LEAST ? ">=" : "<=", bound, verdict);
  }
  printf("\n");
  fflush(stdout);
}

/* ---- JSON ---------------------------------------------------------------- */

/* The value of a line "key : value" of a file in /proc. */
static void proc_value(const char *path, const char *key, char *out,
                       size_t n){
  char line[400], *z;
  FILE *f = fopen(path, "r");
  snprintf(out, n, "unknown");
  while( f && fgets(line, sizeof(line), f) ){
    if( strncmp(line, key, strlen(key))!=0 || !(z = strchr(line, ':')) ){
      continue;
    }
    z += 1 + strspn(z+1, " \t");
    z[strcspn(z, "\n")] = 0;
    snprintf(out, n, "%.*s", (int)n-1, z);
    break;
  }
  if( f ) fclose(f);
}

/* The 1-minute load average: what else was running. */
static double load_now(void){
  double load = -1;
  FILE *f = fopen("/proc/loadavg", "r");
  if( f && fscanf(f, "%lf", &load)!=1 ) load = -1;
  if( f ) fclose(f);
  return load;
}
static double load_at_start;

/* The type of the file system that holds the folder: of all mount points
** above it the longest. */
static void file_system_type(const char *folder, char *out, size_t n){
  char line[2000], real[4096], at[1000], type[64];
  size_t best = 0, len;
  FILE *f = fopen("/proc/self/mounts", "r");
  snprintf(out, n, "unknown");
  if( !realpath(folder, real) ) real[0] = 0;
  while( f && fgets(line, sizeof(line), f) ){
    if( sscanf(line, "%*s %999s %63s", at, type)!=2 ) continue;
    len = strlen(at);
    if( strncmp(real, at, len)!=0 || len<best ) continue;
    if( len>1 && real[len] && real[len]!='/' ) continue;
    best = len;
    snprintf(out, n, "%s", type);
  }
  if( f ) fclose(f);
}

static void json_string(FILE *f, const char *z){
  fputc('"', f);
  for(; *z; z++){
    if( *z=='"' || *z=='\\' ) fputc('\\', f);
    fputc((unsigned char)*z<' ' ? ' ' : *z, f);
  }
  fputc('"', f);
}

static void json_member(FILE *f, const char *key, const char *value){
  json_string(f, key);
  fputs(": ", f);
  json_string(f, value);
}

static void json_machine(FILE *f, const char *folder){
  char cpu[200], fs[64], memory[64], cores[24];
  struct utsname u;
  proc_value("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
  proc_value("/proc/meminfo", "MemTotal", memory, sizeof(memory));
  file_system_type(folder, fs, sizeof(fs));
  snprintf(cores, sizeof(cores), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
  if( uname(&u)!=0 ) memset(&u, 0, sizeof(u));
  fputs("\"machine\": {", f);
  json_member(f, "cpu", cpu);
  fprintf(f, ", \"cores\": %s, ", cores);
  json_member(f, "memory", memory);
  fputs(", ", f);
  json_member(f, "kernel", u.release);
  fputs(", ", f);
  json_member(f, "file system", fs);
  fprintf(f, ",\n  \"load before\": %.2f, \"load after\": %.2f},\n",
          load_at_start, load_now());
}

static void json_series(FILE *f){
  fputs(" ],\n \"series\": {\n", f);
  for(int i=0; i<n_series; i++){
    fputs("  ", f);
    json_string(f, series[i].key);
    fputs(": [", f);
    for(int k=0; k<series[i].n; k++){
      fprintf(f, "%s%.6g", k ? ", " : "", series[i].v[k]);
    }
    fprintf(f, "]%s\n", i+1<n_series ? "," : "");
  }
  fputs(" }\n}\n", f);
}

/* Everything recorded, to a file. about: pairs of names and texts, NULL at the
** end; folder: where the measured files lay. */
static void json_write(const char *path, const char *folder,
                       const char *const *about){
  FILE *f = fopen(path, "w");
  if( !f ){
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(1);
  }
  fputs("{", f);
  for(; *about; about += 2){
    json_member(f, about[0], about[1]);
    fputs(",\n ", f);
  }
  json_machine(f, folder);
  fputs(" \"figures\": [\n", f);
  for(int i=0; i<n_figure; i++){
    const struct figure *g = &figures[i];
    fputs("  {", f);
    json_member(f, "name", g->key);
    fprintf(f, ", \"value\": %.6g, ", g->value);
    json_member(f, "unit", g->unit);
    if( g->goal!=GOAL_NONE ){
      fprintf(f, ", \"goal\": \"%s %.6g\", \"met\": %s",
              g->goal==AT_LEAST ? ">=" : "<=", g->bound,
              (g->goal==AT_LEAST ? g->value>=g->bound : g->value<=g->bound)
              ? "true" : "false");
    }
    fprintf(f, "}%s\n", i+1<n_figure ? "," : "");
  }
  json_series(f);
  if( fclose(f)!=0 ){
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(1);
  }
}
#endif
