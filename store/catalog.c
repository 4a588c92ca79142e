/* catalog.c -- names of collections: create, open, rename, drop, list.
**
** The catalog is a B+tree, name in lower case -> CATREC (format.def), whose
** root is a word of the root page (0: no collection was ever made). Another
** word, the schema cookie, changes with every change of the catalog; open
** handles look themselves up again when it differs, by name and, after a
** rename, by id. Ids are never used twice.
*/
#include "util/common.h"
#include "store/coll_int.h"

struct catalog_entry {
  uint64_t id;
  page_no  page;
  struct vdb_str name, text;
};
#define CATALOG_ENTRY_INIT { 0, 0, VDB_STR_INIT, VDB_STR_INIT }

static void entry_clear(struct catalog_entry *e){
  vdb_str_clear(&e->name);
  vdb_str_clear(&e->text);
}

/* Key of a name: its bytes, ASCII letters in lower case. */
static int name_key(struct store *st, const char *name, unsigned char *key,
                    size_t *n){
  *n = strlen(name);
  if( *n==0 ){
    return vdb_error(st->err, VECDB_MISUSE, "a collection needs a name");
  }
  if( *n>STORE_NAME_MAX ){
    return vdb_error(st->err, VECDB_TOOBIG,
        "the name of a collection has %zu bytes, at most %d are allowed", *n,
        STORE_NAME_MAX);
  }
  for(size_t i=0; i<*n; i++){
    char c = name[i];
    key[i] = (unsigned char)(c>='A' && c<='Z' ? c-'A'+'a' : c);
  }
  return VECDB_OK;
}

static int catalog_root(struct store *st, page_no *root){
  uint64_t v = 0;
  int rc = vdb_root_get(st->p, ROOT_CATALOG, &v);

  *root = (page_no)v;
  if( rc==VECDB_OK && v!=*root ){
    rc = VDB_CORRUPT(st->err, "root of the catalog is page %llu",
                     (unsigned long long)v);
  }
  return rc;
}

static int entry_decode(struct store *st, const unsigned char *p, size_t n,
                        struct catalog_entry *e){
  size_t n_name;

  vdb_str_truncate(&e->name, 0);
  vdb_str_truncate(&e->text, 0);
  if( n<CATREC_SIZE || get_u16(p+CATREC_VERSION)!=1 ){
    return VDB_CORRUPT(st->err, "an entry of the catalog is malformed");
  }
  n_name = get_u16(p+CATREC_SZNAME);
  if( n_name==0 || n_name>STORE_NAME_MAX || n_name>=n-CATREC_SIZE ||
      n-CATREC_SIZE-n_name>SCHEMA_TEXT_MAX ||
      memchr(p+CATREC_SIZE, 0, n-CATREC_SIZE)!=NULL ){
    return VDB_CORRUPT(st->err, "an entry of the catalog is malformed");
  }
  e->id = get_u64(p+CATREC_ID);
  e->page = get_u32(p+CATREC_PAGE);
  vdb_str_add(&e->name, p+CATREC_SIZE, n_name);
  vdb_str_add(&e->text, p+CATREC_SIZE+n_name, n-CATREC_SIZE-n_name);
  if( vdb_str_rc(&e->name)!=VECDB_OK ) return VECDB_NOMEM;
  return vdb_str_rc(&e->text);
}

static int entry_find(struct store *st, const char *name,
                     struct catalog_entry *e){
  unsigned char key[STORE_NAME_MAX];
  struct vdb_str val = VDB_STR_INIT;
  page_no root;
  size_t n;
  int rc;

  TRY( name_key(st, name, key, &n) );
  TRY( catalog_root(st, &root) );
  if( root==0 ) TRY( VECDB_NOTFOUND );
  TRY( vdb_btree_get(st->p, root, key, n, &val) );
  TRY( entry_decode(st, (const unsigned char*)val.z, val.n, e) );
done:
  vdb_str_clear(&val);
  return rc;
}

