/* output.c -- printing rows in the modes of `.mode`.
**
** Modes that align (box, table, markdown) hold the whole result first; the
** others stream. A value is turned into text once, by cell_text: vectors
** (columns whose declared type has brackets) become JSON arrays, shortened on
** a terminal; other blobs become x'..'.
*/
#include "shell/shell.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

/* ---- Values as text ------------------------------------------------------ */

static int element_of_decl(const char *decl){
  static const struct { const char *z; int element; } map[] = {
    {"float16",VECDB_F16}, {"f16",VECDB_F16}, {"bfloat16",VECDB_BF16},
    {"bf16",VECDB_BF16}, {"float32",VECDB_F32}, {"float",VECDB_F32},
    {"f32",VECDB_F32}, {"int8",VECDB_I8}, {"i8",VECDB_I8},
    {"uint8",VECDB_U8}, {"u8",VECDB_U8}, {"bit",VECDB_BIT}
  };
  const char *bracket = decl!=NULL ? strchr(decl, '[') : NULL;
  if( bracket==NULL ) return 0;
  for(size_t i=0; i<sizeof(map)/sizeof(map[0]); i++){
    size_t n = strlen(map[i].z);
    if( sqlite3_strnicmp(decl, map[i].z, (int)n)==0
     && (decl[n]=='[' || decl[n]==' ') ) return map[i].element;
  }
  return 0;
}

/* Values of functions carry their element type as a subtype (doc/sql.md 5). */
static int element_of_subtype(unsigned subtype){
  switch( subtype ){
    case 223: return VECDB_F32;
    case 224: return VECDB_BIT;
    case 225: return VECDB_I8;
    case 226: return VECDB_F16;
    case 227: return VECDB_BF16;
    case 228: return VECDB_U8;
    default:  return 0;
  }
}

/* What the BLOB in column i of the current row holds; 0: no vector. */
static int element_of_column(sqlite3_stmt *st, int i){
  int element = element_of_decl(sqlite3_column_decltype(st, i));
  if( element!=0 ) return element;
  return element_of_subtype(sqlite3_value_subtype(sqlite3_column_value(st, i)));
}

/* "[0.1,0.2,0.3,0.4, ...]" keeps a screen readable; the text is cut in place
** after the fourth element. */
static void vector_abbreviate(char *z){
  int n_comma = 0;
  for(size_t i=0; z[i]!=0; i++){
    if( z[i]==',' && ++n_comma==4 && strlen(z+i)>6 ){
      memcpy(z+i, ",...]", 6);
      return;
    }
  }
}

static char *vector_text(const struct shell *sh, int element, const void *p,
                         int n_bytes){
  size_t one = vecdb_vector_bytes(element, 8);      /* of 8 elements */
  size_t dims = one ? (size_t)n_bytes*8/one : 0;
  char *z = NULL, *out = NULL;
  if( dims==0 || vecdb_vector_print(element, dims, p, &z)!=VECDB_OK ){
    return NULL;
  }
  if( isatty(fileno(sh->out)) && sh->mode<=MODE_MARKDOWN ) vector_abbreviate(z);
  out = strdup(z);
  vecdb_free(z);
  return out;
}

static char *blob_text(const unsigned char *p, int n){
  static const char hex[] = "0123456789abcdef";
  char *z = malloc((size_t)n*2 + 4);
  size_t j = 0;
  if( z==NULL ) return NULL;
  z[j++] = 'x';
  z[j++] = '\'';
  for(int i=0; i<n; i++){ z[j++] = hex[p[i]>>4]; z[j++] = hex[p[i]&15]; }
  z[j++] = '\'';
  z[j] = 0;
  return z;
}

/* Text of column i of the current row, to be freed; NULL for SQL NULL. */
static char *cell_text(struct shell *sh, sqlite3_stmt *st, int i){
  const unsigned char *z;
  if( sqlite3_column_type(st, i)==SQLITE_NULL ) return NULL;
  if( sqlite3_column_type(st, i)==SQLITE_BLOB ){
    int n = sqlite3_column_bytes(st, i);
    const void *p = sqlite3_column_blob(st, i);
    int element = element_of_column(st, i);
    char *out = element ? vector_text(sh, element, p, n) : NULL;
    return out!=NULL ? out : blob_text(p, n);
  }
  z = sqlite3_column_text(st, i);
  return strdup(z!=NULL ? (const char*)z : "");
}

