// SPDX-License-Identifier: MIT
/* The memory map from outside; see state_fixture.h. */
#include "lib/string.h"
#include "state_fixture.h"

static const struct {
	const char *name;
	int (*fn)(phys_addr_t base, uint64_t size);
	int after[4];
} moves[STATE_MOVES] = {
	[DO_RESERVE] = { "mem_reserve", mem_reserve, { MEM_RESERVED, -1, -1, -1 } },
	[DO_MAP] = { "mem_map", mem_map, { -1, MEM_PREPARED, -1, -1 } },
	[DO_USED] = { "mem_used", mem_used, { -1, -1, MEM_READY, -1 } },
	[DO_UNUSED] = { "mem_unused", mem_unused, { -1, -1, -1, MEM_PREPARED } },
	[DO_FAULT] = { "mem_fault", mem_fault, { -1, -1, MEM_RESERVED, MEM_RESERVED } },
	[DO_RELEASE] = { "mem_release", mem_release, { -1, MEM_NONE, MEM_NONE, MEM_NONE } },
};

int state_move(enum state_move move, phys_addr_t base, uint64_t size)
{
	return moves[move].fn(base, size);
}

const char *state_move_name(enum state_move move)
{
	return moves[move].name;
}

const char *state_name(enum mem_state state)
{
	static const char *const names[] = { "None", "Reserved", "Prepared", "Ready" };

	return names[state];
}

int state_after(enum state_move move, enum mem_state from)
{
	return moves[move].after[from];
}

static int save_run(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	struct walk_table *table = arg;

	if (table->n < WALK_MAX)
		table->run[table->n++] = (struct walk_run){ base, size, s };
	else
		table->lost++;
	return 0;
}

void walk_save(struct walk_table *table)
{
	memset(table, 0, sizeof(*table));
	mem_walk(save_run, table);
}

bool walk_same(struct kunit *test, const struct walk_table *a, const struct walk_table *b)
{
	if (!memcmp(a, b, sizeof(*a)) && !a->lost)
		return true;
	for (unsigned i = 0; i < MAX(a->n, b->n); i++) {
		const struct walk_run *x = &a->run[i], *y = &b->run[i];

		if (!memcmp(x, y, sizeof(*x)))
			continue;
		kunit_info(test, "run %u: 0x%llx + 0x%llx %s, now 0x%llx + 0x%llx %s", i,
			   (unsigned long long)x->base, (unsigned long long)x->size,
			   state_name(x->state), (unsigned long long)y->base,
			   (unsigned long long)y->size, state_name(y->state));
		break;
	}
	return false;
}

struct find {
	uint64_t size, align, offset, longest;
	phys_addr_t found;
};

static int find_in_run(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	struct find *f = arg;
	phys_addr_t end = base + size, at;

	if (s != MEM_RESERVED || size < f->size || size <= f->longest)
		return 0;
	at = round_down(base + (size - f->size) / 2, f->align) + f->offset;
	if (at < base)
		at += f->align;
	if (at < base || at + f->size > end)
		return 0;
	f->longest = size;
	f->found = at;
	return 0;
}

phys_addr_t state_find(uint64_t size, uint64_t align, uint64_t offset)
{
	struct find f = { .size = size, .align = align, .offset = offset };

	mem_walk(find_in_run, &f);
	return f.found;
}

int state_bring(phys_addr_t base, uint64_t size, enum mem_state from, enum mem_state to)
{
	int err = 0;

	if (to == MEM_NONE)
		return from == MEM_NONE ? 0 : mem_release(base, size);
	if (from == MEM_NONE)
		err = mem_reserve(base, size);
	else if (from > to)
		err = mem_fault(base, size);
	if (!err && (from <= MEM_RESERVED || from > to) && to >= MEM_PREPARED)
		err = mem_map(base, size);
	if (!err && to == MEM_READY && from != MEM_READY)
		err = mem_used(base, size);
	return err;
}

bool state_all(phys_addr_t base, uint64_t size, enum mem_state state)
{
	for (phys_addr_t at = base; at < base + size; at += FRAME_SIZE)
		if (mem_state(at) != state)
			return false;
	return true;
}

struct meta_count meta_count(void)
{
	struct meta_count c = { 0 };

	for (unsigned node = 0; node < PORT_MAX_NODES; node++) {
		c.held += main_map.pool[node].held;
		for (unsigned kind = 0; kind < META_KINDS; kind++)
			c.used[kind] += main_map.pool[node].used[kind];
	}
	return c;
}
