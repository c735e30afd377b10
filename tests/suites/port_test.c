// SPDX-License-Identifier: MIT
/*
 * The port against its contract in <spanheap/port.h>, on every port.
 *
 * Memory to play with is a chunk of the page heap's; it is mapped a second time
 * at the far end of the window, where nobody else maps anything. Frames for page
 * tables are part of the image. Tables stay when a mapping goes: the frames that
 * became tables are never used again, and a second run of the suite finds tables
 * in place.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>
#include <spanheap/port.h>
#include <spanheap/state.h>
#include "lib/bits.h"
#include "lib/spinlock.h"
#include "lib/string.h"

#define AREA_SIZE (32 * CHUNK_SIZE)
#define TABLE_FRAMES 32

static uint8_t table_frame[TABLE_FRAMES][FRAME_SIZE] __attribute__((aligned(4096)));
static struct port_pool tables;
static unsigned runs;
static uintptr_t area;
static phys_addr_t chunk;

static int note_chunk(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	phys_addr_t last = round_down(base + size, CHUNK_SIZE) - CHUNK_SIZE;

	if (s == MEM_RESERVED && base + size >= CHUNK_SIZE && last >= base)
		*(phys_addr_t *)arg = last;
	return 0;
}

static int port_suite_init(struct kunit_suite *suite)
{
	void *memory = page_alloc_range(CHUNK_FRAMES, CHUNK_SIZE, 0, ~(phys_addr_t)0, GFP_KERNEL);

	(void)suite;
	for (size_t i = 0; i < TABLE_FRAMES && !runs; i++)
		port_pool_give(&tables, table_frame[i]);
	runs++;
	if (!memory)
		return -ENOMEM;
	chunk = virt_to_phys(memory);
	return 0;
}

static void port_suite_exit(struct kunit_suite *suite)
{
	(void)suite;
	free_pages_exact(phys_to_virt(chunk), CHUNK_SIZE);
}

static uint8_t *direct_view(void)
{
	return (uint8_t *)((uintptr_t)PORT_DIRECT_BASE + (uintptr_t)chunk);
}

/* ---- Who runs this ---- */

struct sight {
	unsigned cpu;
	enum mm_context context;
	unsigned calls;
};

static void look(void *arg)
{
	struct sight *s = arg;

	s->cpu = port_cpu();
	s->context = port_context();
	s->calls++;
}

static void cpu_and_context(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, port_context(), MM_TASK);
	KUNIT_EXPECT_LT(test, port_cpu(), cpu_count());
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct sight task = { 0 }, irq = { 0 }, nmi = { 0 };
		struct task *t = task_start(cpu, look, &task, "look");

		KUNIT_ASSERT_NOT_NULL(test, t);
		task_join(t);
		run_in_irq(cpu, look, &irq);
		run_in_nmi(cpu, look, &nmi);
		KUNIT_EXPECT_EQ(test, task.cpu, cpu);
		KUNIT_EXPECT_EQ(test, task.context, MM_TASK);
		KUNIT_EXPECT_EQ(test, irq.cpu, cpu);
		KUNIT_EXPECT_EQ(test, irq.context, MM_IRQ);
		KUNIT_EXPECT_EQ(test, nmi.cpu, cpu);
		KUNIT_EXPECT_EQ(test, nmi.context, MM_NMI);
		KUNIT_EXPECT_EQ(test, task.calls + irq.calls + nmi.calls, 3);
	}
	KUNIT_EXPECT_EQ(test, port_context(), MM_TASK);
}

static void pins_and_irqs_nest(struct kunit *test)
{
	unsigned cpu = port_cpu();
	unsigned long outer, inner;

	port_pin();
	port_pin();
	outer = port_irq_save();
	inner = port_irq_save();
	port_irq_restore(inner);
	KUNIT_EXPECT_EQ(test, port_context(), MM_TASK);
	port_irq_restore(outer);
	port_unpin();
	KUNIT_EXPECT_EQ(test, port_cpu(), cpu);
	port_unpin();
}

static void clock_rises(struct kunit *test)
{
	uint64_t start = port_clock(), last = start;

	for (unsigned i = 0; i < 1000000 && last == start; i++) {
		uint64_t now = port_clock();

		KUNIT_ASSERT_GE(test, now, last);
		last = now;
	}
	KUNIT_EXPECT_GT(test, last, start);
}

