/* progress.c -- the one line that says how far a long operation is.
**
** LOOK      "importing  3,120,000/9,990,994 rows  31 %  412,000/s  0:17 left"
** RULES     only when stderr is a terminal and neither -batch nor -quiet was
**           given; nothing before 0.5 s, then at most ten times a second; the
**           line is erased at the end, so output never mixes with it. It is
**           cut to the terminal: a line that wraps could not be erased.
*/
#include "shell/shell.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

double shell_now(void){
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + 1e-9*(double)ts.tv_nsec;
}

void shell_format_count(char *buf, size_t n, unsigned long long v){
  char raw[32];
  int n_raw = snprintf(raw, sizeof raw, "%llu", v);
  size_t j = 0;
  for(int i=0; i<n_raw && j+2<n; i++){
    if( i>0 && (n_raw-i)%3==0 ) buf[j++] = ',';
    buf[j++] = raw[i];
  }
  buf[j] = 0;
}

void shell_format_bytes(char *buf, size_t n, unsigned long long v){
  static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
  double d = (double)v;
  int i = 0;
  while( d>=1024 && i<4 ){ d /= 1024; i++; }
  snprintf(buf, n, i==0 ? "%.0f %s" : "%.1f %s", d, unit[i]);
}

void shell_format_secs(char *buf, size_t n, double s){
  unsigned long t = s<0 ? 0 : (unsigned long)(s + 0.5);
  if( s<10 ) snprintf(buf, n, "%.1f s", s<0 ? 0.0 : s);
  else if( t<3600 ) snprintf(buf, n, "%lu:%02lu", t/60, t%60);
  else snprintf(buf, n, "%lu:%02lu:%02lu", t/3600, t/60%60, t%60);
}

void progress_begin(struct progress *p, struct shell *sh, const char *phase,
                    const char *unit, unsigned long long total){
  memset(p, 0, sizeof *p);
  p->sh = sh;
  p->phase = phase;
  p->unit = unit;
  p->total = total;
  p->t_start = p->t_prev = shell_now();
  p->t_shown = p->t_start + 0.4;
  p->is_on = isatty(2) && !sh->batch && !sh->quiet;
}

/* A count of bytes reads better in KiB and MiB than in digits. */
static void amount_format(const struct progress *p, char *buf, size_t n,
                          unsigned long long v){
  if( strcmp(p->unit, "bytes")==0 ) shell_format_bytes(buf, n, v);
  else shell_format_count(buf, n, v);
}

static int terminal_width(void){
  struct winsize w;
  return ioctl(2, TIOCGWINSZ, &w)==0 && w.ws_col>0 ? w.ws_col : 80;
}

static void progress_show(struct progress *p, unsigned long long done,
                          double now){
  char z_done[40], z_total[40], z_rate[40], z_left[40], z_spent[40], line[300];
  double spent = now - p->t_start;
  double rate = spent>0 ? (double)done/spent : 0;

  amount_format(p, z_done, sizeof z_done, done);
  amount_format(p, z_rate, sizeof z_rate, (unsigned long long)rate);
  shell_format_secs(z_spent, sizeof z_spent, spent);
  if( p->total>0 && done<=p->total ){
    amount_format(p, z_total, sizeof z_total, p->total);
    if( done==0 ) snprintf(z_left, sizeof z_left, "?");
    else shell_format_secs(z_left, sizeof z_left,
                           (double)(p->total-done)/rate);
    snprintf(line, sizeof line, "%s  %s/%s %s  %3.0f %%  %s/s  %s, %s left",
             p->phase, z_done, z_total, p->unit,
             100.0*(double)done/(double)p->total, z_rate, z_spent, z_left);
  }else{
    snprintf(line, sizeof line, "%s  %s %s  %s/s  %s", p->phase, z_done,
             p->unit, z_rate, z_spent);
  }
  fprintf(stderr, "\r\033[K%.*s", terminal_width()-1, line);
  fflush(stderr);
  p->was_shown = true;
}

void progress_update(struct progress *p, unsigned long long done){
  double now;
  if( !p->is_on ) return;
  now = shell_now();
  if( now - p->t_shown < 0.1 ) return;
  p->t_shown = now;
  progress_show(p, done, now);
}

void progress_end(struct progress *p, const char *summary){
  if( p->was_shown ) fputs("\r\033[K", stderr);
  if( summary!=NULL && !p->sh->quiet ) fprintf(stderr, "%s\n", summary);
  p->is_on = p->was_shown = false;
}

int progress_vecdb(void *arg, const vecdb_progress *v){
  struct progress *p = arg;
  if( p->phase!=v->phase ){
    p->phase = v->phase;
    p->unit = v->unit;
    p->t_start = shell_now();
  }
  p->total = v->total;
  progress_update(p, v->done);
  return p->sh->interrupted;
}
