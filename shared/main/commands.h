/* The table of subcommands, and their help. */
#pragma once

#include "lockstep/command.h"

#include <stdio.h>

/* ls_commands returns the NULL-terminated table of commands.def. */
const struct ls_command *const *ls_commands(void);

/* ls_command_find returns the command, or NULL after saying on stderr which one was probably meant. */
const struct ls_command *ls_command_find(const char *name);

void ls_help_overview(FILE *out);
void ls_help_command(const struct ls_command *command, FILE *out);

/* ls_init_text is the starter configuration that `init` writes. */
const char *ls_init_text(void);