static int entry_put(struct store *st, const struct catalog_entry *e,
                     enum btree_put_mode mode){
  unsigned char key[STORE_NAME_MAX], rec[CATREC_SIZE];
  struct vdb_str val = VDB_STR_INIT;
  page_no root;
  size_t n;
  int rc;

  TRY( name_key(st, e->name.z, key, &n) );
  TRY( catalog_root(st, &root) );
  memset(rec, 0, sizeof(rec));
  put_u16(rec+CATREC_VERSION, 1);
  put_u16(rec+CATREC_SZNAME, (uint16_t)e->name.n);
  put_u32(rec+CATREC_PAGE, e->page);
  put_u64(rec+CATREC_ID, e->id);
  vdb_str_add(&val, rec, sizeof(rec));
  vdb_str_add(&val, e->name.z, e->name.n);
  vdb_str_add(&val, e->text.z, e->text.n);
  TRY( vdb_str_rc(&val) );
  if( root==0 ){
    TRY( vdb_btree_create(st->p, &root) );
    TRY( vdb_root_set(st->p, ROOT_CATALOG, root) );
  }
  TRY( vdb_btree_put(st->p, root, key, n, val.z, val.n, mode) );
done:
  vdb_str_clear(&val);
  return rc;
}

static int entry_delete(struct store *st, const char *name){
  unsigned char key[STORE_NAME_MAX];
  page_no root;
  size_t n;
  int rc;

  TRY( name_key(st, name, key, &n) );
  TRY( catalog_root(st, &root) );
  TRY( vdb_btree_delete(st->p, root, key, n) );
done:
  return rc;
}

int vdb_catalog_touch(struct store *st){
  uint64_t cookie = 0;
  int rc;

  TRY( vdb_root_get(st->p, ROOT_SCHEMA_COOKIE, &cookie) );
  TRY( vdb_root_set(st->p, ROOT_SCHEMA_COOKIE, cookie+1) );
  vdb_pager_touch(st->p);
done:
  return rc;
}

int vdb_catalog_missing(struct store *st, const char *name){
  return vdb_error(st->err, VECDB_NOTFOUND, "there is no collection \"%s\"",
                   name);
}

/* ---- Walking the catalog ------------------------------------------------- */

/* Read the entry under the cursor. */
static int entry_at(struct store *st, struct btree_cursor *k,
                    struct catalog_entry *e){
  const unsigned char *val;
  size_t n;
  int rc;

  TRY( vdb_btree_value(k, &val, &n) );
  TRY( entry_decode(st, val, n, e) );
done:
  return rc;
}

int vdb_catalog_each(struct store *st, vdb_catalog_fn fn, void *arg){
  struct catalog_entry e = CATALOG_ENTRY_INIT;
  struct btree_cursor *k = NULL;
  page_no root;
  bool at_end;
  int rc;

  TRY( catalog_root(st, &root) );
  if( root==0 ) goto done;
  TRY( vdb_btree_cursor_open(st->p, root, &k) );
  for(rc=vdb_btree_first(k, &at_end); rc==VECDB_OK && !at_end;
      rc=vdb_btree_next(k, &at_end)){
    TRY( entry_at(st, k, &e) );
    TRY( fn(arg, e.id, e.page, e.name.z, e.text.n ? e.text.z : "") );
  }
done:
  vdb_btree_cursor_close(k);
  entry_clear(&e);
  return rc;
}

struct list_arg { vdb_list_fn fn; void *arg; };

static int list_one(void *arg, uint64_t id, page_no page, const char *name,
                    const char *text){
  struct list_arg *a = arg;

  VDB_UNUSED(id);
  VDB_UNUSED(page);
  return a->fn(a->arg, name, text);
}

int vdb_store_list(struct store *st, vdb_list_fn fn, void *arg){
  struct list_arg a = { fn, arg };
  return vdb_catalog_each(st, list_one, &a);
}

struct locate_arg { uint64_t id; struct catalog_entry *e; };
#define LOCATE_FOUND (-1)

