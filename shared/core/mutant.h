/* Named places where a build for the judge's own test does the wrong thing, so that the judge is seen to find it. In
 * every other build they are the constant false. */
#pragma once

#include <stdbool.h>

/* LOCKSTEP_MUTANT=name[,...] in a build with -DLOCKSTEP_MUTANTS=ON; tests/chaos/mutants runs each. */
#ifdef LS_MUTANTS
bool ls_mutant(const char *name);
#define LS_MUTANT(name) ls_mutant(name)
#else
#define LS_MUTANT(name) false
#endif
