/* Making and unmaking the simulated world: configuration, schemas, and lanes as the product makes them. */
#include "sim.h"

#include "avro_store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct sim_tools *tools_new(void)
{
	struct sim_tools *tools = calloc(1, sizeof *tools);

	if (!tools)
		abort();
	tools->schemas = ls_schemas_new(&avro_store_new()->ops, NULL, "sim");
	tools->encoder = ls_encoder_new(tools->schemas);
	tools->decoder = __real_ls_decoder_new(tools->schemas);
	tools->codec = __real_ls_state_codec_new();
	tools->stats = ls_stats_new();
	tools->log = ls_log_new(getenv("LS_TEST_LOG") ? 2 : open("/dev/null", O_WRONLY | O_CLOEXEC), false,
				getenv("LS_TEST_LOG") ? LS_LOG_DEBUG : LS_LOG_ERROR);
	ls_buf_init(&tools->buf, 1 << 20);
	tools->column[0] = (struct ls_column){ LS_STR("id"), { .kind = LS_STRING }, true };
	tools->column[1] = (struct ls_column){ LS_STR("a"), { .kind = LS_STRING }, false };
	tools->column[2] = (struct ls_column){ LS_STR("b"), { .kind = LS_STRING }, false };
	tools->schema = (struct ls_schema){ LS_STR("thing"), tools->column, 3 };
	tools->key = LS_STR("id");
	tools->entity = (struct ls_entity_config){ "thing", &tools->key, 1 };
	tools->mapping =
		(struct ls_mapping){ .entity = "thing", .place = "things", .key = &tools->key, .key_count = 1 };
	tools->destination = (struct ls_destination_config){
		.name = "simulated",
		.ops = &sim_destination,
		.mapping = &tools->mapping,
		.mapping_count = 1,
		.batch_size = SIM_BATCH,
		.concurrency = 1,
		.retry_initial_ms = 100,
		.retry_max_ms = 100,
		.breaker_failures = 1000,
		.breaker_cooldown_ms = 200,
	};
	return tools;
}

static void lane_init(struct sim *sim, int number)
{
	struct sim_lane *lane = &sim->lane[number];
	struct sim_tools *tools = sim->tools;

	*lane = (struct sim_lane){ .sim = sim, .number = number, .host = number / 2 };
	lane->config = (struct ls_config){
		.file = "simulated.yaml",
		.prefix = (char *)(uintptr_t) "sim",
		.partitions = SIM_PARTITIONS,
		.replication_factor = 1,
		.state_dir = (char *)(uintptr_t) "/nowhere",
		.ledger_schema = (char *)(uintptr_t) "identity",
		.max_skew_ms = 300000,
		.max_event_bytes = 1 << 20,
		.entity = &tools->entity,
		.entity_count = 1,
		.destination = &tools->destination,
		.destination_count = 1,
	};
	lane->app = (struct ls_app){
		.config = &lane->config, .log = tools->log, .stats = tools->stats, .schemas = tools->schemas
	};
	lane->lane = ls_sink_lane_new(&lane->app, &tools->destination, number);
	lane->fiber = sim_fiber_new(sim_lane_work, lane);
}

struct sim *sim_new(void)
{
	struct sim *sim = calloc(1, sizeof *sim);

	if (!sim)
		abort();
	sim->tools = tools_new();
	sim->arena = ls_arena_new(0);
	sim_name_logs(sim);
	for (int i = 0; i < SIM_LANES; i++)
		lane_init(sim, i);
	return sim;
}

static void tools_free(struct sim_tools *tools)
{
	ls_encoder_free(tools->encoder);
	__real_ls_decoder_free(tools->decoder);
	__real_ls_state_codec_free(tools->codec);
	ls_schemas_free(tools->schemas);
	ls_stats_free(tools->stats);
	ls_log_free(tools->log);
	ls_buf_release(&tools->buf);
	free(tools);
}

void sim_free(struct sim *sim)
{
	if (!sim)
		return;
	for (size_t i = 0; i < SIM_LANES; i++) {
		sim->lane[i].lane->base.free(&sim->lane[i].lane->base);
		sim_fiber_free(sim->lane[i].fiber);
	}
	for (size_t i = 0; i < SIM_TOPICS; i++)
		free(sim->events[i].record);
	for (size_t p = 0; p < SIM_PARTITIONS; p++)
		free(sim->versions[p].record);
	free(sim->letters.record);
	ls_arena_free(sim->arena);
	tools_free(sim->tools);
	free(sim);
}