int shell_text_width(const char *z, int n){
  mbstate_t st;
  int width = 0;
  memset(&st, 0, sizeof st);
  while( n>0 ){
    wchar_t wc;
    size_t len = mbrtowc(&wc, z, (size_t)n, &st);
    int w;
    if( len==(size_t)-1 || len==(size_t)-2 ){
      memset(&st, 0, sizeof st);
      len = 1;
      w = 1;
    }else{
      if( len==0 ) break;
      w = wcwidth(wc);
      if( w<0 ) w = 1;
    }
    width += w;
    z += len;
    n -= (int)len;
  }
  return width;
}

/* ---- Quoting ------------------------------------------------------------- */

static void json_string(FILE *f, const char *z){
  fputc('"', f);
  for(; *z; z++){
    unsigned char c = (unsigned char)*z;
    if( c=='"' || c=='\\' ) fprintf(f, "\\%c", c);
    else if( c=='\n' ) fputs("\\n", f);
    else if( c=='\t' ) fputs("\\t", f);
    else if( c=='\r' ) fputs("\\r", f);
    else if( c<0x20 ) fprintf(f, "\\u%04x", c);
    else fputc(c, f);
  }
  fputc('"', f);
}

static void json_value(struct shell *sh, sqlite3_stmt *st, int i){
  char *z = cell_text(sh, st, i);
  int type = sqlite3_column_type(st, i);
  bool is_bare = type==SQLITE_INTEGER || type==SQLITE_FLOAT
              || (type==SQLITE_BLOB && z!=NULL && z[0]=='[');   /* a vector */
  if( z==NULL ) fputs("null", sh->out);
  else if( is_bare ) fputs(z, sh->out);
  else json_string(sh->out, z);
  free(z);
}

static void json_row(struct shell *sh, sqlite3_stmt *st){
  int n = sqlite3_column_count(st);
  fputc('{', sh->out);
  for(int i=0; i<n; i++){
    if( i>0 ) fputc(',', sh->out);
    json_string(sh->out, sqlite3_column_name(st, i));
    fputc(':', sh->out);
    json_value(sh, st, i);
  }
  fputc('}', sh->out);
}

static void csv_field(FILE *f, const char *z){
  if( z[strcspn(z, ",\"\r\n")]==0 ){ fputs(z, f); return; }
  fputc('"', f);
  for(; *z; z++){
    if( *z=='"' ) fputc('"', f);
    fputc(*z, f);
  }
  fputc('"', f);
}

static void tabs_field(FILE *f, const char *z){
  for(; *z; z++) fputc(*z=='\t' || *z=='\n' || *z=='\r' ? ' ' : *z, f);
}

static void html_text(FILE *f, const char *z){
  for(; *z; z++){
    switch( *z ){
      case '<': fputs("&lt;", f); break;
      case '>': fputs("&gt;", f); break;
      case '&': fputs("&amp;", f); break;
      default: fputc(*z, f);
    }
  }
}

static void quote_value(struct shell *sh, sqlite3_stmt *st, int i){
  char *z = NULL;
  switch( sqlite3_column_type(st, i) ){
    case SQLITE_NULL: fputs("NULL", sh->out); return;
    case SQLITE_TEXT:
      z = sqlite3_mprintf("'%q'", sqlite3_column_text(st, i));
      fputs(z ? z : "", sh->out);
      sqlite3_free(z);
      return;
    case SQLITE_BLOB:
      z = blob_text(sqlite3_column_blob(st, i), sqlite3_column_bytes(st, i));
      break;
    default:
      z = cell_text(sh, st, i);
  }
  fputs(z ? z : "", sh->out);
  free(z);
}

/* ---- Modes that stream --------------------------------------------------- */

static bool headers_wanted(const struct shell *sh){
  if( sh->headers>=0 ) return sh->headers!=0;
  return sh->mode!=MODE_LIST && sh->mode!=MODE_QUOTE;
}

static void field_print(struct shell *sh, const char *z){
  if( z==NULL ) z = sh->null_value;
  switch( sh->mode ){
    case MODE_CSV:  csv_field(sh->out, z); break;
    case MODE_TABS: tabs_field(sh->out, z); break;
    default:        fputs(z, sh->out);
  }
}

static const char *field_separator(const struct shell *sh){
  if( sh->mode==MODE_CSV || sh->mode==MODE_QUOTE ) return ",";
  return sh->mode==MODE_TABS ? "\t" : sh->separator;
}

static void stream_header(struct shell *sh, sqlite3_stmt *st){
  int n = sqlite3_column_count(st);
  if( sh->mode==MODE_JSON || sh->mode==MODE_JSONL || sh->mode==MODE_LINE ){
    return;
  }
  if( !headers_wanted(sh) ) return;
  if( sh->mode==MODE_HTML ) fputs("<tr>", sh->out);
  for(int i=0; i<n; i++){
    const char *z = sqlite3_column_name(st, i);
    if( sh->mode==MODE_HTML ){
      fputs("<th>", sh->out); html_text(sh->out, z); fputs("</th>", sh->out);
      continue;
    }
    if( i>0 ) fputs(field_separator(sh), sh->out);
    if( sh->mode==MODE_QUOTE ) fprintf(sh->out, "'%s'", z);
    else field_print(sh, z);
  }
  fputs(sh->mode==MODE_HTML ? "</tr>\n" : "\n", sh->out);
}

