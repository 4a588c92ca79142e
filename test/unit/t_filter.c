/* t_filter.c -- the filter language: grammar, messages, three-valued logic.
**
** The table `oracle` was made with SQLite 3.40.1 over the rows below: for
** each row 1 (true), 0 (false) or . (NULL).
*/
#include "vt.h"

#include <math.h>

#include "store/filter.h"
#include "util/bitset.h"
#include "util/bytes.h"
#include "util/mem.h"
#include "util/rng.h"

/* ---- Rows without a store ----------------------------------------------- */

enum { N_COL = 9 };                  /* id i b f s x y z v */
struct world {
  struct schema *schema;
  struct vdb_value (*row)[N_COL];
  uint64_t n_slot;
  int n_value, n_scan;               /* calls */
};

static const char schema_text[] =
  "id integer primary key, i int, b boolean, f float, s text, +x int, "
  "+y text, +z blob, v float[2]";

#define NUL      { VECDB_NULL, 0, 0, NULL, 0 }
#define INT(n)   { VECDB_INTEGER, n, 0, NULL, 0 }
#define BOOL(n)  { VECDB_BOOLEAN, n, 0, NULL, 0 }
#define REAL(x)  { VECDB_REAL, 0, x, NULL, 0 }
#define TXT(z)   { VECDB_TEXT, 0, 0, z, sizeof(z)-1 }
#define BLB(z)   { VECDB_BLOB, 0, 0, z, sizeof(z)-1 }

static struct vdb_value rows12[12][N_COL] = {
  { INT(1), INT(3), BOOL(1), REAL(1.5), TXT("a"), INT(3), TXT("abc"),
    BLB("\x01\x02"), NUL },
  { INT(2), NUL, NUL, NUL, NUL, NUL, NUL, NUL, NUL },
  { INT(3), INT(0), BOOL(0), REAL(0.0), TXT(""), INT(0), TXT(""), BLB(""),
    NUL },
  { INT(4), INT(-7), BOOL(1), REAL(-2.25), TXT("Abc"), INT(10), TXT("ABC"),
    BLB("a"), NUL },
  { INT(5), INT(10), BOOL(0), REAL(10.0), TXT("10"), INT(10), TXT("10"),
    BLB("10"), NUL },
  { INT(6), INT(9007199254740993), BOOL(1), REAL(9007199254740992.0),
    TXT("3"), INT(3), TXT("3.0"), NUL, NUL },
  { INT(7), INT(INT64_MAX), BOOL(0), REAL(9.3e18),
    TXT("a longer text than twelve"), NUL, TXT("x"), BLB("xyz"), NUL },
  { INT(8), INT(INT64_MIN), NUL, REAL(-1e300),
    TXT("a longer text than twelvf"), INT(-1), TXT("a_c"), BLB("\0"), NUL },
  { INT(9), INT(4), BOOL(1), REAL(0.1), TXT("de"), INT(4), TXT("zz  "),
    BLB("zz"), NUL },
  { INT(10), INT(5), BOOL(0), REAL(1e20), TXT("DE "), INT(5), TXT("zz"),
    BLB("5"), NUL },
  { INT(11), INT(2024), BOOL(1), REAL(3.0), TXT("\xc3\xa9t\xc3\xa9"), INT(7),
    TXT("%"), NUL, NUL },
  { INT(12), INT(3), NUL, REAL(3.5), TXT("3.5"), INT(12), TXT(" 12 "),
    BLB("12"), NUL },
};

static int world_value(void *arg, int column, slot_no slot,
                       struct vdb_str *buf, struct vdb_value *out){
  struct world *w = arg;
  *out = w->row[slot][column];
  w->n_value++;
  if( out->type==VECDB_TEXT || out->type==VECDB_BLOB ){
    vdb_str_truncate(buf, 0);
    vdb_str_add(buf, out->p, out->n);
    vdb_str_addc(buf, 0);
    out->p = buf->z;
  }
  return VECDB_OK;
}

static int world_text(void *arg, int column, slot_no slot,
                      const unsigned char *cell, struct vdb_str *buf,
                      const char **p, size_t *n){
  struct world *w = arg;
  (void)cell; (void)buf;
  *p = w->row[slot][column].p;
  *n = w->row[slot][column].n;
  return VECDB_OK;
}

static void cell_make(const struct vdb_value *v, unsigned char *cell){
  memset(cell, 0xee, 16);
  switch( v->type ){
    case VECDB_INTEGER: put_u64(cell, (uint64_t)v->i); break;
    case VECDB_REAL:    put_f64(cell, v->r); break;
    case VECDB_BOOLEAN: cell[0] = (unsigned char)v->i; break;
    case VECDB_TEXT:
      memset(cell, 0, 16);
      put_u32(cell, (uint32_t)v->n);
      memcpy(cell+4, v->p, v->n<12 ? v->n : 12);
      break;
    default: break;
  }
}

