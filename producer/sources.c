/* The list of source kinds, from sources.def. */
#include "lockstep/source.h"

#define LS_SOURCE(kind) extern const struct ls_source_ops ls_source_##kind;
#include "sources.def"
#undef LS_SOURCE

const struct ls_source_ops *const *ls_source_kinds(void)
{
	static const struct ls_source_ops *const kinds[] = {
#define LS_SOURCE(kind) &ls_source_##kind,
#include "sources.def"
#undef LS_SOURCE
		NULL,
	};

	return kinds;
}
