/* Named places where a test can make the process die, stop, fail or wait. Compiled out of release builds. */
#pragma once

#include "lockstep/error.h"

/* LOCKSTEP_FAILPOINT=name:action[:hit][,...]  action: kill | stop | error | delay=MS; hit: the Nth time, default 1,
 * an asterisk: every time. LS_FAILPOINT(name) does kill, stop and delay. LS_FAILPOINT_ERROR returns from the function
 * with an LS_RETRY error. Each says on stderr that it was reached: "failpoint NAME:ACTION at hit N". */
#ifdef LS_FAILPOINTS
enum ls_class ls_failpoint(const char *name, struct ls_error *err);
#define LS_FAILPOINT(name) ((void)ls_failpoint((name), NULL))
#define LS_FAILPOINT_ERROR(name, err)                                                                                  \
	do {                                                                                                           \
		enum ls_class failpoint_ = ls_failpoint((name), (err));                                                \
		if (failpoint_)                                                                                        \
			return failpoint_;                                                                             \
	} while (0)
#else
#define LS_FAILPOINT(name)            ((void)0)
#define LS_FAILPOINT_ERROR(name, err) ((void)0)
#endif
