/* Between an entity's fields and their places in one system. */
#include "lockstep/mapping.h"

struct ls_str ls_mapping_place(const struct ls_mapping *mapping, struct ls_str field)
{
	if (!mapping->field_count)
		return field;
	for (size_t i = 0; i < mapping->field_count; i++) {
		if (ls_str_equal(mapping->field[i].name, field))
			return mapping->field[i].value;
	}
	return (struct ls_str){ 0 };
}

struct ls_str ls_mapping_field(const struct ls_mapping *mapping, struct ls_str place)
{
	if (!mapping->field_count)
		return place;
	for (size_t i = 0; i < mapping->field_count; i++) {
		if (ls_str_equal(mapping->field[i].value, place))
			return mapping->field[i].name;
	}
	return (struct ls_str){ 0 };
}
