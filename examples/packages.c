/* packages.c -- real text into a .vdb, searched by likeness of meaning.
**
** Usage     apt-cache dumpavail | packages build FILE.vdb
**           packages embed FILE.vdb "words to look for"
**
** Every Debian machine has descriptions of tens of thousands of packages.
** `build` turns each into a vector and stores two collections: "packages"
** (vector, name, section, size, summary) and "words" (one vector per word).
** `embed` prints the vector of any words as JSON, ready for MATCH.
**
** The embedder needs no model file and no training library. It is Random
** Indexing (Sahlgren 2005; Cohen 2010 for the reflective step):
**   1  hashing and projection: a word's first vector is +-1 noise drawn from
**      the hash of its letters, so words start out almost orthogonal;
**   2  a document is the sum of its words, each weighted by its rarity (idf);
**   3  a word then moves towards the documents that use it, and so towards
**      the words it shares documents with: that is what makes "photo" lie
**      near "image", though they share no letter;
**   4  documents are summed again from the moved words; what all documents
**      have in common (the mean) is taken away.
** It is no neural model, and costs two passes over the text.
*/
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vecdb.h"

#define DIMS      128
#define MAX_WORDS 256                      /* of one document */
#define KEEP      0.35f                    /* of a word's own noise, step 3 */

struct word { char z[32]; float idf; int df; float v[DIMS]; };
struct doc  { char *name, *section, *summary; long long kib; int first, n; };

static struct word *words;  static int n_words, cap_words;
static struct doc  *docs;   static int n_docs, cap_docs;
static int         *uses;   static int n_uses, cap_uses;  /* words of docs */
static int         *table;                 /* hash -> word, -1 empty */
#define TABLE_SIZE (1u<<20)

static void die(const char *what){
  fprintf(stderr, "packages: %s\n", what);
  exit(1);
}

/* Room for one more element of *p. */
static void *grow(void *p, int n, int *cap, size_t size){
  if( n<*cap ) return p;
  *cap = *cap ? *cap*2 : 4096;
  p = realloc(p, (size_t)*cap*size);
  if( p==NULL ) die("out of memory");
  return p;
}

static char *copy(const char *z){
  size_t n = strlen(z)+1;
  char *out = malloc(n);
  if( out==NULL ) die("out of memory");
  return memcpy(out, z, n);
}

/* ---- Words --------------------------------------------------------------- */

static unsigned long long hash(const char *z){
  unsigned long long h = 1469598103934665603u;              /* FNV-1a */
  for(; *z; z++) h = (h ^ (unsigned char)*z) * 1099511628211u;
  return h;
}

/* Step 1: the noise of a word. */
static void project(const char *z, float *v){
  unsigned long long s = hash(z);
  for(int i=0; i<DIMS; i++){
    unsigned long long x = (s += 0x9e3779b97f4a7c15u);        /* SplitMix64 */
    x = (x ^ (x>>30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x>>27)) * 0x94d049bb133111ebu;
    v[i] = (x>>63) ? 1.0f : -1.0f;
  }
}

/* "Editing", "editors", "edited" -> "edit": enough of a stemmer for lists. */
static void stem(char *z){
  static const char *const tail[] = { "ings","ing","ers","er","ies","ed","es","s" };
  size_t n = strlen(z);
  for(size_t i=0; i<sizeof(tail)/sizeof(tail[0]); i++){
    size_t m = strlen(tail[i]);
    if( m==1 && n>1 && z[n-2]=='s' ) return;                  /* "chess" */
    if( n>=m+4 && strcmp(z+n-m, tail[i])==0 ){ z[n-m] = 0; return; }
  }
}

/* Next word of *p into z, lower case and stemmed; 0 at the end. */
static int word_next(const char **p, char *z){
  size_t n = 0;
  while( **p && !isalnum((unsigned char)**p) ) ++*p;
  if( **p==0 ) return 0;
  for(; isalnum((unsigned char)**p); ++*p){
    if( n<31 ) z[n++] = (char)tolower((unsigned char)**p);
  }
  z[n] = 0;
  stem(z);
  return 1;
}

static int word_id(const char *z){
  unsigned i = (unsigned)hash(z) & (TABLE_SIZE-1);
  for(; table[i]>=0; i=(i+1)&(TABLE_SIZE-1)){
    if( strcmp(words[table[i]].z, z)==0 ) return table[i];
  }
  words = grow(words, n_words, &cap_words, sizeof *words);
  memset(&words[n_words], 0, sizeof *words);
  memcpy(words[n_words].z, z, strlen(z)+1);
  if( (unsigned)n_words>TABLE_SIZE/2 ) die("too many words");
  return table[i] = n_words++;
}

