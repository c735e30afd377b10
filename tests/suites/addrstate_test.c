// SPDX-License-Identifier: MIT
/*
 * The six public moves, on the machine's own memory: what leads where, and that
 * what is refused changes nothing: the whole walk is compared, byte for byte.
 *
 * Each case takes Reserved memory in some shape (whole chunks, frames of one,
 * across chunks, across arenas) and leaves it Reserved.
 */
#include <kernel/task.h>
#include <spanheap/page.h>
#include <spanheap/stats.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "mm/addrstate.h"
#include "state_fixture.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE

static struct walk_table before, after;

/* ---- Shapes of ranges ---- */

/* The range lies at @first from a multiple of @align; the area around it is Reserved too. */
struct shape {
	const char *name;
	uint64_t align, area, first, size;
};

static const struct shape shapes[] = {
	{ "a chunk", C, C, 0, C },
	{ "first frame", C, C, 0, F },
	{ "last frame", C, C, C - F, F },
	{ "frames 31 and 32", C, C, 31 * F, 2 * F },
	{ "all but one frame", C, C, F, C - F },
	{ "three chunks", C, 3 * C, 0, 3 * C },
	{ "across two chunks", C, 2 * C, C - 3 * F, 7 * F },
	{ "end of one, a whole, start of one", C, 3 * C, C - F, C + 2 * F },
	{ "across two arenas", ARENA_SIZE, 2 * C, ARENA_SIZE - F, 2 * F },
	{ "chunks of two arenas", ARENA_SIZE, 4 * C, ARENA_SIZE - C - 5 * F, 2 * C + 9 * F },
};

static void describe_shape(const struct shape *shape, char *desc)
{
	memcpy(desc, shape->name, strlen(shape->name) + 1);
}

KUNIT_ARRAY_PARAM(shape, shapes, describe_shape)

/* Where the shape fits; skips the case if it fits nowhere. */
static phys_addr_t place(struct kunit *test, const struct shape *s)
{
	uint64_t area_first = round_down(s->first, C);
	phys_addr_t area = state_find(s->area, s->align, area_first % s->align);

	if (!area)
		kunit_skip(test, "no Reserved memory for: %s", s->name);
	return area + (s->first - area_first);
}

static void expect_unchanged(struct kunit *test, const char *what)
{
	walk_save(&after);
	KUNIT_EXPECT_TRUE_MSG(test, walk_same(test, &before, &after), "%s", what);
}

/* ---- Every move from every state ---- */