static int locate_one(void *arg, uint64_t id, page_no page, const char *name,
                      const char *text){
  struct locate_arg *a = arg;

  if( id!=a->id ) return VECDB_OK;
  a->e->id = id;
  a->e->page = page;
  vdb_str_truncate(&a->e->name, 0);
  vdb_str_truncate(&a->e->text, 0);
  vdb_str_addz(&a->e->name, name);
  vdb_str_addz(&a->e->text, text);
  if( vdb_str_rc(&a->e->name)!=VECDB_OK ) return VECDB_NOMEM;
  if( vdb_str_rc(&a->e->text)!=VECDB_OK ) return VECDB_NOMEM;
  return LOCATE_FOUND;
}

/* c's entry: by its name, else by its id. */
static int entry_locate(struct coll *c, struct catalog_entry *e){
  struct locate_arg a = { c->id, e };
  int rc = entry_find(c->st, c->name, e);

  if( rc==VECDB_OK && e->id==c->id ) return VECDB_OK;
  if( rc!=VECDB_OK && rc!=VECDB_NOTFOUND ) return rc;
  rc = vdb_catalog_each(c->st, locate_one, &a);
  if( rc==LOCATE_FOUND ) return VECDB_OK;
  return rc==VECDB_OK ? vdb_catalog_missing(c->st, c->name) : rc;
}

int vdb_catalog_locate(struct coll *c, page_no *page, struct vdb_str *name,
                       struct vdb_str *text){
  struct catalog_entry e = CATALOG_ENTRY_INIT;
  int rc = entry_locate(c, &e);

  if( rc==VECDB_OK ){
    *page = e.page;
    *name = e.name;                            /* the caller's now */
    *text = e.text;
  }else{
    entry_clear(&e);
  }
  return rc;
}

int vdb_catalog_set(struct coll *c, page_no page, const char *text){
  struct catalog_entry e = CATALOG_ENTRY_INIT;
  int rc;

  TRY( entry_locate(c, &e) );
  if( page!=0 ) e.page = page;
  if( text!=NULL ){
    vdb_str_truncate(&e.text, 0);
    vdb_str_addz(&e.text, text);
    TRY( vdb_str_rc(&e.text) );
  }
  TRY( entry_put(c->st, &e, BTREE_REPLACE) );
  TRY( vdb_catalog_touch(c->st) );
done:
  entry_clear(&e);
  return rc;
}

/* ---- Create, drop, rename ------------------------------------------------ */

static int next_id(struct store *st, uint64_t *id){
  int rc;

  TRY( vdb_root_get(st->p, ROOT_NEXT_COLLECTION, id) );
  ++*id;
  TRY( vdb_root_set(st->p, ROOT_NEXT_COLLECTION, *id) );
  if( st->new_id==0 ) st->new_id = *id;
done:
  return rc;
}

static int check_schema_name(struct store *st, const struct schema *s,
                             const char *name){
  int i = vdb_schema_find(s, name);

  if( i<0 ) return VECDB_OK;
  return vdb_error(st->err, VECDB_SYNTAX,
      "column \"%s\": the name is the collection's own; choose another",
      s->col[i].name);
}

int vdb_catalog_create(struct store *st, const char *name, const char *text,
                       const uint64_t *id){
  struct catalog_entry e = CATALOG_ENTRY_INIT;
  struct schema *schema = NULL;
  char *canonical = NULL;
  int rc;

  rc = entry_find(st, name, &e);
  if( rc==VECDB_OK ){
    TRY( vdb_error(st->err, VECDB_EXISTS,
                   "there already is a collection \"%s\"", e.name.z) );
  }
  if( rc!=VECDB_NOTFOUND ) goto done;
  TRY( vdb_schema_parse(text, st->err, &schema) );
  TRY( check_schema_name(st, schema, name) );
  TRY( vdb_schema_print(schema, true, &canonical) );
  vdb_pager_touch(st->p);
  if( id!=NULL ) e.id = *id;
  else TRY( next_id(st, &e.id) );
  TRY( vdb_coll_page_create(st, e.id, schema, &e.page) );
  vdb_str_addz(&e.name, name);
  vdb_str_addz(&e.text, canonical);
  TRY( vdb_str_rc(&e.name) );
  TRY( vdb_str_rc(&e.text) );
  TRY( entry_put(st, &e, BTREE_INSERT) );
  TRY( vdb_catalog_touch(st) );
done:
  entry_clear(&e);
  vdb_schema_destroy(schema);
  vdb_free(canonical);
  return rc;
}

