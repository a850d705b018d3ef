/* Looking up columns by name. */
#include "lockstep/schema.h"

size_t ls_schema_find(const struct ls_schema *schema, struct ls_str name)
{
	size_t i = 0;

	while (i < schema->count && !ls_str_equal(schema->column[i].name, name))
		i++;
	return i;
}