static void moves_from_each_state(struct kunit *test)
{
	const struct shape *s = test->param_value;
	phys_addr_t base = place(test, s);

	for (unsigned from = MEM_NONE; from <= MEM_READY; from++) {
		for (unsigned m = 0; m < STATE_MOVES; m++) {
			const char *name = state_move_name((enum state_move)m);
			int to = state_after((enum state_move)m, (enum mem_state)from);
			int err;

			KUNIT_ASSERT_EQ(
				test,
				state_bring(base, s->size, MEM_RESERVED, (enum mem_state)from), 0);
			KUNIT_ASSERT_TRUE(test, state_all(base, s->size, (enum mem_state)from));
			walk_save(&before);
			err = state_move((enum state_move)m, base, s->size);
			KUNIT_EXPECT_EQ_MSG(test, err, to < 0 ? -EBUSY : 0, "%s from %s", name,
					    state_name((enum mem_state)from));
			if (err)
				expect_unchanged(test, name);
			else
				KUNIT_EXPECT_TRUE_MSG(
					test, state_all(base, s->size, (enum mem_state)to),
					"%s from %s", name, state_name((enum mem_state)from));
			KUNIT_ASSERT_EQ(
				test, state_bring(base, s->size, mem_state(base), MEM_RESERVED), 0);
		}
	}
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* Two halves in two states: allowed only if the move starts from both. */
static void moves_of_two_halves(struct kunit *test)
{
	const struct shape *s = test->param_value;
	phys_addr_t base = place(test, s), mid = base + round_down(s->size / 2, F);
	phys_addr_t end = base + s->size;

	if (mid == base)
		kunit_skip(test, "a single frame has no halves");
	for (unsigned pair = 0; pair < 16; pair++) {
		enum mem_state a = (enum mem_state)(pair / 4), b = (enum mem_state)(pair % 4);

		for (unsigned m = 0; m < STATE_MOVES; m++) {
			bool legal = state_after((enum state_move)m, a) >= 0 &&
				     state_after((enum state_move)m, b) >= 0;
			int err;

			KUNIT_ASSERT_EQ(test, state_bring(base, mid - base, MEM_RESERVED, a), 0);
			KUNIT_ASSERT_EQ(test, state_bring(mid, end - mid, MEM_RESERVED, b), 0);
			walk_save(&before);
			err = state_move((enum state_move)m, base, s->size);
			KUNIT_EXPECT_EQ_MSG(test, err, legal ? 0 : -EBUSY, "%s from %s and %s",
					    state_move_name((enum state_move)m), state_name(a),
					    state_name(b));
			if (err)
				expect_unchanged(test, state_move_name((enum state_move)m));
			KUNIT_ASSERT_EQ(
				test, state_bring(base, mid - base, mem_state(base), MEM_RESERVED),
				0);
			KUNIT_ASSERT_EQ(
				test, state_bring(mid, end - mid, mem_state(mid), MEM_RESERVED), 0);
		}
	}
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* The longest way, there and back, several times. */
static void round_trips(struct kunit *test)
{
	const struct shape *s = test->param_value;
	phys_addr_t base = place(test, s);

	walk_save(&before);
	for (unsigned round = 0; round < 3; round++) {
		KUNIT_ASSERT_EQ(test, mem_release(base, s->size), 0);
		KUNIT_ASSERT_EQ(test, mem_reserve(base, s->size), 0);
		KUNIT_ASSERT_EQ(test, mem_map(base, s->size), 0);
		KUNIT_ASSERT_EQ(test, mem_used(base, s->size), 0);
		memset(phys_to_virt(base), 0x5a, s->size);
		KUNIT_ASSERT_EQ(test, mem_unused(base, s->size), 0);
		KUNIT_ASSERT_EQ(test, mem_used(base, s->size), 0);
		memset(phys_to_virt(base), 0xa5, s->size);
		KUNIT_ASSERT_EQ(test, mem_release(base, s->size), 0);
		KUNIT_ASSERT_EQ(test, mem_reserve(base, s->size), 0);
		expect_unchanged(test, s->name);
	}
}

/* ---- Ranges that no move takes ---- */

static void expect_all_refuse(struct kunit *test, const char *what, phys_addr_t base, uint64_t size,
			      int reserve_err, int err)
{
	for (unsigned m = 0; m < STATE_MOVES; m++) {
		walk_save(&before);
		KUNIT_EXPECT_EQ_MSG(test, state_move((enum state_move)m, base, size),
				    m == DO_RESERVE ? reserve_err : err, "%s: %s", what,
				    state_move_name((enum state_move)m));
		expect_unchanged(test, what);
	}
}

static void refuses_bad_ranges(struct kunit *test)
{
	phys_addr_t base = state_find(2 * C, C, 0), limit = PFN_LIMIT << FRAME_SHIFT;
	const struct {
		const char *name;
		phys_addr_t base;
		uint64_t size;
	} rows[] = {
		{ "empty", base, 0 },
		{ "unaligned base", base + 1, F },
		{ "unaligned base, by half a frame", base + F / 2, C },
		{ "unaligned size", base, F + 1 },
		{ "less than a frame", base, F - 1 },
		{ "unaligned both, aligned end", base + 8, F - 8 },
		{ "wraps to 0", base, 0 - base },
		{ "wraps", base, 0 - (uint64_t)F },
		{ "wraps from the last frame", 0 - (uint64_t)F, 2 * F },
		{ "everything", 0, 0 - (uint64_t)F },
		{ "half of everything", 0, 1ULL << 63 },
		{ "starts at the limit", limit, F },
		{ "ends above the limit", limit - F, 2 * F },
		{ "far above the limit", limit << 4, C },
	};

	KUNIT_ASSERT_NE(test, base, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		expect_all_refuse(test, rows[i].name, rows[i].base, rows[i].size, -EINVAL, -EINVAL);
	KUNIT_EXPECT_TRUE(test, state_all(base, 2 * C, MEM_RESERVED));
}

static int last_of_ram(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	(void)s;
	*(phys_addr_t *)arg = base + size;
	return 0;
}

/* What is no RAM is None for ever. */
static void refuses_what_is_no_ram(struct kunit *test)
{
	phys_addr_t end = 0, limit = PFN_LIMIT << FRAME_SHIFT;

	mem_walk(last_of_ram, &end);
	KUNIT_ASSERT_NE(test, end, 0);
	if (end >= limit)
		kunit_skip(test, "RAM up to the last address");
	expect_all_refuse(test, "above all RAM", end, F, -EINVAL, -EBUSY);
	expect_all_refuse(test, "last address", limit - F, F, -EINVAL, -EBUSY);
	/* So much that feeding the metadata for it would take all there is. */
	expect_all_refuse(test, "all addresses", 0, limit, -EINVAL, -EBUSY);
	expect_all_refuse(test, "half RAM", end - F, 2 * F, -EINVAL, -EBUSY);
	expect_all_refuse(test, "from RAM to the limit", end - F, limit - (end - F), -EINVAL,
			  -EBUSY);
}

/* RAM that memblock kept back or gave away never moves. */
static void refuses_boot_memory(struct kunit *test)
{
	struct ram_range r;
	unsigned seen = 0;

	for (phys_addr_t at = 0; memmap_range(&main_map, at, &r); at = r.base + r.size) {
		if (r.use == MEM_USE_FREE)
			continue;
		seen++;
		expect_all_refuse(test, "a frame of the boot", r.base, F, -EINVAL, -EBUSY);
		expect_all_refuse(test, "all of the boot's", r.base, r.size, -EINVAL, -EBUSY);
	}
	KUNIT_EXPECT_GT(test, seen, 0);
}

/* Memory of the page heap, and Reserved frames in chunks that are not ours. */
static void refuses_heap_memory(struct kunit *test)
{
	void *page = alloc_pages_exact(F, GFP_KERNEL);
	phys_addr_t pa = virt_to_phys(page), chunk = round_down(pa, C);
	phys_addr_t free = state_find(2 * C, C, 0);

	KUNIT_ASSERT_NOT_NULL(test, page);
	memset(page, 0x77, F);
	expect_all_refuse(test, "a frame of the heap", pa, F, -EBUSY, -EBUSY);
	for (phys_addr_t at = chunk; at < chunk + C; at += F)
		if (memmap_is_ram(&main_map, at, F) && mem_state(at) == MEM_RESERVED)
			KUNIT_EXPECT_EQ(test, mem_map(at, F), -EBUSY);
	KUNIT_EXPECT_EQ(test, mem_state(pa), MEM_READY);
	for (unsigned i = 0; i < F; i++)
		KUNIT_ASSERT_EQ(test, ((uint8_t *)page)[i], 0x77);
	free_pages_exact(page, F);
	/* Still the heap's when the frame is free. */
	expect_all_refuse(test, "a free frame of the heap", pa, F, -EBUSY, -EBUSY);
	KUNIT_ASSERT_NE(test, free, 0);
	KUNIT_EXPECT_TRUE(test, state_all(free, 2 * C, MEM_RESERVED));
}

/* The memory that metadata was made of. */
static void refuses_metadata(struct kunit *test)
{
	for (unsigned node = 0; node < PORT_MAX_NODES; node++) {
		const struct meta_pool *pool = &main_map.pool[node];
		phys_addr_t pa = round_down(virt_to_phys((void *)(pool->hi - 1)), F);

		if (!pool->hi)
			continue;
		KUNIT_EXPECT_EQ(test, mem_state(pa), MEM_READY);
		for (unsigned m = DO_MAP; m < STATE_MOVES; m++) {
			walk_save(&before);
			KUNIT_EXPECT_EQ(test, state_move((enum state_move)m, pa, F), -EBUSY);
			expect_unchanged(test, state_move_name((enum state_move)m));
		}
	}
}

/* ---- Who owns a chunk ---- */

/* A chunk is the caller's while a frame of it is Prepared or Ready, and then anybody's. */
static void chunk_returns_to_the_heap(struct kunit *test)
{
	static const enum state_move ways[] = { DO_FAULT, DO_RELEASE };
	phys_addr_t base = state_find(C, C, 0);
	void *page;

	KUNIT_ASSERT_NE(test, base, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		KUNIT_ASSERT_EQ(test, mem_map(base, F), 0);
		page = page_alloc_range(1, 0, base + F, base + C, GFP_KERNEL);
		KUNIT_EXPECT_NULL_MSG(test, page, "the heap took a frame of the caller's chunk");
		free_pages_exact(page, F);
		KUNIT_ASSERT_EQ(test, state_move(ways[i], base, F), 0);
		KUNIT_EXPECT_EQ(test, mem_map(base + F, F), 0);
		KUNIT_EXPECT_EQ(test, mem_fault(base + F, F), 0);
		if (ways[i] == DO_RELEASE)
			KUNIT_EXPECT_EQ(test, mem_reserve(base, F), 0);
	}
	/* The rest of the chunk may be used by the heap though one frame of it is None. */
	KUNIT_ASSERT_EQ(test, mem_release(base, F), 0);
	page = page_alloc_range(1, 0, base, base + C, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, virt_to_phys(page), base + F);
	free_pages_exact(page, F);
	/* That chunk is the heap's now: its None frame can come back for the heap alone. */
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static struct kunit_case addrstate_cases[] = {
	KUNIT_CASE_PARAM(moves_from_each_state, shape_gen_params),
	KUNIT_CASE_PARAM(moves_of_two_halves, shape_gen_params),
	KUNIT_CASE_PARAM(round_trips, shape_gen_params),
	KUNIT_CASE(refuses_bad_ranges),
	KUNIT_CASE(refuses_what_is_no_ram),
	KUNIT_CASE(refuses_boot_memory),
	KUNIT_CASE(refuses_heap_memory),
	KUNIT_CASE(refuses_metadata),
	KUNIT_CASE(chunk_returns_to_the_heap),
	{},
};

static struct kunit_suite addrstate_suite = {
	.name = "addrstate",
	.test_cases = addrstate_cases,
};
kunit_test_suite(addrstate_suite);
