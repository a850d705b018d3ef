/* Fibers by ucontext, made known to AddressSanitizer, which follows stacks: see sim_fiber.h. */
#include "sim_fiber.h"

#include <stdbool.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif

#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_BYTES = 512 << 10 };

struct sim_fiber {
	ucontext_t inside, outside;
	jmp_buf inside_jump, outside_jump;
	bool begun;
	void (*work)(void *arg);
	void *arg;
	char *stack;
	void *fake_inside, *fake_outside; /* AddressSanitizer's own */
	const void *outside_bottom;
	size_t outside_bytes;
};

#ifdef FIBER_ASAN
static void leave(void **fake, const void *bottom, size_t bytes)
{
	__sanitizer_start_switch_fiber(fake, bottom, bytes);
}
#endif

static void arrive(struct sim_fiber *fiber, void *fake, bool inside)
{
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(fake, inside ? &fiber->outside_bottom : NULL,
					inside ? &fiber->outside_bytes : NULL);
#else
	(void)fiber, (void)fake, (void)inside;
#endif
}

/* makecontext passes ints: the pointer comes in two halves. */
static void begin(unsigned high, unsigned low)
{
	struct sim_fiber *fiber = (struct sim_fiber *)((uintptr_t)high << 32 | (uintptr_t)low);

	arrive(fiber, NULL, true);
	for (;;) {
		fiber->work(fiber->arg);
		sim_fiber_yield(fiber);
	}
}

struct sim_fiber *sim_fiber_new(void (*work)(void *arg), void *arg)
{
	struct sim_fiber *fiber = calloc(1, sizeof *fiber);

	if (!fiber || !(fiber->stack = malloc(STACK_BYTES)))
		abort();
	fiber->work = work;
	fiber->arg = arg;
	getcontext(&fiber->inside);
	fiber->inside.uc_stack.ss_sp = fiber->stack;
	fiber->inside.uc_stack.ss_size = STACK_BYTES;
	makecontext(&fiber->inside, (void (*)(void))begin, 2, (unsigned)((uintptr_t)fiber >> 32),
		    (unsigned)(uintptr_t)fiber);
	return fiber;
}

void sim_fiber_free(struct sim_fiber *fiber)
{
	if (!fiber)
		return;
	free(fiber->stack);
	free(fiber);
}

#ifdef FIBER_ASAN
void sim_fiber_resume(struct sim_fiber *fiber)
{
	leave(&fiber->fake_outside, fiber->stack, STACK_BYTES);
	swapcontext(&fiber->outside, &fiber->inside);
	arrive(fiber, fiber->fake_outside, false);
}

void sim_fiber_yield(struct sim_fiber *fiber)
{
	leave(&fiber->fake_inside, fiber->outside_bottom, fiber->outside_bytes);
	swapcontext(&fiber->inside, &fiber->outside);
	arrive(fiber, fiber->fake_inside, true);
}
#else
/* Once it has a stack, a jump is enough: swapcontext asks the kernel for the signal mask each time. */
void sim_fiber_resume(struct sim_fiber *fiber)
{
	if (_setjmp(fiber->outside_jump))
		return;
	if (fiber->begun)
		_longjmp(fiber->inside_jump, 1);
	fiber->begun = true;
	swapcontext(&fiber->outside, &fiber->inside);
}

void sim_fiber_yield(struct sim_fiber *fiber)
{
	if (!_setjmp(fiber->inside_jump))
		_longjmp(fiber->outside_jump, 1);
}
#endif
