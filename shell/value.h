/* value.h -- values as text, for .dump and .export. */
#ifndef VDB_SHELL_VALUE_H
#define VDB_SHELL_VALUE_H
#include "shell/table.h"

enum text_style { STYLE_SQL, STYLE_JSON, STYLE_PLAIN };

/* The text of a value of that column; freed with sqlite3_free. NULL: out of
** memory. */
char *value_styled(const struct cell *v, const vecdb_column_info *ci,
                   enum text_style style);
char *value_json_quote(const char *z);
#endif
