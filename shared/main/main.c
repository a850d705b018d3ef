/* lockstep: global flags, the configuration, and the one subcommand. */
#include "main/app.h"
#include "main/commands.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* The leak check of a sanitized build traces its own process. */
#if defined(__SANITIZE_ADDRESS__)
#define LEAK_CHECK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAK_CHECK 1
#endif
#endif
#ifndef LEAK_CHECK
#define LEAK_CHECK 0
#endif

struct flags {
	const char *config;
	bool log_json, json, help, version;
	enum ls_log_level level;
};

static bool parse_level(const char *text, enum ls_log_level *ret)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum ls_log_level)i;
			return true;
		}
	fprintf(stderr, "lockstep: --log-level is one of debug, info, warn, error\n");
	return false;
}

static bool parse_format(const char *text, bool *ret_json)
{
	*ret_json = strcmp(text, "json") == 0;
	if (*ret_json || strcmp(text, "logfmt") == 0)
		return true;
	fprintf(stderr, "lockstep: --log-format is logfmt or json\n");
	return false;
}

/* Returns false when the usage was wrong and stderr says so. */
static bool parse_flags(int argc, char **argv, struct flags *ret)
{
	enum { FORMAT = 256, LEVEL, JSON, VERSION };
	static const struct option flags[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "log-format", required_argument, NULL, FORMAT },
		{ "log-level", required_argument, NULL, LEVEL },
		{ "json", no_argument, NULL, JSON },
		{ "version", no_argument, NULL, VERSION },
		{ NULL, 0, NULL, 0 },
	};
	bool fine = true;
	int flag;

	while (fine && (flag = getopt_long(argc, argv, "+c:h", flags, NULL)) != -1) {
		if (flag == 'c')
			ret->config = optarg;
		else if (flag == 'h')
			ret->help = true;
		else if (flag == JSON)
			ret->json = true;
		else if (flag == VERSION)
			ret->version = true;
		else if (flag == FORMAT)
			fine = parse_format(optarg, &ret->log_json);
		else
			fine = flag == LEVEL && parse_level(optarg, &ret->level);
	}
	return fine;
}

/* Connections, sockets of every broker and the version state of every partition: a table more must not run into the
 * soft limit that login shells set. */
static void allow_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* A core file would hold every password of the configuration, also the copies of libpq and librdkafka. Called after the
 * configuration was read, because /proc/self/fd is closed to an ordinary user from here on. */
static void forbid_core_files(void)
{
	const struct rlimit none = { 0, 0 };
	const char *wanted = getenv("LOCKSTEP_CORE");

	if (wanted && strcmp(wanted, "1") == 0)
		return;
	(void)setrlimit(RLIMIT_CORE, &none);
	if (!LEAK_CHECK)
		(void)prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L);
}

static const char *config_file(const struct flags *flags)
{
	const char *environment = getenv("LOCKSTEP_CONFIG");

	if (flags->config)
		return flags->config;
	return environment && environment[0] ? environment : "lockstep.yaml";
}

/* Mistakes go out as a compiler writes them, so that editors can jump to each. */
static enum ls_exit load_config(struct ls_app *app, const struct flags *flags, struct ls_config **ret)
{
	struct ls_error err;
	char *more = NULL;
	enum ls_class class;

	class = ls_config_load(config_file(flags), ls_source_kinds(), ls_destination_kinds(), ret, &more, &err);
	if (class) {
		fprintf(stderr, "%s\n%s", err.text, more ? more : "");
		free(more);
		return LS_EXIT_CONFIG;
	}
	app->config = *ret;
	for (const char *const *secret = (*ret)->secret; *secret; secret++)
		ls_log_secret(app->log, *secret);
	forbid_core_files();
	return LS_EXIT_DONE;
}

static bool asks_for_help(int argc, char **argv)
{
	return argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
}

static enum ls_exit run_command(const struct ls_command *command, const struct flags *flags, int argc, char **argv)
{
	struct ls_app app = { .json = flags->json };
	struct ls_config *config = NULL;
	enum ls_exit code = LS_EXIT_DONE;

	pthread_mutex_init(&app.lock, NULL);
	app.log = ls_log_new(STDERR_FILENO, flags->log_json, flags->level);
	app.stats = ls_stats_new();
	if (!command->no_config)
		code = load_config(&app, flags, &config);
	optind = 0; /* glibc: begin anew with the command's own argv */
	if (code == LS_EXIT_DONE)
		code = command->run(&app, argc, argv);
	if (app.schemas)
		ls_schemas_free(app.schemas);
	ls_config_free(config);
	ls_stats_free(app.stats);
	ls_log_free(app.log);
	pthread_mutex_destroy(&app.lock);
	if (fflush(stdout) != 0 && code == LS_EXIT_DONE)
		code = LS_EXIT_FAILED;
	return code;
}

int main(int argc, char **argv)
{
	struct flags flags = { .level = LS_LOG_INFO };
	const struct ls_command *command;
	char *version[] = { (char *)"version", NULL };

	signal(SIGPIPE, SIG_IGN);
	allow_files();
	if (!parse_flags(argc, argv, &flags))
		return LS_EXIT_USAGE;
	if (flags.version)
		return (int)run_command(ls_command_find("version"), &flags, 1, version);
	if (flags.help || optind == argc) {
		ls_help_overview(flags.help ? stdout : stderr);
		return flags.help ? LS_EXIT_DONE : LS_EXIT_USAGE;
	}
	command = ls_command_find(argv[optind]);
	if (!command)
		return LS_EXIT_USAGE;
	argc -= optind;
	argv += optind;
	if (asks_for_help(argc, argv)) {
		ls_help_command(command, stdout);
		return LS_EXIT_DONE;
	}
	return (int)run_command(command, &flags, argc, argv);
}