static int world_cells(void *arg, int column, slot_no lo, slot_no hi,
                       vdb_cells_fn fn, void *fn_arg){
  static unsigned char cell[COLL_CHUNK*16];
  struct world *w = arg;
  int type = w->schema->col[column].type, rc = VECDB_OK;
  size_t width = type==VECDB_TEXT ? 16 : type==VECDB_BOOLEAN ? 1 : 8;
  w->n_scan++;
  if( hi>w->n_slot ) hi = (slot_no)w->n_slot;
  for(size_t n, step=1; lo<hi && rc==VECDB_OK; lo+=(slot_no)n){
    step = step*7%1021;              /* runs begin and end anywhere */
    n = hi-lo<step ? hi-lo : step;
    for(size_t j=0; j<n; j++){
      unsigned char one[16];
      cell_make(&w->row[lo+j][column], one);
      memcpy(cell + j*width, one, width);
    }
    rc = fn(fn_arg, lo, n, cell);
  }
  return rc;
}

static int world_nulls(void *arg, int column, slot_no lo, size_t n_word,
                       uint64_t *out){
  struct world *w = arg;
  memset(out, 0, n_word*8);
  for(size_t j=0; j<64*n_word && lo+j<w->n_slot; j++){
    if( w->row[lo+j][column].type==VECDB_NULL ) vdb_bit_set(out, j);
  }
  return VECDB_OK;
}

static struct world world;
static struct filter_source world_source = { &world, world_cells, world_nulls,
                                             world_value, world_text, NULL };
static struct vdb_err err;

static void world_open(void){
  REQUIRE_RC(VECDB_OK, vdb_schema_parse(schema_text, &err, &world.schema));
  world.row = rows12;
  world.n_slot = 12;
}

static struct filter *parse_ok(const char *z){
  struct filter *f = NULL;
  if( !CHECK_RC(VECDB_OK, vdb_filter_parse(world.schema, z, &err, &f)) ){
    FAIL("%s: %s", z, err.msg);
  }
  return f;
}

/* One character per row, as in the oracle: the filter, then its negation. */
static void answer(const char *z, char *out){
  char not[4096];
  uint64_t t = 0xfff, n = 0xfff;
  snprintf(not, sizeof(not), "NOT (%s)", z);
  for(int i=0; i<2; i++){
    struct filter *f = parse_ok(i ? not : z);
    struct filter_run *r = NULL;
    if( f==NULL ) return;
    REQUIRE_RC(VECDB_OK, vdb_filter_begin(f, NULL, 0, &world_source, &r));
    CHECK_RC(VECDB_OK, vdb_filter_rows(r, i ? &n : &t, 12));
    for(slot_no s=0; s<12; s++){
      bool pass = false;
      CHECK_RC(VECDB_OK, vdb_filter_row(r, s, &pass));
      if( pass!=vdb_bit_get(i ? &n : &t, s) ) FAIL("row %u of %s", s, z);
    }
    vdb_filter_end(r);
    vdb_filter_destroy(f);
  }
  for(int s=0; s<12; s++) out[s] = (t>>s)&1 ? '1' : (n>>s)&1 ? '0' : '.';
  out[12] = 0;
}