/* ---- Other CPUs ---- */

static void run_on_every_cpu(struct kunit *test)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		for (unsigned c = 0; c < MM_NR_CONTEXTS; c++) {
			struct sight s = { 0 };

			KUNIT_EXPECT_EQ(test, port_run_on(cpu, (enum mm_context)c, look, &s), 0);
			KUNIT_EXPECT_EQ(test, s.calls, 1);
			KUNIT_EXPECT_EQ(test, s.cpu, cpu);
			KUNIT_EXPECT_EQ(test, s.context, c);
		}
	}
}

static void run_on_no_cpu(struct kunit *test)
{
	struct sight s = { 0 };

	if (cpu_count() < PORT_MAX_CPUS)
		KUNIT_EXPECT_EQ(test, port_run_on(cpu_count(), MM_TASK, look, &s), -ENOENT);
	KUNIT_EXPECT_EQ(test, port_run_on(PORT_MAX_CPUS, MM_IRQ, look, &s), -ENOENT);
	KUNIT_EXPECT_EQ(test, s.calls, 0);
}

#define RUN_ON_ROUNDS 200

struct caller {
	unsigned target;
	uint64_t wrong;
};

static void call_others(void *arg)
{
	struct caller *c = arg;

	for (unsigned i = 0; i < RUN_ON_ROUNDS; i++) {
		enum mm_context context = (enum mm_context)(i % MM_NR_CONTEXTS);
		struct sight s = { 0 };
		int err = port_run_on(c->target, context, look, &s);

		if (err || s.calls != 1 || s.cpu != c->target || s.context != context)
			c->wrong++;
	}
}

/* All CPUs ask in a ring, so that each waits and is waited for. */
static void run_on_each_other(struct kunit *test)
{
	static struct caller caller[PORT_MAX_CPUS];
	static struct task *task[PORT_MAX_CPUS];
	unsigned n = cpu_count();

	for (unsigned i = 0; i < n; i++) {
		caller[i] = (struct caller){ .target = (i + 1) % n };
		task[i] = task_start(i, call_others, &caller[i], "caller");
		KUNIT_EXPECT_NOT_NULL(test, task[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		if (task[i])
			task_join(task[i]);
		KUNIT_EXPECT_EQ(test, caller[i].wrong, 0);
	}
}

struct busy {
	uint32_t started, stop;
	uint64_t left, right, torn;
};

static void keep_busy(void *arg)
{
	struct busy *b = arg;

	atomic_store(&b->started, 1);
	while (!atomic_load(&b->stop)) {
		unsigned long flags = port_irq_save();

		*(volatile uint64_t *)&b->left += 1;
		*(volatile uint64_t *)&b->right += 1;
		port_irq_restore(flags);
	}
}

static void compare_sides(void *arg)
{
	struct busy *b = arg;

	b->torn += *(volatile uint64_t *)&b->left != *(volatile uint64_t *)&b->right;
}

/* Interrupts cut into a task that never yields, but not where it masked them. */
static void irq_respects_mask(struct kunit *test)
{
	struct busy b = { 0 };
	struct task *t;

	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	t = task_start(1, keep_busy, &b, "busy");
	KUNIT_ASSERT_NOT_NULL(test, t);
	while (!atomic_load(&b.started))
		port_relax();
	for (unsigned i = 0; i < 200; i++)
		run_in_irq(1, compare_sides, &b);
	atomic_store(&b.stop, 1);
	task_join(t);
	KUNIT_EXPECT_EQ(test, b.torn, 0);
	KUNIT_EXPECT_GT(test, b.left, 0);
}

/* ---- The window ---- */

/* Each case has an area of its own. */
static void use_window(struct kunit *test, size_t number)
{
	if (PORT_WINDOW_SIZE == 0 || !PORT_HAS_MMU)
		kunit_skip(test, "no MMU");
	area = PORT_WINDOW_BASE + PORT_WINDOW_SIZE - number * AREA_SIZE;
}

static void unmap_and_flush(struct kunit *test, uintptr_t va, size_t size)
{
	KUNIT_EXPECT_EQ(test, port_unmap(va, size, &tables), 0);
	port_flush(va, size);
}

static void probe_here(void *arg)
{
	uintptr_t va = area;

	*(int *)arg = *(volatile uint8_t *)va | (probe_write((void *)va) ? 0x100 : 0);
}

/* On each CPU: the byte at the start of the area, and 0x100 if it cannot be written. */
static void expect_everywhere(struct kunit *test, int want)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		int got = -1;

		KUNIT_EXPECT_EQ(test, port_run_on(cpu, MM_TASK, probe_here, &got), 0);
		KUNIT_EXPECT_EQ(test, got, want);
	}
}

