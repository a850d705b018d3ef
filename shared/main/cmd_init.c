/* lockstep init: a commented configuration to start from. */
#include "main/app.h"
#include "main/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char starter[] =
	"# lockstep: what is kept the same, where changes come from, where they go.\n"
	"# Two edits make it run: the two `url` lines. Then: lockstep check, lockstep run.\n"
	"# Every key: lockstep options. ${env:NAME} and ${file:/path} work in every value.\n"
	"\n"
	"kafka:\n"
	"  bootstrap.servers: 127.0.0.1:9092   # and any other property of librdkafka\n"
	"\n"
	"topics:\n"
	"  prefix: lockstep                    # first part of every topic's name\n"
	"  partitions: 6\n"
	"  replication_factor: 1               # 3 where there are three brokers\n"
	"\n"
	"state_dir: ./lockstep-state           # a local copy; losing it costs a restore, never data\n"
	"\n"
	"http:\n"
	"  listen: 127.0.0.1:8088              # /healthz /readyz /metrics /api/v1/status\n"
	"\n"
	"entities:\n"
	"  - name: contact\n"
	"    key: [id]                         # the fields that identify one\n"
	"\n"
	"sources:\n"
	"  - name: crm\n"
	"    type: postgres                    # needs wal_level = logical\n"
	"    url: \"postgresql://USER:PASSWORD@127.0.0.1:5432/crm\"            # edit 1; or \"${env:CRM_URL}\"\n"
	"    tables:\n"
	"      - {table: public.contacts, entity: contact}\n"
	"\n"
	"destinations:\n"
	"  - name: warehouse\n"
	"    type: postgres\n"
	"    url: \"postgresql://USER:PASSWORD@127.0.0.1:5432/warehouse\"      # edit 2; or \"${env:WAREHOUSE_URL}\"\n"
	"    tables:\n"
	"      - {entity: contact, table: public.contacts}   # created when it is not there\n"
	"    ledger: full                      # full: every event id is kept; offsets: only the positions\n"
	"    conflict: last_write_wins\n";

const char *ls_init_text(void)
{
	return starter;
}

/* The file may come to hold passwords: its owner alone may read it. */
static enum ls_exit write_file(const char *path, bool force)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL), 0600);
	ssize_t written;

	if (fd < 0 && errno == EEXIST) {
		fprintf(stderr, "lockstep: %s is there already; --force writes over it, `init -` prints the text\n",
			path);
		return LS_EXIT_FAILED;
	}
	if (fd < 0) {
		fprintf(stderr, "lockstep: %s cannot be written: %s\n", path, strerror(errno));
		return LS_EXIT_FAILED;
	}
	written = write(fd, starter, sizeof starter - 1);
	if (close(fd) != 0 || written != (ssize_t)sizeof starter - 1) {
		fprintf(stderr, "lockstep: %s was not written whole: %s\n", path, strerror(errno));
		return LS_EXIT_FAILED;
	}
	fprintf(stderr, "%s is written. Edit its two url lines, then: lockstep -c %s check\n", path, path);
	return LS_EXIT_DONE;
}

static enum ls_exit init(struct ls_app *app, int argc, char **argv)
{
	static const struct option flags[] = { { "force", no_argument, NULL, 'f' }, { NULL, 0, NULL, 0 } };
	const char *path;
	bool force = false;
	int flag;

	(void)app;
	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (flag != 'f')
			return LS_EXIT_USAGE;
		force = true;
	}
	path = optind < argc ? argv[optind] : "lockstep.yaml";
	if (strcmp(path, "-") == 0)
		return fputs(starter, stdout) < 0 ? LS_EXIT_FAILED : LS_EXIT_DONE;
	return write_file(path, force);
}

extern const struct ls_command ls_command_init;
const struct ls_command ls_command_init = {
	.name = "init",
	.arguments = "[FILE | -] [--force]",
	.summary = "write a configuration to start from",
	.help = "  FILE     where to; lockstep.yaml unless given; - prints it\n"
		"  --force  write over a file that is there\n",
	.no_config = true,
	.run = init,
};