/* ---- Documents ----------------------------------------------------------- */

static void doc_add_text(struct doc *d, const char *text){
  char z[32];
  while( d->n<MAX_WORDS && word_next(&text, z) ){
    int id = word_id(z), seen = 0;
    for(int i=0; i<d->n; i++) if( uses[d->first+i]==id ) seen = 1;
    if( seen || strlen(z)<2 ) continue;
    uses = grow(uses, n_uses, &cap_uses, sizeof *uses);
    uses[n_uses++] = id;
    d->n++;
    words[id].df++;
  }
}

/* Read "Field: value" paragraphs. Only packages with a summary are kept. */
static void docs_read(FILE *in){
  char *line = NULL, tags = 0;
  size_t cap = 0;
  struct doc d = { 0 };
  d.first = n_uses;
  for(;;){
    long n = getline(&line, &cap, in);
    char *value = n>0 ? strchr(line, ':') : NULL;
    if( n<=1 ){                                        /* end of paragraph */
      if( d.name && d.summary ){
        doc_add_text(&d, d.name);
        if( d.section ) doc_add_text(&d, d.section);
        docs = grow(docs, n_docs, &cap_docs, sizeof *docs);
        docs[n_docs++] = d;
      }else{
        free(d.name);
        free(d.section);
        free(d.summary);
      }
      memset(&d, 0, sizeof d);
      d.first = n_uses;
      if( n<0 ) break;
      continue;
    }
    line[strcspn(line, "\n")] = 0;
    if( line[0]==' ' ){ if( tags ) doc_add_text(&d, line); continue; }
    tags = 0;
    if( value==NULL ) continue;
    *value++ = 0;
    while( *value==' ' ) value++;
    if( !strcmp(line, "Package") ) d.name = copy(value);
    else if( !strcmp(line, "Section") ) d.section = copy(value);
    else if( !strcmp(line, "Installed-Size") ) d.kib = strtoll(value, NULL, 10);
    else if( !strncmp(line, "Description", 11) && !strstr(line, "md5") ){
      d.summary = copy(value);
      doc_add_text(&d, value);
    }
    else if( !strcmp(line, "Tag") ){ tags = 1; doc_add_text(&d, value); }
  }
  free(line);
}

/* ---- Steps 2 to 4 -------------------------------------------------------- */

static void normalize(float *v){
  float s = 0;
  for(int i=0; i<DIMS; i++) s += v[i]*v[i];
  s = s>0 ? 1/sqrtf(s) : 0;
  for(int i=0; i<DIMS; i++) v[i] *= s;
}

static void doc_vector(const struct doc *d, float *v){
  memset(v, 0, DIMS*sizeof *v);
  for(int i=0; i<d->n; i++){
    const struct word *w = &words[uses[d->first+i]];
    for(int j=0; j<DIMS; j++) v[j] += w->idf*w->v[j];
  }
  normalize(v);
}

static float *embed_all(void){
  float *moved = calloc((size_t)n_words*DIMS, sizeof *moved), v[DIMS];
  float *out = malloc((size_t)n_docs*DIMS*sizeof *out), mean[DIMS] = { 0 };
  if( moved==NULL || out==NULL ) die("out of memory");
  for(int w=0; w<n_words; w++){
    words[w].idf = logf((float)n_docs/(float)words[w].df);
    project(words[w].z, words[w].v);
    normalize(words[w].v);
  }
  for(int d=0; d<n_docs; d++){
    doc_vector(&docs[d], v);
    for(int j=0; j<DIMS; j++) mean[j] += v[j]/(float)n_docs;
    for(int i=0; i<docs[d].n; i++){
      float *m = moved + (size_t)uses[docs[d].first+i]*DIMS;
      for(int j=0; j<DIMS; j++) m[j] += v[j];
    }
  }
  for(int w=0; w<n_words; w++){
    float *m = moved + (size_t)w*DIMS;
    for(int j=0; j<DIMS; j++) m[j] -= (float)words[w].df*mean[j];
    normalize(m);
    for(int j=0; j<DIMS; j++){
      words[w].v[j] = KEEP*words[w].v[j] + (1-KEEP)*m[j];
    }
    normalize(words[w].v);
    /* A word's own vector carries its weight, so that sums in SQL do too. */
    for(int j=0; j<DIMS; j++) words[w].v[j] *= words[w].idf;
    words[w].idf = 1;
  }
  for(int d=0; d<n_docs; d++) doc_vector(&docs[d], out + (size_t)d*DIMS);
  free(moved);
  return out;
}

/* ---- Into the file ------------------------------------------------------- */

