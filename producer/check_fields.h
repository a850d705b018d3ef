/* What `check` can say of mappings by looking at them: fields of masks and filters that no row has, too many
 * writers. */
#pragma once

#include "lockstep/mapping.h"
#include "lockstep/report.h"

struct ls_config;

/* ls_check_fields adds FAILED for every masked or filtered field that its entity does not have, with a near miss. A
 * mask or filter of the whole source is repeated in each of its mappings: there a field must be in one of them only.
 *
 * schema  one per mapping: what its entity has now; NULL: not known, nothing is said of it */
void ls_check_fields(const struct ls_mapping *mapping, const struct ls_schema *const *schema, size_t count,
		     const char *subject, struct ls_report *report);

/* ls_check_writers adds FAILED for every entity with more sources than its version state can tell apart. */
void ls_check_writers(const struct ls_config *config, struct ls_report *report);