static const struct { const char *text, *want; } oracle[] = {
  { "i = 3", "1.0000000001" },
  { "i <> 3", "0.1111111110" },
  { "i = 3.5", "0.0000000000" },
  { "i < 3.5", "1.1100010001" },
  { "i >= 3.5", "0.0011101110" },
  { "i > -7.5", "1.1111101111" },
  { "i = '3'", "1.0000000001" },
  { "i = ' 3.0 '", "1.0000000001" },
  { "i < 'abc'", "1.1111111111" },
  { "i > 'abc'", "0.0000000000" },
  { "i = 'abc'", "0.0000000000" },
  { "i <> 'abc'", "1.1111111111" },
  { "i < x'00'", "1.1111111111" },
  { "i = NULL", "............" },
  { "i <> NULL", "............" },
  { "i IS NULL", "010000000000" },
  { "i IS NOT NULL", "101111111111" },
  { "i ISNULL", "010000000000" },
  { "i NOTNULL", "101111111111" },
  { "i NOT NULL", "101111111111" },
  { "i IS 3", "100000000001" },
  { "i IS NOT 3", "011111111110" },
  { "i = 9007199254740993", "0.0001000000" },
  { "i = 9007199254740992", "0.0000000000" },
  { "i = 9007199254740992.0", "0.0000000000" },
  { "i > 9223372036854775806", "0.0000100000" },
  { "i <= 9223372036854775807", "1.1111111111" },
  { "i < 9223372036854775808", "1.1111111111" },
  { "i > 9223372036854775808", "0.0000000000" },
  { "i = 9223372036854775808", "0.0000000000" },
  { "i >= -9223372036854775808", "1.1111111111" },
  { "i > -9223372036854775809", "1.1111101111" },
  { "i < -9223372036854775808", "0.0000000000" },
  { "i < 1e300", "1.1111111111" },
  { "i > -1e300", "1.1111111111" },
  { "i BETWEEN 0 AND 5", "1.1000001101" },
  { "i NOT BETWEEN 0 AND 5", "0.0111110010" },
  { "i BETWEEN NULL AND 5", "....000...0." },
  { "i BETWEEN 3 AND NULL", "..00...0...." },
  { "i BETWEEN '3' AND 4.5", "1.0000001001" },
  { "i IN (3, 4, 5)", "1.0000001101" },
  { "i NOT IN (3, 4)", "0.1111110110" },
  { "i IN (3, NULL)", "1..........1" },
  { "i NOT IN (3, NULL)", "0..........0" },
  { "i IN ()", "000000000000" },
  { "i NOT IN ()", "111111111111" },
  { "i IN ('3', 4.0, 5.5)", "1.0000001001" },
  { "3 = i", "1.0000000001" },
  { "4 < i", "0.0011100110" },
  { "5 >= i", "1.1100011101" },
  { "b", "1.01010.101." },
  { "NOT b", "0.10101.010." },
  { "b = 1", "1.01010.101." },
  { "b > 0", "1.01010.101." },
  { "b IN (0,1)", "1.11111.111." },
  { "b IS TRUE", "100101001010" },
  { "b IS NOT TRUE", "011010110101" },
  { "b IS FALSE", "001010100100" },
  { "b IS NOT FALSE", "110101011011" },
  { "b = TRUE", "1.01010.101." },
  { "b AND i > 3", "0.0001001010" },
  { "b OR i > 3", "1.01111.111." },
  { "NOT (b AND i > 3)", "1.1110110101" },
  { "NOT (b OR i > 3)", "0.10000.000." },
  { "f = 1.5", "1.0000000000" },
  { "f > 0", "1.0011101111" },
  { "f >= 3", "0.0011100111" },
  { "f < 3", "1.1100011000" },
  { "f <> 10", "1.1101111111" },
  { "f = 10", "0.0010000000" },
  { "f = '10'", "0.0010000000" },
  { "f IN (1.0, 2.0, 3.5)", "0.0000000001" },
  { "f IN (10, 3)", "0.0010000010" },
  { "f = 9007199254740993", "0.0000000000" },
  { "f > 9007199254740993", "0.0000100100" },
  { "f < 9007199254740993", "1.1111011011" },
  { "f >= 9007199254740992", "0.0001100100" },
  { "f < 'x'", "1.1111111111" },
  { "f IS NULL", "010000000000" },
  { "f = 0.1", "0.0000001000" },
  { "f = -0.0", "0.1000000000" },
  { "f BETWEEN 1 AND 3.5", "1.0000000011" },
  { "s = 'a'", "1.0000000000" },
  { "s <> 'a'", "0.1111111111" },
  { "s = 10", "0.0010000000" },
  { "s = 3.5", "0.0000000001" },
  { "s = 3", "0.0001000000" },
  { "s < 'b'", "1.1111110101" },
  { "s > 'a'", "0.0000111010" },
  { "s >= 'a longer text than twelve'", "0.0000111010" },
  { "s = 'a longer text than twelve'", "0.0000100000" },
  { "s <> 'a longer text than twelve'", "1.1111011111" },
  { "s IN ('a', 'de', '')", "1.1000001000" },
  { "s NOT IN ('a', 'de', '')", "0.0111110111" },
  { "s IN (10, 3.5)", "0.0010000001" },
  { "s LIKE 'a%'", "1.0100110000" },
  { "s LIKE 'A%C'", "0.0100000000" },
  { "s NOT LIKE 'a%'", "0.1011001111" },
  { "s LIKE '_t_'", "0.0000000010" },
  { "s LIKE '%'", "1.1111111111" },
  { "s LIKE '%e'", "0.0000101000" },
  { "s LIKE '%longer%tw%e'", "0.0000100000" },
  { "s LIKE ''", "0.1000000000" },
  { "s GLOB 'a*'", "1.0000110000" },
  { "s GLOB 'A?c'", "0.0100000000" },
  { "s GLOB '[a-c]*'", "1.0000110000" },
  { "s GLOB '[^a-c]*'", "0.0111001111" },
  { "s GLOB '*[e]'", "0.0000101000" },
  { "s GLOB '?t?'", "0.0000000010" },
  { "s NOT GLOB 'a*'", "0.1111001111" },
  { "s LIKE NULL", "............" },
  { "s = 'A' COLLATE NOCASE", "1.0000000000" },
  { "s COLLATE NOCASE = 'ABC'", "0.0100000000" },
  { "s COLLATE NOCASE IN ('A', 'DE')", "1.0000001000" },
  { "s = 'DE' COLLATE RTRIM", "0.0000000100" },
  { "s > 'B' COLLATE NOCASE", "0.0000001110" },
  { "s < x'00'", "1.1111111111" },
  { "s IS NULL OR s = 'a'", "110000000000" },
  { "s BETWEEN 'a' AND 'b'", "1.0000110000" },
  { "i LIKE '3%'", "1.0000000001" },
  { "i LIKE '%0%'", "0.1011110010" },
  { "f LIKE '%.5'", "1.0000000001" },
  { "x = 3", "1.0001.00000" },
  { "x = '3'", "1.0001.00000" },
  { "x IN (3, 10)", "1.0111.00000" },
  { "x > 3.5", "0.0110.01111" },
  { "x IS NULL", "010000100000" },
  { "y = 'abc'", "1.0000000000" },
  { "y = 10", "0.0010000000" },
  { "y = 'zz' COLLATE RTRIM", "0.0000001100" },
  { "y LIKE 'a\\_c' ESCAPE '\\'", "0.0000010000" },
  { "y LIKE 'a_c'", "1.0100010000" },
  { "y LIKE '%' AND y <> '%'", "1.1111111101" },
  { "z = x'0102'", "1.000.0000.0" },
  { "z = 'a'", "0.000.0000.0" },
  { "z > 'zzzz'", "1.111.1111.1" },
  { "z < x'61'", "1.101.0101.1" },
  { "z = x''", "0.100.0000.0" },
  { "z IS NULL", "010001000010" },
  { "i = x", "1.1010.01100" },
  { "i < x", "0.0100.10001" },
  { "i = s", "0.0010000000" },
  { "s = i", "0.0010000000" },
  { "s = y", "0.1010000000" },
  { "s = x", "0.0011.00000" },
  { "f = i", "0.1010000000" },
  { "f < i", "1.0001011010" },
  { "y = x", "0.0011.00001" },
  { "x = y", "0.0011.00001" },
  { "y < s", "0.0100000011" },
  { "z = y", "0.000.0000.0" },
  { "s = z", "0.000.0000.0" },
  { "b = i", "0.10000.000." },
  { "i IN (x, 5)", "1.1010.01100" },
  { "x IN (s)", "0.0011.00000" },
  { "s IN (x)", "0.0011.00000" },
  { "'3' IN (x)", "0.0000.00000" },
  { "3 IN (y)", "0.0000000000" },
  { "(i = 3) = (x = 3)", "1.1110.11110" },
  { "(i > 3) > (x > 3)", "0.0001.00000" },
  { "(i = 3) IS NULL", "010000000000" },
  { "(i = 3) IN (0)", "0.1111111110" },
  { "i = 3 = 1", "1.0000000001" },
  { "i < 4 < 1", "0.0011101110" },
  { "1 < 2", "111111111111" },
  { "1 = '1'", "000000000000" },
  { "'1' = '1'", "111111111111" },
  { "NULL", "............" },
  { "NOT NULL", "............" },
  { "1", "111111111111" },
  { "0", "000000000000" },
  { "'abc'", "000000000000" },
  { "'1x'", "111111111111" },
  { "x'31'", "111111111111" },
  { "1 AND NULL", "............" },
  { "0 AND NULL", "000000000000" },
  { "1 OR NULL", "111111111111" },
  { "i = 3 OR s = 'de' AND b", "1.0000001001" },
  { "(i = 3 OR s = 'de') AND b", "1.000000100." },
  { "NOT i = 3 AND b", "0.01010.1010" },
  { "NOT NOT i = 3", "1.0000000001" },
  { "NOT (i = 3 OR s IS NULL)", "001111111110" },
  { "i = 3 AND s = 'a' AND f = 1.5 AND x = 3 AND y = 'abc'",
    "1.0000000000" },
  { "i > 1000000 OR f < 0 OR s LIKE 'd%' OR x = 10 OR z = 'a'",
    "0.01111111.0" },
  { "i IS x", "111010001100" },
  { "i IS NOT x", "000101110011" },
  { "s IS y", "011010000000" },
  { "NULL IS NULL", "111111111111" },
  { "i IS NOT NULL AND x IS NOT NULL AND i > x",
    "000001000010" },
  { "rowid = 3", "001000000000" },
  { "id = 3", "001000000000" },
  { "id <> 3", "110111111111" },
  { "id > 3 AND id <= 6", "000111000000" },
  { "id IN (1, 3, 99)", "101000000000" },
  { "_rowid_ < 3", "110000000000" },
  { "\"i\" = 3", "1.0000000001" },
  { "[i] = 3", "1.0000000001" },
  { "`i` = 3", "1.0000000001" },
  { "I = 3", "1.0000000001" },
  { "s = 'it''s'", "0.0000000000" },
  { "y = 12", "0.0000000000" },
  { "y = ' 12 '", "0.0000000001" },
  { "x = ' 12 '", "0.0000.00001" },
  { "x = y AND i = 3", "0.0000000001" },
  { "f = 1e20", "0.0000000100" },
  { "s = '1.0e+20'", "0.0000000000" },
  { "f LIKE '1.0e+20'", "0.0000000100" },
  { "f GLOB '*0'", "0.1010010110" },
  { "i == 3", "1.0000000001" },
  { "i != 3", "0.1111111110" },
};

