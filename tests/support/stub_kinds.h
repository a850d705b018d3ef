/* Kinds with option tables and nothing behind them, for tests of the configuration. */
#pragma once

#include "lockstep/destination.h"
#include "lockstep/source.h"

struct stub_options {
	char *url, *schema;
	int64_t connections, wait_ms;
	bool fast;
	int mode;
};

static const struct ls_option stub_option[] = {
	{ "url", LS_OPT_SECRET, NULL, offsetof(struct stub_options, url), "where the database is", 0, 0, NULL, NULL },
	{ "schema", LS_OPT_STRING, "public", offsetof(struct stub_options, schema), "a schema", 0, 0, NULL, NULL },
	{ "connections", LS_OPT_INT, "4", offsetof(struct stub_options, connections), "how many", 1, 16, NULL, NULL },
	{ "wait", LS_OPT_DURATION, "10s", offsetof(struct stub_options, wait_ms), "how long", 1000, 60000, NULL, "s" },
	{ "fast", LS_OPT_BOOL, "false", offsetof(struct stub_options, fast), "go faster", 0, 0, NULL, NULL },
	{ "mode", LS_OPT_CHOICE, "calm", offsetof(struct stub_options, mode), "how", 0, 0, "calm|brisk|wild", NULL },
};

static const struct ls_source_ops stub_source = {
	.kind = "postgres",
	.summary = "a stub",
	.options = stub_option,
	.option_count = sizeof stub_option / sizeof stub_option[0],
	.options_size = sizeof(struct stub_options),
};

static const struct ls_destination_ops stub_destination = {
	.kind = "postgres",
	.summary = "a stub",
	.options = stub_option,
	.option_count = sizeof stub_option / sizeof stub_option[0],
	.options_size = sizeof(struct stub_options),
};

static const struct ls_source_ops *const stub_sources[] = { &stub_source, NULL };
static const struct ls_destination_ops *const stub_destinations[] = { &stub_destination, NULL };