int vdb_store_create(struct store *st, const char *name, const char *schema){
  return vdb_catalog_create(st, name, schema, NULL);
}

int vdb_store_drop(struct store *st, const char *name){
  struct coll *c = NULL;
  int rc;

  TRY( vdb_store_coll_open(st, name, &c) );
  vdb_pager_touch(st->p);
  vdb_hold_end_all(st);                        /* extents go away */
  vdb_handle_dirty(c);                         /* caches end with an undo */
  TRY( vdb_coll_page_destroy(c) );
  TRY( entry_delete(st, name) );
  TRY( vdb_catalog_touch(st) );
  vdb_coll_drop_caches(c);
done:
  vdb_store_coll_close(c);
  return rc;
}

int vdb_store_rename(struct store *st, const char *from, const char *to){
  struct catalog_entry e = CATALOG_ENTRY_INIT, other = CATALOG_ENTRY_INIT;
  struct schema *schema = NULL;
  int rc;

  rc = entry_find(st, from, &e);
  if( rc==VECDB_NOTFOUND ) rc = vdb_catalog_missing(st, from);
  if( rc!=VECDB_OK ) goto done;
  rc = entry_find(st, to, &other);
  if( rc==VECDB_OK && other.id!=e.id ){        /* letter case may change */
    TRY( vdb_error(st->err, VECDB_EXISTS,
                   "there already is a collection \"%s\"", other.name.z) );
  }
  if( rc!=VECDB_OK && rc!=VECDB_NOTFOUND ) goto done;
  TRY( vdb_schema_parse(e.text.z, st->err, &schema) );
  TRY( check_schema_name(st, schema, to) );
  vdb_pager_touch(st->p);
  TRY( entry_delete(st, from) );
  vdb_str_truncate(&e.name, 0);
  vdb_str_addz(&e.name, to);
  TRY( vdb_str_rc(&e.name) );
  TRY( entry_put(st, &e, BTREE_INSERT) );
  TRY( vdb_catalog_touch(st) );
done:
  entry_clear(&e);
  entry_clear(&other);
  vdb_schema_destroy(schema);
  return rc;
}

/* ---- Handles ------------------------------------------------------------- */

int vdb_store_coll_open(struct store *st, const char *name,
                        struct coll **out){
  struct catalog_entry e = CATALOG_ENTRY_INIT;
  struct coll *c;
  int rc;

  *out = NULL;
  rc = entry_find(st, name, &e);
  if( rc==VECDB_NOTFOUND ) rc = vdb_catalog_missing(st, name);
  if( rc!=VECDB_OK ) goto done;
  c = vdb_handle_find(st, e.id);
  if( c!=NULL ){
    bool is_gone;
    c->n_ref++;
    rc = vdb_coll_refresh(c);
    is_gone = c->is_gone;                /* it was another's handle */
    if( rc==VECDB_OK ) *out = c;
    else vdb_store_coll_close(c);
    if( !is_gone ) goto done;
    vdb_error_clear(st->err);
  }
  c = vdb_calloc(1, sizeof(*c));
  if( c==NULL ) TRY( VECDB_NOMEM );
  c->st = st;
  c->p = st->p;
  c->n_ref = 1;
  c->id = e.id;
  c->name = vdb_str_take(&e.name);
  rc = c->name==NULL ? VECDB_NOMEM : vdb_handle_enter(st, c);
  if( rc==VECDB_OK ) rc = vdb_coll_refresh(c);
  if( rc==VECDB_OK ) *out = c;
  else vdb_store_coll_close(c);
done:
  entry_clear(&e);
  return rc;
}
