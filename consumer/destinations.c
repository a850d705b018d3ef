/* The list of destination kinds, from destinations.def. */
#include "lockstep/destination.h"

#define LS_DESTINATION(kind) extern const struct ls_destination_ops ls_destination_##kind;
#include "destinations.def"
#undef LS_DESTINATION

const struct ls_destination_ops *const *ls_destination_kinds(void)
{
	static const struct ls_destination_ops *const kinds[] = {
#define LS_DESTINATION(kind) &ls_destination_##kind,
#include "destinations.def"
#undef LS_DESTINATION
		NULL,
	};

	return kinds;
}
