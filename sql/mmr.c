/* mmr.c -- maximal marginal relevance: near to the query, far from each other.
**
** One after the other the candidate with the smallest
**
**     lambda * d(query, c)  -  (1 - lambda) * min over chosen s of d(c, s)
**
** is chosen, ties by the order in which they came. lambda 1 is the plain order,
** lambda 0 looks at diversity alone. Work: a distance for each choice and
** candidate.
*/
#include "sql/mmr.h"

static int pool_grow(struct mmr_pool *p){
  size_t n = p->n_max ? 2*p->n_max : 64;
  void *q = sqlite3_realloc64(p->items, n*sizeof(p->items[0]));
  if( q==NULL ) return SQLITE_NOMEM;
  p->items = q;
  q = sqlite3_realloc64(p->vectors, n*p->sz_vector);
  if( q==NULL ) return SQLITE_NOMEM;
  p->vectors = q;
  p->n_max = n;
  return SQLITE_OK;
}

struct mmr_item *vdb_mmr_add(struct mmr_pool *p, double distance,
                             const void *vector){
  struct mmr_item *item;
  if( p->n==p->n_max && pool_grow(p)!=SQLITE_OK ) return NULL;
  memcpy(p->vectors + p->n*p->sz_vector, vector, p->sz_vector);
  item = &p->items[p->n++];
  memset(item, 0, sizeof(*item));
  item->distance = distance;
  return item;
}

/* The smallest score of what is left. */
static size_t pool_best(const struct mmr_pool *p, double lambda){
  size_t i, best = p->n;
  double best_score = 0;

  for(i=0; i<p->n; i++){
    double score = lambda*p->items[i].distance;
    if( p->items[i].is_chosen ) continue;
    if( p->n_chosen>0 ) score -= (1 - lambda)*p->items[i].nearest;
    if( best==p->n || score<best_score ){
      best = i;
      best_score = score;
    }
  }
  return best;
}

struct mmr_item *vdb_mmr_choose(struct mmr_pool *p, double lambda){
  size_t i, best = pool_best(p, lambda);

  p->items[best].is_chosen = 1;
  for(i=0; i<p->n; i++){
    double d = 0;
    if( p->items[i].is_chosen ) continue;
    vecdb_distance(p->metric, p->element, p->n_dim,
                   p->vectors + best*p->sz_vector, p->vectors + i*p->sz_vector,
                   &d);
    if( d!=d ) d = 1;                  /* the cosine of a zero vector */
    if( p->n_chosen==0 || d<p->items[i].nearest ) p->items[i].nearest = d;
  }
  p->n_chosen++;
  return &p->items[best];
}

void vdb_mmr_clear(struct mmr_pool *p){
  size_t i;
  for(i=0; i<p->n; i++) sqlite3_free(p->items[i].text);
  sqlite3_free(p->items);
  sqlite3_free(p->vectors);
  memset(p, 0, sizeof(*p));
}
