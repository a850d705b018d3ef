/* A stack of its own for code that is to be left in the middle and gone on with later. */
#pragma once

struct sim_fiber;

struct sim_fiber *sim_fiber_new(void (*work)(void *arg), void *arg);
void sim_fiber_free(struct sim_fiber *fiber);

/* sim_fiber_resume runs `work` from its beginning or from its last yield, until it yields or returns. */
void sim_fiber_resume(struct sim_fiber *fiber);
/* sim_fiber_yield goes back to whoever resumed the fiber; called from inside it. */
void sim_fiber_yield(struct sim_fiber *fiber);