TEST(filter__means_what_sqlite_means){
  char got[16] = "";
  world_open();
  for(size_t i=0; i<sizeof(oracle)/sizeof(oracle[0]); i++){
    answer(oracle[i].text, got);
    if( !CHECK_STR(oracle[i].want, got) ) FAIL("in %s", oracle[i].text);
  }
}

/* ---- Grammar ------------------------------------------------------------ */

static const struct { const char *text, *want; } printed[] = {
  { "i=1 or i=2 and b", "((\"i\" = 1) OR ((\"i\" = 2) AND \"b\"))" },
  { "not i=1 and b", "((NOT (\"i\" = 1)) AND \"b\")" },
  { "i=1 AND s='q' AND x=2",
    "((\"i\" = 1) AND (\"s\" = 'q') AND (\"x\" = 2))" },
  { "x=2 AND s='q' AND i=1",
    "((\"i\" = 1) AND (\"s\" = 'q') AND (\"x\" = 2))" },
  { "i between 1 and 2 and b",
    "(\"b\" AND ((\"i\" >= 1) AND (\"i\" <= 2)))" },
  { "i = 1 < 2", "(\"i\" = (1 < 2))" },
  { "s collate nocase = 'it''s'", "(\"s\" COLLATE NOCASE = 'it''s')" },
  { "f=-1.5 or f=.5 or f=3.", "((\"f\" = -1.5) OR (\"f\" = 0.5) OR (\"f\" = "
                              "3.0))" },
  { "f<1e999 and f>-1e999", "((\"f\" < 1e999) AND (\"f\" > -1e999))" },
  { "i in (?3, ?1, ?, x'00ff')", "(\"i\" IN (?3, ?1, ?4, x'00ff'))" },
  { "y like 'a!%' escape '!'", "(\"y\" LIKE 'a!%' ESCAPE '!')" },
};

