/* lockstep options [KIND] [--markdown]: every key of the configuration, from the tables that read it. */
#include "core/buf.h"
#include "main/app.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static bool is_kind(const char *kind)
{
	for (const struct ls_source_ops *const *ops = ls_source_kinds(); *ops; ops++)
		if (strcmp((*ops)->kind, kind) == 0)
			return true;
	for (const struct ls_destination_ops *const *ops = ls_destination_kinds(); *ops; ops++)
		if (strcmp((*ops)->kind, kind) == 0)
			return true;
	return false;
}

static enum ls_exit options(struct ls_app *app, int argc, char **argv)
{
	static const struct option flags[] = { { "markdown", no_argument, NULL, 'm' }, { NULL, 0, NULL, 0 } };
	const char *kind;
	struct ls_buf out;
	bool markdown = false;
	int flag;

	(void)app;
	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (flag != 'm')
			return LS_EXIT_USAGE;
		markdown = true;
	}
	kind = optind < argc ? argv[optind] : NULL;
	if (kind && !is_kind(kind)) {
		fprintf(stderr, "lockstep: there is no kind \"%s\"; `lockstep options` shows all\n", kind);
		return LS_EXIT_USAGE;
	}
	ls_buf_init(&out, 1 << 20);
	ls_config_options(kind, markdown, ls_source_kinds(), ls_destination_kinds(), &out);
	fwrite(out.ptr, 1, out.len, stdout);
	ls_buf_release(&out);
	return LS_EXIT_DONE;
}

extern const struct ls_command ls_command_options;
const struct ls_command ls_command_options = {
	.name = "options",
	.arguments = "[KIND] [--markdown]",
	.summary = "every key of the configuration, its type and default",
	.help = "  KIND        only the keys of this kind of source and destination\n"
		"  --markdown  as tables for a page\n",
	.no_config = true,
	.run = options,
};
