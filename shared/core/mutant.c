/* The mutants of LOCKSTEP_MUTANT. */
#include "core/mutant.h"

#ifdef LS_MUTANTS

#include <stdlib.h>
#include <string.h>

bool ls_mutant(const char *name)
{
	const char *list = getenv("LOCKSTEP_MUTANT");
	size_t len = strlen(name);

	while (list && *list) {
		size_t part = strcspn(list, ",");

		if (part == len && !strncmp(list, name, len))
			return true;
		list += part + (list[part] == ',');
	}
	return false;
}

#endif