TEST(filter__prints_the_tree_it_parsed){
  struct vdb_str s = VDB_STR_INIT;
  world_open();
  for(size_t i=0; i<sizeof(printed)/sizeof(printed[0]); i++){
    struct filter *f = NULL;
    f = parse_ok(printed[i].text);
    if( f==NULL ) continue;
    vdb_str_truncate(&s, 0);
    vdb_filter_print(f, &s);
    CHECK_STR(printed[i].want, s.z);
    vdb_filter_destroy(f);
    f = parse_ok(s.z);                       /* what is printed parses */
    vdb_filter_destroy(f);
  }
  vdb_str_clear(&s);
}

static const struct { int rc; const char *text, *msg; } refused[] = {
  { VECDB_SYNTAX, "", "expected a column, a value or \"?N\" at byte 1, found "
    "the end" },
  { VECDB_SYNTAX, "i =", "expected a column, a value or \"?N\" at byte 4, "
    "found the end" },
  { VECDB_SYNTAX, "i = AND", "expected a column, a value or \"?N\" at byte 5, "
    "found \"AND\"" },
  { VECDB_SYNTAX, "i 3", "expected an operator or the end at byte 3, found "
    "\"3\"" },
  { VECDB_SYNTAX, "(i = 3", "expected \")\" at byte 7, found the end" },
  { VECDB_SYNTAX, "i = 3)", "expected an operator or the end at byte 6, found "
    "\")\"" },
  { VECDB_SYNTAX, "i IN 3", "expected \"(\" after IN at byte 6, found \"3\"" },
  { VECDB_SYNTAX, "i IN (3,)", "expected a value at byte 9, found \")\"" },
  { VECDB_SYNTAX, "i IN (3 4)", "expected \",\" or \")\" at byte 9, found "
    "\"4\"" },
  { VECDB_SYNTAX, "i BETWEEN 1 OR 2", "expected AND of BETWEEN at byte 13, "
    "found \"OR\"" },
  { VECDB_SYNTAX, "i NOT = 3", "expected IN, BETWEEN, LIKE, GLOB or NULL at "
    "byte 7, found \"=\"" },
  { VECDB_SYNTAX, "s = 'abc", "the text that begins at byte 5 does not end" },
  { VECDB_SYNTAX, "\"s = 3", "the name that begins at byte 1 does not end" },
  { VECDB_SYNTAX, "i = 3x", "malformed number at byte 5, \"3x\"" },
  { VECDB_SYNTAX, "i = 0x1f", "malformed number at byte 5, \"0x1f\"" },
  { VECDB_SYNTAX, "i # 3", "unexpected \"#\" at byte 3" },
  { VECDB_SYNTAX, "z = x'0g'", "expected pairs of hex digits at byte 5, found "
    "\"x'0g'\"" },
  { VECDB_SYNTAX, "z = x'012'", "expected pairs of hex digits at byte 5, found "
    "\"x'012'\"" },
  { VECDB_SYNTAX, "s COLLATE latin = 'a'", "expected BINARY, NOCASE or RTRIM "
    "at byte 11, found \"latin\"" },
  { VECDB_NOTFOUND, "length(s) > 3", "no column \"length\" at byte 1" },
  { VECDB_SYNTAX, "i = -s", "expected a number at byte 6, found \"s\"" },
  { VECDB_RANGE, "i = ?0", "the number of a parameter is 1..32766, found "
    "\"?0\" at byte 5" },
  { VECDB_RANGE, "i = ?99999", "the number of a parameter is 1..32766, found "
    "\"?99999\" at byte 5" },
  { VECDB_NOTFOUND, "i = 1 AND idd > 3", "no column \"idd\" at byte 11; did "
    "you mean \"id\"?" },
  { VECDB_NOTFOUND, "\"no such\" = 1", "no column \"no such\" at byte 1" },
  { VECDB_MISMATCH, "v = 1", "column \"v\" at byte 1 is a vector; filters "
    "compare other columns" },
};

TEST(filter__says_where_the_text_is_wrong){
  char want[300];
  world_open();
  for(size_t i=0; i<sizeof(refused)/sizeof(refused[0]); i++){
    struct filter *f = NULL;
    int rc = vdb_filter_parse(world.schema, refused[i].text, &err, &f);
    if( !CHECK_RC(refused[i].rc, rc) ) FAIL("in %s", refused[i].text);
    CHECK(f==NULL);
    snprintf(want, sizeof(want), "filter: %s", refused[i].msg);
    CHECK_STR(want, err.msg);
  }
}

