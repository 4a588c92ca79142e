/* passed.c -- the rows that pass a filter, kept for whoever asks next.
**
** A collection keeps up to PASSED_SETS sets, newest use first, of PASSED_BYTES
** in all; sets of other states of the data are dropped when one is looked for,
** as nobody will ask for those again. What is asked is compared byte by byte:
** the text of the filter, then type and bytes of each value.
**
** INVARIANTS
**   S1  version and n_undo name the data: committed versions are never used
**       twice, and undoing, after which a number is used again, changes n_undo.
**   S2  A set does not change once it was made.
*/
#include "util/common.h"
#include "store/passed.h"

#include "store/coll_int.h"

void vdb_passed_unref(struct passed *p){
  if( p==NULL || --p->n_ref>0 ) return;
  vdb_str_clear(&p->key);
  vdb_free(p->rows);
  vdb_free(p);
}

void vdb_passed_clear(struct coll *c){
  for(int i=0; i<PASSED_SETS; i++){
    vdb_passed_unref(c->passed[i]);
    c->passed[i] = NULL;
  }
}

bool vdb_passed_is_current(const struct passed *p, struct coll *c){
  return p->version==c->s.version && p->n_undo==c->st->n_undo;       /* S1 */
}

static void key_add_u64(struct vdb_str *key, uint64_t v){
  unsigned char b[8];
  put_u64(b, v);
  vdb_str_add(key, b, 8);
}

int vdb_passed_key(const char *filter, const struct vdb_value *param,
                   unsigned n_param, struct vdb_str *key){
  vdb_str_truncate(key, 0);
  vdb_str_add(key, filter, strlen(filter)+1);
  for(unsigned i=0; i<n_param; i++){
    const struct vdb_value *v = &param[i];
    uint64_t word = (uint64_t)v->i;
    bool has_bytes = v->type==VECDB_TEXT || v->type==VECDB_BLOB;
    if( v->type==VECDB_REAL ) memcpy(&word, &v->r, sizeof(word));
    key_add_u64(key, (uint64_t)(int64_t)v->type);
    key_add_u64(key, has_bytes ? (uint64_t)v->n : word);
    if( has_bytes ) vdb_str_add(key, v->p, v->n);
  }
  return vdb_str_rc(key);
}

int vdb_passed_make(struct coll *c, const struct coll_runs *r,
                    struct filter_run *filter, const struct keyset *keys,
                    struct passed **out){
  struct passed *p = vdb_calloc(1, sizeof(*p));
  int rc = VECDB_OK;

  *out = NULL;
  if( p==NULL ) return VECDB_NOMEM;
  p->n_ref = 1;
  p->version = c->s.version;
  p->n_undo = c->st->n_undo;
  p->n_slot = r->n_slot;
  TRY( vdb_search_rows(c, r, filter, keys, &p->rows, &p->n) );
  *out = p;
  p = NULL;
done:
  vdb_passed_unref(p);
  return rc;
}

/* Put p first, where entry i, which goes, was. */
static void entry_first(struct coll *c, int i, struct passed *p){
  memmove(&c->passed[1], &c->passed[0], (size_t)i*sizeof(c->passed[0]));
  c->passed[0] = p;
}

struct passed *vdb_passed_find(struct coll *c, const struct vdb_str *key){
  struct passed *found = NULL;
  int n = 0;

  for(int i=0; i<PASSED_SETS; i++){
    struct passed *p = c->passed[i];
    c->passed[i] = NULL;
    if( p==NULL ) continue;
    if( !vdb_passed_is_current(p, c) ) vdb_passed_unref(p);
    else c->passed[n++] = p;
  }
  for(int i=0; i<n && found==NULL; i++){
    struct passed *p = c->passed[i];
    if( p->key.n!=key->n || memcmp(p->key.z, key->z, key->n)!=0 ) continue;
    entry_first(c, i, p);
    p->n_ref++;
    found = p;
  }
  return found;
}

void vdb_passed_keep(struct coll *c, struct passed *p,
                     const struct vdb_str *key){
  uint64_t sz = p->n_slot/8;
  int n = 0;

  if( key->n>PASSED_KEY || sz>PASSED_BYTES ) return;
  vdb_str_add(&p->key, key->z, key->n);
  if( vdb_str_rc(&p->key)!=VECDB_OK ) return;    /* it serves its maker alone */
  while( n<PASSED_SETS-1 && c->passed[n]!=NULL
      && sz + c->passed[n]->n_slot/8<=PASSED_BYTES ){
    sz += c->passed[n++]->n_slot/8;
  }
  for(int i=n; i<PASSED_SETS; i++){
    vdb_passed_unref(c->passed[i]);
    c->passed[i] = NULL;
  }
  entry_first(c, n, p);
  p->n_ref++;
}