static void window_shows_memory(struct kunit *test)
{
	volatile uint8_t *view;

	use_window(test, 1);
	view = (volatile uint8_t *)area;
	expect_everywhere(test, 0x100);
	memset(direct_view(), 0x11, CHUNK_SIZE);
	KUNIT_ASSERT_EQ(test, port_map(area, chunk, FRAME_SIZE, PORT_READ | PORT_WRITE, &tables),
			0);
	port_flush(area, FRAME_SIZE);
	expect_everywhere(test, 0x11);
	view[0] = 0x22;
	KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)direct_view(), 0x22);
	KUNIT_EXPECT_EQ(test, view[FRAME_SIZE], 0);
	KUNIT_EXPECT_EQ(test, probe_write((void *)(area + FRAME_SIZE)), -EFAULT);
	unmap_and_flush(test, area, FRAME_SIZE);
	expect_everywhere(test, 0x100);
	KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)direct_view(), 0x22);
}

static void window_read_only(struct kunit *test)
{
	use_window(test, 2);
	memset(direct_view(), 0x33, FRAME_SIZE);
	KUNIT_ASSERT_EQ(test, port_map(area, chunk, FRAME_SIZE, PORT_READ, &tables), 0);
	port_flush(area, FRAME_SIZE);
	expect_everywhere(test, 0x133);
	unmap_and_flush(test, area, FRAME_SIZE);
}

/* A second mapping is refused and nothing of the range has changed. */
static void window_refuses_twice(struct kunit *test)
{
	unsigned rw = PORT_READ | PORT_WRITE;
	volatile uint8_t *view;

	use_window(test, 3);
	view = (volatile uint8_t *)area;
	memset(direct_view(), 0x44, 4 * FRAME_SIZE);
	KUNIT_ASSERT_EQ(test, port_map(area + 2 * FRAME_SIZE, chunk, FRAME_SIZE, rw, &tables), 0);
	KUNIT_EXPECT_EQ(test, port_map(area, chunk, 4 * FRAME_SIZE, rw, &tables), -EEXIST);
	port_flush(area, 4 * FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, view[0], 0);
	KUNIT_EXPECT_EQ(test, view[FRAME_SIZE], 0);
	KUNIT_EXPECT_EQ(test, view[2 * FRAME_SIZE], 0x44);
	KUNIT_EXPECT_EQ(test, view[3 * FRAME_SIZE], 0);
	unmap_and_flush(test, area + 2 * FRAME_SIZE, FRAME_SIZE);
}

/* A part of a large leaf goes; the rest stays; without a frame for it, all stays. */
static void window_splits(struct kunit *test)
{
	struct port_pool none = { 0 };
	uintptr_t hole;

	use_window(test, 4);
	hole = area + 100 * FRAME_SIZE;
	for (size_t i = 0; i < CHUNK_FRAMES; i++)
		memset(direct_view() + i * FRAME_SIZE, (int)(i % 251 + 1), 64);
	KUNIT_ASSERT_EQ(test, port_map(area, chunk, CHUNK_SIZE, PORT_READ | PORT_WRITE, &tables),
			0);
	if (runs == 1)
		KUNIT_EXPECT_EQ(test, port_unmap(hole, 3 * FRAME_SIZE, &none), -ENOMEM);
	port_flush(area, CHUNK_SIZE);
	KUNIT_EXPECT_EQ(test, probe_write((void *)hole), 0);
	unmap_and_flush(test, hole, 3 * FRAME_SIZE);
	for (size_t i = 0; i < CHUNK_FRAMES; i++) {
		bool gone = i >= 100 && i < 103;
		uint8_t *at = (uint8_t *)area + i * FRAME_SIZE;

		KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)at, gone ? 0 : i % 251 + 1);
		KUNIT_EXPECT_EQ(test, probe_write(at), gone ? -EFAULT : 0);
	}
	unmap_and_flush(test, area, 100 * FRAME_SIZE);
	unmap_and_flush(test, area + 103 * FRAME_SIZE, CHUNK_SIZE - 103 * FRAME_SIZE);
	expect_everywhere(test, 0x100);
}