TEST(filter__bounds_its_depth){
  enum { N = 5000 };
  char *z = malloc(8*N+20);
  struct filter *f = NULL;
  size_t n = 0;
  world_open();
  for(int i=0; i<N; i++) z[n++] = '(';
  snprintf(z+n, 20, "i");
  CHECK_RC(VECDB_TOOBIG, vdb_filter_parse(world.schema, z, &err, &f));
  CHECK_STR("filter: nested more than 100 levels deep at byte 101", err.msg);
  for(int i=0; i<N; i++) memcpy(z+4*i, "NOT ", 4);
  snprintf(z+4*N, 20, "i");
  CHECK_RC(VECDB_TOOBIG, vdb_filter_parse(world.schema, z, &err, &f));
  for(int i=0; i<N; i++) memcpy(z+2*i, "1=", 2);
  snprintf(z+2*N, 20, "i");
  CHECK_RC(VECDB_TOOBIG, vdb_filter_parse(world.schema, z, &err, &f));
  for(int i=0; i<N; i++) memcpy(z+7*i, "i=3 OR ", 7);   /* wide is fine */
  snprintf(z+7*N, 20, "i");
  CHECK_RC(VECDB_OK, vdb_filter_parse(world.schema, z, &err, &f));
  vdb_filter_destroy(f);
  free(z);
}

/* ---- Parameters --------------------------------------------------------- */

TEST(filter__takes_values_from_parameters){
  const struct vdb_value v[] = { INT(3), TXT("a"), { VECDB_REAL, 0, NAN, 0,
                                                     0 } };
  struct filter *f;
  struct filter_run *r = NULL;
  uint64_t rows = 0xfff;
  world_open();
  f = parse_ok("i = ?1 AND s = ?2");
  CHECK_U64(2, vdb_filter_n_param(f));
  CHECK_RC(VECDB_OK, vdb_filter_begin(f, v, 2, &world_source, &r));
  CHECK_RC(VECDB_OK, vdb_filter_rows(r, &rows, 12));
  CHECK_U64(1, rows);
  vdb_filter_end(r);
  rows = 0xfff;                                   /* ?2 is NULL */
  CHECK_RC(VECDB_OK, vdb_filter_begin(f, v, 1, &world_source, &r));
  CHECK_RC(VECDB_OK, vdb_filter_rows(r, &rows, 12));
  CHECK_U64(0, rows);
  vdb_filter_end(r);
  vdb_filter_destroy(f);
  f = parse_ok("?3 IS NULL");                     /* NaN is NULL */
  rows = 0xfff;
  CHECK_RC(VECDB_OK, vdb_filter_begin(f, v, 3, &world_source, &r));
  CHECK_RC(VECDB_OK, vdb_filter_rows(r, &rows, 12));
  CHECK_U64(0xfff, rows);
  vdb_filter_end(r);
  vdb_filter_destroy(f);
}

/* ---- Many rows ---------------------------------------------------------- */

static void random_value(struct vdb_rng *rng, int type, struct vdb_value *v){
  static const char *const word[] = { "a", "b", "de", "DE", "a longer text",
    "a longer text than twelve bytes", "", "10", "3.5", "A longer tale",
    "a longer", "twelve bytes" };
  memset(v, 0, sizeof(*v));
  if( vdb_rng_below(rng, 8)==0 ) return;
  v->type = type;
  switch( type ){
    case VECDB_INTEGER: v->i = (int64_t)vdb_rng_below(rng, 12)-2; break;
    case VECDB_REAL:    v->r = vdb_rng_below(rng, 12)*0.5; break;
    case VECDB_BOOLEAN: v->i = vdb_rng_below(rng, 2); break;
    default:
      v->p = word[vdb_rng_below(rng, 12)];
      v->n = strlen(v->p);
  }
}

static void world_fill(struct vdb_rng *rng, uint64_t n){
  world_open();
  world.n_slot = n;
  world.row = calloc(n, sizeof(*world.row));
  for(uint64_t s=0; s<n; s++){
    for(int c=0; c<N_COL-1; c++){
      random_value(rng, world.schema->col[c].type, &world.row[s][c]);
    }
    world.row[s][0].type = VECDB_INTEGER;
    world.row[s][0].i = (int64_t)s;
  }
}

static const char *const term_col[] = { "i", "b", "f", "s", "x", "y", "z",
  "id" };
static const char *const term_val[] = { "0", "1", "3", "2.5", "'de'", "'10'",
  "NULL", "'a longer text than twelve bytes'", "9", "-1", "'a%'", "'A*'",
  "'a longer t%'", "'a longer text than%'", "'a longer'", "'twelve bytes'",
  "'d_'", "1e300", "9007199254740993" };

#define PICK(rng, list)  (list)[vdb_rng_below(rng, VDB_ARRAY_LEN(list))]

/* column IN (..), of one to a thousand numbers or a few texts. */
static void random_list(struct vdb_rng *rng, char *z, size_t n){
  static const uint32_t step[] = { 1, 3, 1000003 };
  uint32_t by = PICK(rng, step), n_item = 1+vdb_rng_below(rng, 9), at;
  bool is_text = vdb_rng_below(rng, 2);
  at = (uint32_t)snprintf(z, n, "%s %sIN (%s", PICK(rng, term_col),
                vdb_rng_below(rng, 2) ? "NOT " : "", PICK(rng, term_val));
  if( vdb_rng_below(rng, 4)==0 ) n_item = 40;
  for(uint32_t k=0; k<n_item; k++){
    if( is_text ) at += (uint32_t)snprintf(z+at, n-at, ",%s",
                                           PICK(rng, term_val));
    else at += (uint32_t)snprintf(z+at, n-at, ",%d", (int)(k*by)-2);
  }
  snprintf(z+at, n-at, ")");
}

