/* lockstep help [COMMAND]. */
#include "main/app.h"
#include "main/commands.h"

#include <stdlib.h>
#include <string.h>

void ls_help_overview(FILE *out)
{
	fputs("lockstep keeps one entity the same in many systems, through Kafka, exactly once.\n"
	      "\n"
	      "usage: lockstep [-c FILE] [--log-format logfmt|json] [--log-level LEVEL] [--json] COMMAND [...]\n"
	      "\n"
	      "commands:\n",
	      out);
	for (const struct ls_command *const *command = ls_commands(); *command; command++)
		fprintf(out, "  %-10s %s\n", (*command)->name, (*command)->summary);
	fputs("\n"
	      "options:\n"
	      "  -c, --config FILE      configuration; else $LOCKSTEP_CONFIG, else ./lockstep.yaml\n"
	      "      --log-format FORM  logfmt (default) or json, on stderr\n"
	      "      --log-level LEVEL  debug, info (default), warn or error\n"
	      "      --json             machine-readable output, of every command that prints a table\n"
	      "  -h, --help             this text; `lockstep help COMMAND` says more about one command\n"
	      "      --version          version and libraries\n"
	      "\n"
	      "exit: 0 done, 1 failed, 2 usage, 3 configuration, 4 authentication, 5 unreachable, 6 fenced, 7 unsafe\n",
	      out);
}

void ls_help_command(const struct ls_command *command, FILE *out)
{
	const char *arguments = command->arguments ? command->arguments : "";

	fprintf(out, "usage: lockstep [-c FILE] %s%s%s\n\n%s\n", command->name, arguments[0] ? " " : "", arguments,
		command->summary);
	if (command->help && command->help[0])
		fprintf(out, "\n%s%s", command->help, command->help[strlen(command->help) - 1] == '\n' ? "" : "\n");
}

static enum ls_exit help(struct ls_app *app, int argc, char **argv)
{
	const struct ls_command *command;

	(void)app;
	if (argc < 2) {
		ls_help_overview(stdout);
		return LS_EXIT_DONE;
	}
	command = ls_command_find(argv[1]);
	if (!command)
		return LS_EXIT_USAGE;
	ls_help_command(command, stdout);
	return LS_EXIT_DONE;
}

extern const struct ls_command ls_command_help;
const struct ls_command ls_command_help = {
	.name = "help",
	.arguments = "[COMMAND]",
	.summary = "what the commands do",
	.help = "",
	.no_config = true,
	.run = help,
};
