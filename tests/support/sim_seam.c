/* What the lanes of the simulated world are told in place of what the machine would say: clocks, backoff, failpoints;
 * and where a mutant leaves a rule out. The linker puts __wrap_X where the product calls X, and X where we call
 * __real_X. */
#include "sim.h"

#include "core/failpoint.h"

static _Thread_local struct sim_lane *self;

struct sim_lane *sim_self(void)
{
	return self;
}

void sim_set_self(struct sim_lane *lane)
{
	self = lane;
}

int64_t __wrap_ls_monotonic_ms(void);
int64_t __wrap_ls_now_us(void);
int64_t __wrap_ls_backoff_next(struct ls_backoff *backoff);
void __wrap_ls_state_join(struct ls_state *into, const struct ls_state *other);
void __real_ls_state_join(struct ls_state *into, const struct ls_state *other);
enum ls_class __wrap_ls_part_fold(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err);
enum ls_class __real_ls_part_fold(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err);
enum ls_class __wrap_ls_sink_settle(struct ls_sink_lane *lane, struct ls_receipt *receipt, struct ls_error *err);
enum ls_class __wrap_ls_part_marker(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err);
enum ls_class __real_ls_part_marker(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err);
enum ls_class __wrap_ls_plan_make(struct ls_plan *plan, const struct ls_plan_input *input, struct ls_item *items,
				  size_t count, struct ls_error *err);
enum ls_class __real_ls_plan_make(struct ls_plan *plan, const struct ls_plan_input *input, struct ls_item *items,
				  size_t count, struct ls_error *err);
enum ls_class __real_ls_sink_settle(struct ls_sink_lane *lane, struct ls_receipt *receipt, struct ls_error *err);
struct ls_decoder *__wrap_ls_decoder_new(struct ls_schemas *schemas);
struct ls_decoder *__wrap_ls_decoder_free(struct ls_decoder *decoder);
struct ls_state_codec *__wrap_ls_state_codec_new(void);
struct ls_state_codec *__wrap_ls_state_codec_free(struct ls_state_codec *codec);

int64_t __wrap_ls_monotonic_ms(void)
{
	if (!self)
		return 0;
	/* A dead lane's time flies: what still waits in it gives up. */
	if (self->killed)
		self->late_ms += 1000;
	return self->sim->now_ms + self->late_ms;
}

int64_t __wrap_ls_now_us(void)
{
	return self ? self->sim->now_ms * 1000 : 0;
}

int64_t __wrap_ls_backoff_next(struct ls_backoff *backoff)
{
	return backoff->initial_ms;
}

void __wrap_ls_state_join(struct ls_state *into, const struct ls_state *other)
{
	if (self && self->sim->mutant == SIM_LAST_BY_OFFSET)
		*into = *other;
	else
		__real_ls_state_join(into, other);
}

enum ls_class __wrap_ls_part_fold(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err)
{
	if (self->sim->mutant != SIM_NO_FOLD)
		return __real_ls_part_fold(lane, part, err);
	part->phase = LS_PART_RUN;
	part->unit->folding--;
	return LS_OK;
}

enum ls_class __wrap_ls_sink_settle(struct ls_sink_lane *lane, struct ls_receipt *receipt, struct ls_error *err)
{
	return self->sim->mutant == SIM_LETTER_LATE ? LS_OK : __real_ls_sink_settle(lane, receipt, err);
}

enum ls_class __wrap_ls_part_marker(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err)
{
	if (self->sim->mutant == SIM_LATE_UNHEALED)
		part->unit->receipt.gap = false;
	return __real_ls_part_marker(lane, part, err);
}

enum ls_class __wrap_ls_plan_make(struct ls_plan *plan, const struct ls_plan_input *input, struct ls_item *items,
				  size_t count, struct ls_error *err)
{
	struct ls_plan_input changed = *input;

	if (self->sim->mutant == SIM_WINNER_ALONE)
		changed.floor = INT64_MAX;
	return __real_ls_plan_make(plan, &changed, items, count, err);
}

/* Decoders and codecs remember nothing of a history but schemas, and making them takes longer than a history. */
struct ls_decoder *__wrap_ls_decoder_new(struct ls_schemas *schemas)
{
	(void)schemas;
	return self->sim->tools->decoder;
}

struct ls_decoder *__wrap_ls_decoder_free(struct ls_decoder *decoder)
{
	(void)decoder;
	return NULL;
}

struct ls_state_codec *__wrap_ls_state_codec_new(void)
{
	return self->sim->tools->codec;
}

struct ls_state_codec *__wrap_ls_state_codec_free(struct ls_state_codec *codec)
{
	(void)codec;
	return NULL;
}

enum ls_class ls_failpoint(const char *name, struct ls_error *err)
{
	struct sim *sim = self->sim;

	if (sim_step(self))
		return err ? ls_fail(err, LS_FATAL, "dead", "dead at %s", name) : LS_OK;
	/* A partition may be given back wherever the group is served: no marker may then stand above what was sent. */
	if (!sim->calm && sim->chaos && strcmp(name, "sink.state_queued") == 0 && test_chance(&sim->seed, 30))
		ls_sink_drain(self->lane, 100);
	if (err && !sim->calm && sim->chaos && test_below(&sim->seed, 1000) < 5)
		return ls_fail(err, LS_RETRY, "failpoint", "%s answered with an error", name);
	return LS_OK;
}