static void check(vecdb *db, int rc){
  if( rc!=VECDB_OK && rc!=VECDB_DONE && rc!=VECDB_ROW ) die(vecdb_errmsg(db));
}

static void packages_store(vecdb *db, const float *v){
  vecdb_collection *c;
  vecdb_stmt *s;
  check(db, vecdb_create_collection(db, "packages",
    "name text primary key, v float[128] distance_metric=cosine, section text, "
    "kib integer, summary text"));
  check(db, vecdb_collection_open(db, "packages", &c));
  check(db, vecdb_prepare_insert(c, VECDB_OR_IGNORE, &s));
  for(int d=0; d<n_docs; d++){
    const struct doc *p = &docs[d];
    check(db, vecdb_bind_text(s, 0, p->name, (size_t)-1, VECDB_STATIC));
    check(db, vecdb_bind_vector(s, 1, VECDB_F32, v + (size_t)d*DIMS,
                                DIMS*sizeof *v, VECDB_STATIC));
    check(db, vecdb_bind_text(s, 2, p->section ? p->section : "", (size_t)-1,
                              VECDB_STATIC));
    check(db, vecdb_bind_int64(s, 3, p->kib));
    check(db, vecdb_bind_text(s, 4, p->summary, (size_t)-1, VECDB_STATIC));
    check(db, vecdb_step(s));
  }
  vecdb_finalize(s);
  vecdb_collection_close(c);
}

static void words_store(vecdb *db){
  vecdb_collection *c;
  vecdb_stmt *s;
  check(db, vecdb_create_collection(db, "words",
    "word text primary key, v float[128] distance_metric=cosine, uses integer"));
  check(db, vecdb_collection_open(db, "words", &c));
  check(db, vecdb_prepare_insert(c, 0, &s));
  for(int w=0; w<n_words; w++){
    if( words[w].df<2 ) continue;
    check(db, vecdb_bind_text(s, 0, words[w].z, (size_t)-1, VECDB_STATIC));
    check(db, vecdb_bind_vector(s, 1, VECDB_F32, words[w].v,
                                sizeof words[w].v, VECDB_STATIC));
    check(db, vecdb_bind_int64(s, 2, words[w].df));
    check(db, vecdb_step(s));
  }
  vecdb_finalize(s);
  vecdb_collection_close(c);
}

static void build(const char *path){
  vecdb *db = NULL;
  float *v;
  table = malloc(TABLE_SIZE*sizeof *table);
  if( table==NULL ) die("out of memory");
  memset(table, 0xff, TABLE_SIZE*sizeof *table);
  docs_read(stdin);
  if( n_docs==0 ) die("no package descriptions on standard input");
  v = embed_all();
  check(db, vecdb_open(path, VECDB_OPEN_READWRITE|VECDB_OPEN_CREATE, NULL, &db));
  check(db, vecdb_begin(db, VECDB_WRITE));
  packages_store(db, v);
  words_store(db);
  check(db, vecdb_commit(db));
  printf("%d packages, %d words, %d dimensions\n", n_docs, n_words, DIMS);
  vecdb_close(db);
  free(v);
}

/* The sum of the vectors of the words, found in the file by key. */
static void embed(const char *path, const char *text){
  vecdb *db = NULL;
  vecdb_collection *c;
  vecdb_stmt *s;
  float v[DIMS] = { 0 };
  char z[32], *json;
  int n_known = 0;
  check(db, vecdb_open(path, VECDB_OPEN_READONLY, NULL, &db));
  check(db, vecdb_collection_open(db, "words", &c));
  check(db, vecdb_prepare_get(c, &s));
  while( word_next(&text, z) ){
    const float *w;
    vecdb_reset(s);
    check(db, vecdb_bind_text(s, VECDB_KEY, z, (size_t)-1, VECDB_TRANSIENT));
    if( vecdb_step(s)!=VECDB_ROW ) continue;            /* not a known word */
    w = vecdb_column_vector(s, 1, NULL);
    for(int j=0; j<DIMS; j++) v[j] += w[j];
    n_known++;
  }
  if( n_known==0 ) die("none of these words occurs in two packages");
  check(db, vecdb_vector_print(VECDB_F32, DIMS, v, &json));
  puts(json);
  vecdb_free(json);
  vecdb_close(db);
}

int main(int argc, char **argv){
  if( argc==3 && !strcmp(argv[1], "build") ) build(argv[2]);
  else if( argc==4 && !strcmp(argv[1], "embed") ) embed(argv[2], argv[3]);
  else{
    puts("usage: packages build FILE.vdb < descriptions\n"
         "       packages embed FILE.vdb WORDS");
    return argc>1;
  }
  return 0;
}