static void random_term(struct vdb_rng *rng, char *z, size_t n, int depth){
  static const char *const op[] = { "=", "<>", "<", "<=", ">", ">=", "IS",
    "IS NOT", "LIKE", "GLOB", "NOT LIKE", "<", ">=" };
  const char *c = PICK(rng, term_col), *v = PICK(rng, term_val);
  char a[2000], b[2000];
  uint32_t form = vdb_rng_below(rng, depth>3 ? 9 : 12);
  switch( form ){
    case 0: snprintf(z, n, "%s%s", c, vdb_rng_below(rng, 2) ? ""
                                      : " IS NOT NULL"); break;
    case 1: random_list(rng, z, n); break;
    case 2: snprintf(z, n, "%s %s %s", c, PICK(rng, op), PICK(rng, term_col));
            break;
    case 3: snprintf(z, n, "%s BETWEEN %s AND %s", c, v, PICK(rng, term_val));
            break;
    case 4: case 5: case 6: case 7: case 8:
      snprintf(z, n, "%s %s %s", c, PICK(rng, op), v); break;
    case 9:
      random_term(rng, a, sizeof(a), depth+1);
      snprintf(z, n, "NOT (%.1900s)", a);
      break;
    default:
      random_term(rng, a, sizeof(a), depth+1);
      random_term(rng, b, sizeof(b), depth+1);
      snprintf(z, n, "(%.900s) %s (%.900s)", a, form==10 ? "AND" : "OR", b);
  }
}

/* F2: cells and rows give the same answer, whatever the mask. */
TEST(filter__blocks_agree_with_rows){
  enum { N = 70000 };
  uint64_t *rows = calloc(N/64+1, 8);
  struct vdb_rng rng;
  char z[2000];
  vdb_rng_init(&rng, vt_seed());
  world_fill(&rng, N);
  for(int i=0; i<120; i++){
    struct filter *f;
    struct filter_run *r = NULL;
    uint32_t sparse = i%3==0 ? 5000 : i%3==1 ? 3 : 1;
    int n_bad = 0;
    random_term(&rng, z, sizeof(z), 0);
    if( vdb_filter_parse(world.schema, z, &err, &f) ) continue;   /* cut off */
    CHECK_RC(VECDB_OK, vdb_filter_begin(f, NULL, 0, &world_source, &r));
    memset(rows, 0, N/64*8+8);
    for(slot_no s=0; s<N; s++){
      if( vdb_rng_below(&rng, sparse)==0 ) vdb_bit_set(rows, s);
    }
    uint64_t *before = vdb_memdup(rows, N/64*8+8);
    CHECK_RC(VECDB_OK, vdb_filter_rows(r, rows, N));
    for(slot_no s=0; s<N; s += 1+vdb_rng_below(&rng, 7)){
      bool pass = false;
      vdb_filter_row(r, s, &pass);
      n_bad += (pass && vdb_bit_get(before, s))!=vdb_bit_get(rows, s);
    }
    if( !CHECK_INT(0, n_bad) ) FAIL("in %s", z);
    vdb_free(before);
    vdb_filter_end(r);
    vdb_filter_destroy(f);
  }
  free(rows);
  free(world.row);
}

/* Costly columns are asked only about rows that cheap ones left over. */
TEST(filter__asks_auxiliary_columns_last){
  enum { N = 4096 };
  uint64_t rows[N/64];
  struct vdb_rng rng;
  struct filter *f;
  struct filter_run *r = NULL;
  vdb_rng_init(&rng, vt_seed());
  world_fill(&rng, N);
  f = parse_ok("y LIKE '%d%' AND id < 20");
  memset(rows, 0xff, sizeof(rows));
  CHECK_RC(VECDB_OK, vdb_filter_begin(f, NULL, 0, &world_source, &r));
  world.n_value = 0;
  CHECK_RC(VECDB_OK, vdb_filter_rows(r, rows, N));
  CHECK_INT(20, world.n_value);
  vdb_filter_end(r);
  vdb_filter_destroy(f);
  free(world.row);
}

TEST(filter__knows_which_keys_it_names){
  static const struct { const char *text; int n; int64_t key[3]; } named[] = {
    { "id = 7", 1, { 7 } }, { "7 = id AND s = 'a'", 1, { 7 } },
    { "id IN (9, 3, 3.0)", 3, { 3, 3, 9 } }, { "rowid = '5'", 1, { 5 } },
    { "id = 7 OR s = 'a'", -1, { 0 } }, { "id NOT IN (3)", -1, { 0 } },
    { "id <> 7", -1, { 0 } }, { "i = 7", -1, { 0 } }, { "id IN (i)", -1,
                                                        { 0 } },
    { "NOT id = 7", -1, { 0 } }, { "id IN ()", 0, { 0 } },
  };
  world_open();
  for(size_t k=0; k<sizeof(named)/sizeof(named[0]); k++){
    struct filter *f = parse_ok(named[k].text);
    struct filter_run *r = NULL;
    const struct vdb_value *v = NULL;
    size_t n = 0;
    bool known;
    REQUIRE_RC(VECDB_OK, vdb_filter_begin(f, NULL, 0, &world_source, &r));
    known = vdb_filter_keys(r, &v, &n);
    if( !CHECK_INT(named[k].n, known ? (int)n : -1) ) FAIL("%s", named[k].text);
    for(int j=0; known && j<named[k].n; j++){
      CHECK(v[j].type==VECDB_INTEGER ? v[j].i==named[k].key[j]
                                     : v[j].r==(double)named[k].key[j]);
    }
    vdb_filter_end(r);
    vdb_filter_destroy(f);
  }
}

