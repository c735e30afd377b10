/* SPDX-License-Identifier: MIT */
/*
 * Looking at the machine's memory map from outside: the whole walk as a table
 * that can be compared, Reserved memory to play with, and what the metadata
 * pools have given out.
 */
#ifndef TESTS_STATE_FIXTURE_H
#define TESTS_STATE_FIXTURE_H

#include <kunit/test.h>
#include <spanheap/state.h>

#include "mm/memmap.h"

#define WALK_MAX 1024

struct walk_run {
	phys_addr_t base;
	uint64_t size;
	enum mem_state state;
};

struct walk_table {
	unsigned n, lost; /* lost: runs that found no place */
	struct walk_run run[WALK_MAX];
};

/** enum state_move - the public moves, for tables. */
enum state_move { DO_RESERVE, DO_MAP, DO_USED, DO_UNUSED, DO_FAULT, DO_RELEASE, STATE_MOVES };

/** state_move() - call one of the six. */
int state_move(enum state_move move, phys_addr_t base, uint64_t size);

/** state_move_name() - "mem_reserve". */
const char *state_move_name(enum state_move move);

/** state_name() - "Reserved". */
const char *state_name(enum mem_state state);

/** state_after() - where the move leads from a state; -1 if it does not start there. */
int state_after(enum state_move move, enum mem_state from);

/** walk_save() - all of mem_walk() as a table. */
void walk_save(struct walk_table *table);

/** walk_same() - byte for byte; logs the first difference. */
bool walk_same(struct kunit *test, const struct walk_table *a, const struct walk_table *b);

/**
 * state_find() - Reserved memory in the middle of the longest run that has it.
 * @align: of the base, a power of two
 * @offset: the base is a multiple of @align plus this
 *
 * Return: base; 0 if there is none.
 */
phys_addr_t state_find(uint64_t size, uint64_t align, uint64_t offset);

/** state_bring() - Reserved or None memory into a state, by the legal way. Return: 0 or errno. */
int state_bring(phys_addr_t base, uint64_t size, enum mem_state from, enum mem_state to);

/** state_all() - true if every frame of the range has this state by mem_state(). */
bool state_all(phys_addr_t base, uint64_t size, enum mem_state state);

/* Records in use, by kind, of all nodes. */
struct meta_count {
	size_t used[META_KINDS], held;
};

struct meta_count meta_count(void);

#endif
