/* lockstep version: what this binary is and what it stands on. */
#include "main/app.h"

#include "kafka/version.h"
#include "pg/version.h"

#include <getopt.h>
#include <stdio.h>

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#ifdef LS_FAILPOINTS
#define FAILPOINTS "on"
#else
#define FAILPOINTS "off"
#endif

static enum ls_exit version(struct ls_app *app, int argc, char **argv)
{
	static const struct option flags[] = { { "json", no_argument, NULL, 'j' }, { NULL, 0, NULL, 0 } };
	char libpq[32];
	bool json = app->json;
	int flag;

	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (flag != 'j')
			return LS_EXIT_USAGE;
		json = true;
	}
	ls_pg_library_version(libpq, sizeof libpq);
	printf(json ? "{\"version\":\"%s\",\"librdkafka\":\"%s\",\"libpq\":\"%s\",\"compiler\":\"%s\",\"failpoints\":"
		      "\"%s\"}\n"
		    : "lockstep %s\nlibrdkafka %s\nlibpq %s\ncompiler %s\nfailpoints %s\n",
	       LS_VERSION, ls_kafka_library_version(), libpq, COMPILER, FAILPOINTS);
	return LS_EXIT_DONE;
}

extern const struct ls_command ls_command_version;
const struct ls_command ls_command_version = {
	.name = "version",
	.arguments = "[--json]",
	.summary = "version and libraries",
	.help = "  --json  as JSON\n",
	.no_config = true,
	.run = version,
};