/* ---- Texts nobody would write -------------------------------------------- */

/* Change one to four places of a good filter. */
static void mutate(struct vdb_rng *rng, char *z, size_t cap){
  static const char *const good[] = {
    "i = 3 AND s LIKE 'a%' ESCAPE '!'", "NOT (i IN (1,2,?3) OR b)",
    "f BETWEEN -1.5e3 AND 4 COLLATE NOCASE", "((i=1)=(b=2))<3",
    "x IS NOT NULL AND y GLOB '[a-z]*' OR z = x'00ff'", "\"i\" NOT NULL",
    "s NOT IN ('a','b','')"
  };
  size_t n = (size_t)snprintf(z, cap, "%s", good[vdb_rng_below(rng, 7)]);
  for(uint32_t k=vdb_rng_below(rng, 4)+1; k>0; k--){
    size_t at = vdb_rng_below(rng, (uint32_t)n+1);
    switch( vdb_rng_below(rng, 3) ){
      case 0:
        if( at<n ) z[at] = (char)(32 + vdb_rng_below(rng, 95));
        break;
      case 1:
        if( n+2>cap ) break;
        memmove(z+at+1, z+at, n-at+1);
        z[at] = "()'\"?,=<>[]%-.0x"[vdb_rng_below(rng, 16)];
        n++;
        break;
      default:
        if( at==n ) break;
        memmove(z+at, z+at+1, n-at);
        n--;
    }
  }
}

/* What still parses is printed as a filter that means the same. */
TEST(filter__printed_filters_mean_the_same){
  struct vdb_str text = VDB_STR_INIT;
  struct vdb_rng rng;
  int n_ok = 0;
  char z[200];
  vdb_rng_init(&rng, vt_seed());
  world_open();
  for(int i=0; i<20000*vt_scale(); i++){
    struct filter *f[2] = { NULL, NULL };
    struct filter_run *r[2] = { NULL, NULL };
    bool pass[2];
    mutate(&rng, z, sizeof(z));
    if( vdb_filter_parse(world.schema, z, &err, &f[0]) ) continue;
    n_ok++;
    vdb_str_truncate(&text, 0);
    vdb_filter_print(f[0], &text);
    f[1] = parse_ok(text.z);
    REQUIRE(f[1]!=NULL);
    for(int k=0; k<2; k++){
      REQUIRE_RC(VECDB_OK, vdb_filter_begin(f[k], NULL, 0, &world_source,
                                            &r[k]));
    }
    for(slot_no s=0; s<12; s++){
      for(int k=0; k<2; k++) vdb_filter_row(r[k], s, &pass[k]);
      if( pass[0]!=pass[1] ) FAIL("row %u of %s and %s", s, z, text.z);
    }
    for(int k=0; k<2; k++){
      vdb_filter_end(r[k]);
      vdb_filter_destroy(f[k]);
    }
  }
  CHECK(n_ok>100);
  vdb_str_clear(&text);
}

/* A run reports what its source reports. */
static int source_fails(void *arg){ (void)arg; return VECDB_INTERRUPT; }
TEST(filter__stops_when_interrupted){
  struct filter_source src = world_source;
  struct filter_run *r = NULL;
  struct filter *f;
  uint64_t rows = 0xfff;
  world_open();
  src.poll = source_fails;
  f = parse_ok("i = 3");
  CHECK_RC(VECDB_OK, vdb_filter_begin(f, NULL, 0, &src, &r));
  CHECK_RC(VECDB_INTERRUPT, vdb_filter_rows(r, &rows, 12));
  vdb_filter_end(r);
  vdb_filter_destroy(f);
}

TEST(filter__survives_failed_allocations){
  static const char z[] = "i IN (3, 4, ?1) AND (s LIKE 'a%' OR x = y)";
  int rc = VECDB_NOMEM;
  world_open();
  for(uint64_t at=1; rc!=VECDB_OK && at<200; at++){
    struct filter *f = NULL;
    struct filter_run *r = NULL;
    uint64_t rows = 0xfff;
    vdb_mem_fail_at(at, true);
    rc = vdb_filter_parse(world.schema, z, &err, &f);
    if( rc==VECDB_OK ) rc = vdb_filter_begin(f, NULL, 0, &world_source, &r);
    vdb_mem_fail_at(0, false);
    if( rc==VECDB_OK ) rc = vdb_filter_rows(r, &rows, 12);
    if( rc!=VECDB_OK ) CHECK_RC(VECDB_NOMEM, rc);
    vdb_filter_end(r);
    vdb_filter_destroy(f);
  }
  CHECK_RC(VECDB_OK, rc);
}
