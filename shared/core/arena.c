/* Bump allocation over a chain of blocks. Blocks grow with use, so a small batch costs one. */
#include "core/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Under AddressSanitizer memory of a reset arena is poisoned: a view kept past its batch is caught where it is used. */
#if defined(__SANITIZE_ADDRESS__)
#define LS_ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LS_ARENA_POISON 1
#endif
#endif
#ifdef LS_ARENA_POISON
#include <sanitizer/asan_interface.h>
#define POISON(ptr, len)   ASAN_POISON_MEMORY_REGION((ptr), (len))
#define UNPOISON(ptr, len) ASAN_UNPOISON_MEMORY_REGION((ptr), (len))
#else
#define POISON(ptr, len)   ((void)0)
#define UNPOISON(ptr, len) ((void)0)
#endif

enum { ALIGN = 16, FIRST_BLOCK = 16 << 10, LARGEST_BLOCK = 1 << 20, KEEP = 1 << 20 };

struct block {
	struct block *next;
	size_t room, used;
	_Alignas(ALIGN) char bytes[];
};

struct ls_arena {
	struct block *first, *last; /* allocation goes on in `last`; blocks after it are spare */
	size_t used, max;
};

static _Noreturn void out_of_memory(const char *what)
{
	fprintf(stderr, "lockstep: %s\n", what);
	abort();
}

static struct block *block_new(size_t room)
{
	struct block *block = malloc(sizeof(*block) + room);

	if (!block)
		out_of_memory("out of memory");
	*block = (struct block){ .room = room };
	POISON(block->bytes, room);
	return block;
}

static void block_free(struct block *block)
{
	UNPOISON(block->bytes, block->room);
	free(block);
}

struct ls_arena *ls_arena_new(size_t max_bytes)
{
	struct ls_arena *arena = malloc(sizeof(*arena));

	if (!arena)
		out_of_memory("out of memory");
	*arena = (struct ls_arena){ .max = max_bytes ? max_bytes : (size_t)1 << 30 };
	return arena;
}

static void free_from(struct block *block)
{
	while (block) {
		struct block *next = block->next;

		block_free(block);
		block = next;
	}
}

struct ls_arena *ls_arena_free(struct ls_arena *arena)
{
	if (arena)
		free_from(arena->first);
	free(arena);
	return NULL;
}

void ls_arena_reset(struct ls_arena *arena)
{
	struct block **link = &arena->first;
	size_t kept = 0;

	while (*link) {
		struct block *block = *link;

		if (block->room > KEEP - kept) {
			*link = block->next;
			block_free(block);
			continue;
		}
		kept += block->room;
		block->used = 0;
		POISON(block->bytes, block->room);
		link = &block->next;
	}
	arena->last = arena->first;
	arena->used = 0;
}

/* Makes `last` a block with room for `bytes`: the spare one behind it when it is large enough, else a new one. */
static void next_block(struct ls_arena *arena, size_t bytes)
{
	struct block *last = arena->last, *spare = last ? last->next : NULL, *block;
	size_t room = last ? last->room * 2 : FIRST_BLOCK;

	if (spare && spare->room >= bytes) {
		arena->last = spare;
		return;
	}
	if (room > LARGEST_BLOCK)
		room = LARGEST_BLOCK;
	block = block_new(room < bytes ? bytes : room);
	block->next = spare;
	if (last)
		last->next = block;
	else
		arena->first = block;
	arena->last = block;
}

static char *take(struct ls_arena *arena, size_t bytes, size_t align)
{
	struct block *block = arena->last;
	size_t pad = block ? (align - block->used % align) % align : 0;
	char *ptr;

	if (bytes > arena->max - arena->used || pad > arena->max - arena->used - bytes)
		out_of_memory("a batch passed the ceiling of its memory");
	if (!block || pad > block->room - block->used || bytes > block->room - block->used - pad) {
		next_block(arena, bytes);
		block = arena->last;
		pad = 0;
	}
	ptr = block->bytes + block->used + pad;
	block->used += pad + bytes;
	arena->used += pad + bytes;
	UNPOISON(ptr, bytes);
	return ptr;
}

void *ls_arena_alloc(struct ls_arena *arena, size_t bytes)
{
	return take(arena, bytes, ALIGN);
}

void *ls_arena_zalloc(struct ls_arena *arena, size_t bytes)
{
	return memset(take(arena, bytes, ALIGN), 0, bytes);
}

char *ls_arena_bytes(struct ls_arena *arena, size_t bytes)
{
	return take(arena, bytes, 1);
}

size_t ls_arena_used(const struct ls_arena *arena)
{
	return arena->used;
}

/* What one more request of any kind may ask for: the padding it may cost is taken off. */
size_t ls_arena_left(const struct ls_arena *arena)
{
	size_t left = arena->max - arena->used;

	return left > ALIGN ? left - ALIGN : 0;
}

struct ls_str ls_arena_str(struct ls_arena *arena, struct ls_str text)
{
	char *copy = ls_arena_bytes(arena, text.len + 1);

	if (text.len)
		memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	return (struct ls_str){ copy, text.len };
}

struct ls_str ls_arena_printf(struct ls_arena *arena, const char *fmt, ...)
{
	va_list args;
	char *out;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	assert(len >= 0);
	out = ls_arena_bytes(arena, (size_t)len + 1);
	va_start(args, fmt);
	vsnprintf(out, (size_t)len + 1, fmt, args);
	va_end(args);
	return (struct ls_str){ out, (size_t)len };
}
