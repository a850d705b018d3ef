/* The table of subcommands, from commands.def. */
#include "main/commands.h"

#include "config/near.h"

#include <string.h>

#define LS_COMMAND(name) extern const struct ls_command ls_command_##name;
#include "main/commands.def"
#undef LS_COMMAND

const struct ls_command *const *ls_commands(void)
{
	static const struct ls_command *const commands[] = {
#define LS_COMMAND(name) &ls_command_##name,
#include "main/commands.def"
#undef LS_COMMAND
		NULL,
	};

	return commands;
}

const struct ls_command *ls_command_find(const char *name)
{
	struct ls_near near;
	char hint[LS_NEAR_HINT];

	ls_near_init(&near, name);
	for (const struct ls_command *const *command = ls_commands(); *command; command++) {
		if (strcmp((*command)->name, name) == 0)
			return *command;
		ls_near_offer(&near, (*command)->name);
	}
	fprintf(stderr, "lockstep: there is no command \"%s\"%s; `lockstep help` lists them\n", name,
		ls_near_hint(&near, hint));
	return NULL;
}
