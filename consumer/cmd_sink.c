/* lockstep sink [DESTINATION...] */
#include "lockstep/command.h"
#include "main/app.h"

static enum ls_exit run(struct ls_app *app, int argc, char **argv)
{
	static const struct ls_wing *const wing[] = { &ls_wing_sink };

	return ls_main_lanes(app, wing, 1, argv + 1, (size_t)argc - 1);
}

const struct ls_command ls_command_sink = {
	.name = "sink",
	.arguments = "[DESTINATION...]",
	.summary = "apply the events to the destinations, until it is stopped",
	.help = "Without names every destination of the configuration. Start it on as many machines as there are "
		"partitions:\n"
		"the consumer group shares them out. SIGTERM finishes the batch in hand, publishes its state and "
		"leaves.\n",
	.run = run,
};