static void line_row(struct shell *sh, sqlite3_stmt *st, long i_row){
  int n = sqlite3_column_count(st), width = 0;
  if( i_row>0 ) fputc('\n', sh->out);
  for(int i=0; i<n; i++){
    int w = (int)strlen(sqlite3_column_name(st, i));
    if( w>width ) width = w;
  }
  for(int i=0; i<n; i++){
    char *z = cell_text(sh, st, i);
    fprintf(sh->out, "%*s = %s\n", width, sqlite3_column_name(st, i),
            z ? z : sh->null_value);
    free(z);
  }
}

static void delimited_row(struct shell *sh, sqlite3_stmt *st){
  int n = sqlite3_column_count(st);
  for(int i=0; i<n; i++){
    if( i>0 ) fputs(field_separator(sh), sh->out);
    if( sh->mode==MODE_QUOTE ){
      quote_value(sh, st, i);
    }else{
      char *z = cell_text(sh, st, i);
      field_print(sh, z);
      free(z);
    }
  }
  fputc('\n', sh->out);
}

static void html_row(struct shell *sh, sqlite3_stmt *st){
  int n = sqlite3_column_count(st);
  fputs("<tr>", sh->out);
  for(int i=0; i<n; i++){
    char *z = cell_text(sh, st, i);
    fputs("<td>", sh->out);
    html_text(sh->out, z ? z : sh->null_value);
    fputs("</td>", sh->out);
    free(z);
  }
  fputs("</tr>\n", sh->out);
}

static int stream_rows(struct shell *sh, sqlite3_stmt *st, int rc){
  long i_row = 0;
  for(; rc==SQLITE_ROW; rc=sqlite3_step(st), i_row++){
    if( i_row==0 ) stream_header(sh, st);
    switch( sh->mode ){
      case MODE_JSON:
        fputs(i_row==0 ? "[" : ",\n", sh->out);
        json_row(sh, st);
        break;
      case MODE_JSONL: json_row(sh, st); fputc('\n', sh->out); break;
      case MODE_LINE:  line_row(sh, st, i_row); break;
      case MODE_HTML:  html_row(sh, st); break;
      default:         delimited_row(sh, st);
    }
  }
  if( sh->mode==MODE_JSON && i_row>0 ) fputs("]\n", sh->out);
  return rc;
}

/* ---- Modes that align ---------------------------------------------------- */

struct grid {
  char **cell;               /* n_row*n_col, row-major; row 0 is the header */
  bool *is_number;           /* per column: align right */
  int *width;
  size_t n_row, n_cap;
  int n_col;
};

static bool grid_add_row(struct grid *g, struct shell *sh, sqlite3_stmt *st){
  if( (g->n_row+1)*(size_t)g->n_col > g->n_cap ){
    size_t n = g->n_cap ? g->n_cap*2 : 64*(size_t)g->n_col;
    char **p = realloc(g->cell, n*sizeof *p);
    if( p==NULL ) return false;
    g->cell = p;
    g->n_cap = n;
  }
  for(int i=0; i<g->n_col; i++){
    char *z = g->n_row==0 ? strdup(sqlite3_column_name(st, i))
                          : cell_text(sh, st, i);
    int w;
    if( z==NULL ) z = strdup(sh->null_value);
    if( z==NULL ) return false;
    for(char *c=z; *c; c++) if( *c=='\n' || *c=='\t' || *c=='\r' ) *c = ' ';
    w = shell_text_width(z, (int)strlen(z));
    if( w>g->width[i] ) g->width[i] = w;
    if( g->n_row>0 ){
      int type = sqlite3_column_type(st, i);
      if( type==SQLITE_TEXT || type==SQLITE_BLOB ) g->is_number[i] = false;
    }
    g->cell[g->n_row*(size_t)g->n_col + (size_t)i] = z;
  }
  g->n_row++;
  return true;
}

static void pad(FILE *f, int n, const char *z){
  while( n-- > 0 ) fputs(z, f);
}

static void rule(struct shell *sh, const struct grid *g, const char *left,
                 const char *bar, const char *mid, const char *right){
  fputs(left, sh->out);
  for(int i=0; i<g->n_col; i++){
    if( i>0 ) fputs(mid, sh->out);
    pad(sh->out, g->width[i]+2, bar);
  }
  fputs(right, sh->out);
  fputc('\n', sh->out);
}

