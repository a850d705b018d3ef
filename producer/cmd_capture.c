/* lockstep capture: the sources' lanes alone, without sinks. */
#include "main/app.h"

#include <getopt.h>

static enum ls_exit capture(struct ls_app *app, int argc, char **argv)
{
	static const struct option flags[] = { { NULL, 0, NULL, 0 } };
	static const struct ls_wing *const wings[] = { &ls_wing_capture };

	if (getopt_long(argc, argv, "", flags, NULL) != -1)
		return LS_EXIT_USAGE;
	return ls_main_lanes(app, wings, 1, argv + optind, (size_t)(argc - optind));
}

extern const struct ls_command ls_command_capture;
const struct ls_command ls_command_capture = {
	.name = "capture",
	.arguments = "[SOURCE...]",
	.summary = "publish the changes of these sources, or of all",
	.help = "  SOURCE   a name under `sources:`; several capture each in its own thread\n"
		"Runs until SIGTERM or SIGINT; then finishes what it has sent and stops.\n",
	.run = capture,
};