/* Frames of a chunk, in another order and across the border of two chunks. */
static void window_maps_scattered(struct kunit *test)
{
	uintptr_t at;

	use_window(test, 5);
	at = area + CHUNK_SIZE - 8 * FRAME_SIZE;
	for (size_t i = 0; i < 16; i++) {
		memset(direct_view() + i * FRAME_SIZE, (int)i + 1, FRAME_SIZE);
		KUNIT_ASSERT_EQ(test,
				port_map(at + (15 - i) * FRAME_SIZE, chunk + i * FRAME_SIZE,
					 FRAME_SIZE, PORT_READ | PORT_WRITE, &tables),
				0);
	}
	port_flush(at, 16 * FRAME_SIZE);
	for (size_t i = 0; i < 16; i++)
		KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)(at + i * FRAME_SIZE), 16 - i);
	unmap_and_flush(test, at, 16 * FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)at, 0);
}

static void window_out_of_tables(struct kunit *test)
{
	struct port_pool none = { 0 };
	unsigned rw = PORT_READ | PORT_WRITE;

	use_window(test, 6);
	if (runs == 1)
		KUNIT_EXPECT_EQ(test, port_map(area, chunk, FRAME_SIZE, rw, &none), -ENOMEM);
	port_flush(area, FRAME_SIZE);
	expect_everywhere(test, 0x100);
	KUNIT_EXPECT_EQ(test, port_map(area, chunk, FRAME_SIZE, rw, &tables), 0);
	unmap_and_flush(test, area, FRAME_SIZE);
}

/* ---- Discarding ---- */

static void discard_tells_the_truth(struct kunit *test)
{
	phys_addr_t base = 0;
	uint8_t *view;
	bool zero;

	mem_walk(note_chunk, &base);
	if (!base)
		kunit_skip(test, "no Reserved chunk is left");
	view = phys_to_virt(base);
	KUNIT_ASSERT_EQ(test, mem_map(base, CHUNK_SIZE), 0);
	KUNIT_ASSERT_EQ(test, mem_used(base, CHUNK_SIZE), 0);
	memset(view, 0x55, CHUNK_SIZE);
	KUNIT_ASSERT_EQ(test, mem_fault(base, CHUNK_SIZE), 0);
	zero = port_discard(base, CHUNK_SIZE);
	KUNIT_ASSERT_EQ(test, mem_map(base, CHUNK_SIZE), 0);
	KUNIT_ASSERT_EQ(test, mem_used(base, CHUNK_SIZE), 0);
	for (size_t i = 0; zero && i < CHUNK_SIZE; i += FRAME_SIZE / 2)
		KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)(view + i), 0);
	memset(view, 0x66, CHUNK_SIZE);
	KUNIT_EXPECT_EQ(test, mem_fault(base, CHUNK_SIZE), 0);
}

static struct kunit_case port_cases[] = {
	KUNIT_CASE(cpu_and_context),
	KUNIT_CASE(pins_and_irqs_nest),
	KUNIT_CASE(clock_rises),
	KUNIT_CASE(run_on_every_cpu),
	KUNIT_CASE(run_on_no_cpu),
	KUNIT_CASE(run_on_each_other),
	KUNIT_CASE(irq_respects_mask),
	KUNIT_CASE(window_shows_memory),
	KUNIT_CASE(window_read_only),
	KUNIT_CASE(window_refuses_twice),
	KUNIT_CASE(window_splits),
	KUNIT_CASE(window_maps_scattered),
	KUNIT_CASE(window_out_of_tables),
	KUNIT_CASE(discard_tells_the_truth),
	{},
};

static struct kunit_suite port_suite = {
	.name = "port",
	.suite_init = port_suite_init,
	.suite_exit = port_suite_exit,
	.test_cases = port_cases,
};
kunit_test_suite(port_suite);