/* Cut z to `width` columns, ending in an ellipsis; returns bytes to print. */
static int cut(const char *z, int width, bool *is_cut){
  int n = (int)strlen(z);
  *is_cut = false;
  if( shell_text_width(z, n)<=width ) return n;
  *is_cut = true;
  while( n>0 && shell_text_width(z, n)>width-1 ){
    do n--; while( n>0 && ((unsigned char)z[n]&0xc0)==0x80 );
  }
  return n;
}

static void grid_line(struct shell *sh, const struct grid *g, size_t r,
                      const char *left, const char *mid, const char *right){
  fputs(left, sh->out);
  for(int i=0; i<g->n_col; i++){
    const char *z = g->cell[r*(size_t)g->n_col + (size_t)i];
    bool is_cut;
    int n = cut(z, g->width[i], &is_cut);
    int w = shell_text_width(z, n) + is_cut;
    if( i>0 ) fputs(mid, sh->out);
    fputc(' ', sh->out);
    if( g->is_number[i] && r>0 ) pad(sh->out, g->width[i]-w, " ");
    fwrite(z, 1, (size_t)n, sh->out);
    if( is_cut ) fputs("…", sh->out);
    if( !(g->is_number[i] && r>0) ) pad(sh->out, g->width[i]-w, " ");
    fputc(' ', sh->out);
  }
  fputs(right, sh->out);
  fputc('\n', sh->out);
}

static void grid_markdown_rule(struct shell *sh, const struct grid *g){
  for(int i=0; i<g->n_col; i++){
    fputc('|', sh->out);
    pad(sh->out, g->width[i]+1, "-");
    fputs(g->is_number[i] ? ":" : "-", sh->out);
  }
  fputs("|\n", sh->out);
}

static void grid_print(struct shell *sh, struct grid *g){
  const bool box = sh->mode==MODE_BOX, md = sh->mode==MODE_MARKDOWN;
  const char *v = box ? "│" : "|";
  size_t first = sh->headers==0 ? 1 : 0;
  for(int i=0; i<g->n_col && i<sh->n_width; i++){
    if( sh->width[i]>0 ) g->width[i] = sh->width[i];
  }
  if( box ) rule(sh, g, "┌", "─", "┬", "┐");
  else if( !md ) rule(sh, g, "+", "-", "+", "+");
  for(size_t r=first; r<g->n_row; r++){
    grid_line(sh, g, r, v, v, v);
    if( r>0 ) continue;
    if( md ) grid_markdown_rule(sh, g);
    else if( box ) rule(sh, g, "├", "─", "┼", "┤");
    else rule(sh, g, "+", "-", "+", "+");
  }
  if( box ) rule(sh, g, "└", "─", "┴", "┘");
  else if( !md ) rule(sh, g, "+", "-", "+", "+");
}

static int grid_rows(struct shell *sh, sqlite3_stmt *st, int rc){
  struct grid g;
  bool ok = true;
  memset(&g, 0, sizeof g);
  g.n_col = sqlite3_column_count(st);
  g.width = calloc((size_t)g.n_col + 1, sizeof *g.width);
  g.is_number = malloc(((size_t)g.n_col + 1)*sizeof *g.is_number);
  ok = g.width!=NULL && g.is_number!=NULL;
  if( ok ){
    for(int i=0; i<g.n_col; i++) g.is_number[i] = true;
    ok = grid_add_row(&g, sh, st);
  }
  for(; ok && rc==SQLITE_ROW; rc=sqlite3_step(st)){
    ok = grid_add_row(&g, sh, st);
  }
  if( ok && g.n_row>1 ) grid_print(sh, &g);
  for(size_t i=0; i<g.n_row*(size_t)g.n_col; i++) free(g.cell[i]);
  free(g.cell);
  free(g.width);
  free(g.is_number);
  return ok ? rc : SQLITE_NOMEM;
}

int shell_print_rows(struct shell *sh, sqlite3_stmt *st){
  int rc = sqlite3_step(st);
  if( rc!=SQLITE_ROW ) return rc;
  switch( sh->mode ){
    case MODE_BOX: case MODE_TABLE: case MODE_MARKDOWN:
      return grid_rows(sh, st, rc);
    default:
      return stream_rows(sh, st, rc);
  }
}

void shell_output_reset(struct shell *sh){
  if( sh->out!=NULL && sh->out!=stdout ){
    if( sh->out_is_pipe ) pclose(sh->out); else fclose(sh->out);
  }
  sh->out = stdout;
  sh->out_is_pipe = sh->out_once = false;
}
