// SPDX-License-Identifier: MIT
/*
 * What a real machine says of forbidden memory and of wrong frees: each case
 * ends in a panic, with that very address in the report.
 *
 * The frame is at 48 MiB, which is RAM on every machine that the tests know and
 * high enough that nothing else wants it in a boot for one case.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>
#include <spanheap/state.h>

#define FRAME_PA (48UL << 20)
#define TOUCHED (FRAME_PA + 0x123)

static volatile uint8_t *touched(void)
{
	return (volatile uint8_t *)phys_to_virt(TOUCHED);
}

/* From Reserved, as it starts, by the legal way. */
static void bring(struct kunit *test, enum mem_state state)
{
	KUNIT_ASSERT_EQ(test, mem_state(FRAME_PA), MEM_RESERVED);
	if (state == MEM_NONE)
		KUNIT_ASSERT_EQ(test, mem_release(FRAME_PA, CHUNK_SIZE), 0);
	if (state >= MEM_PREPARED)
		KUNIT_ASSERT_EQ(test, mem_map(FRAME_PA, CHUNK_SIZE), 0);
	if (state == MEM_READY)
		KUNIT_ASSERT_EQ(test, mem_used(FRAME_PA, CHUNK_SIZE), 0);
}

static void read_none(struct kunit *test)
{
	bring(test, MEM_NONE);
	(void)*touched();
}

static void write_reserved(struct kunit *test)
{
	bring(test, MEM_RESERVED);
	*touched() = 1;
}

static void read_prepared(struct kunit *test)
{
	bring(test, MEM_PREPARED);
	(void)*touched();
}

static void write_after_unused(struct kunit *test)
{
	bring(test, MEM_READY);
	*touched() = 1;
	KUNIT_ASSERT_EQ(test, mem_unused(FRAME_PA, FRAME_SIZE), 0);
	*touched() = 2;
}

static void execute_ready(struct kunit *test)
{
	bring(test, MEM_READY);
	*touched() = 0xc3; /* ret */
	((void (*)(void))(uintptr_t)touched())();
}

static void touch(void *arg)
{
	(void)arg;
	*touched() = 3;
}

/* CPU 1 has the translation; CPU 0 takes the frame away; CPU 1 must not have it any longer. */
static void write_on_another_cpu(struct kunit *test)
{
	unsigned cpu = cpu_count() - 1;

	bring(test, MEM_READY);
	for (unsigned i = 0; i < 2; i++) {
		struct task *t = task_start(cpu, touch, NULL, "toucher");

		KUNIT_ASSERT_NOT_NULL(test, t);
		task_join(t);
		KUNIT_ASSERT_EQ(test, mem_fault(FRAME_PA, CHUNK_SIZE), 0);
	}
}

static void read_in_irq(struct kunit *test)
{
	bring(test, MEM_PREPARED);
	run_in_irq(this_cpu(), touch, NULL);
}

/* The frame at that address, and no other. */
static void *take_frame(struct kunit *test, size_t nframes)
{
	void *p =
		page_alloc_range(nframes, 0, FRAME_PA, FRAME_PA + nframes * FRAME_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_PTR_EQ(test, p, phys_to_virt(FRAME_PA));
	return p;
}

static void double_free(struct kunit *test)
{
	void *p = take_frame(test, 1);

	free_pages_exact(p, FRAME_SIZE);
	free_pages_exact(p, FRAME_SIZE);
}

static void free_in_the_middle(struct kunit *test)
{
	uint8_t *p = take_frame(test, 3);

	free_pages(p + FRAME_SIZE, 0);
}

static void free_of_another_size(struct kunit *test)
{
	free_pages_exact(take_frame(test, 3), 2 * FRAME_SIZE);
}

static void nofail_without_memory(struct kunit *test)
{
	(void)test;
	page_alloc_range(5, 0, FRAME_PA, FRAME_PA + 4 * FRAME_SIZE, GFP_KERNEL | __GFP_NOFAIL);
}

static struct kunit_case dies_cases[] = {
	KUNIT_CASE_DIES(read_none, "panic: page fault at 0xffff888003000123 (read, not present)"),
	KUNIT_CASE_DIES(write_reserved,
			"panic: page fault at 0xffff888003000123 (write, not present)"),
	KUNIT_CASE_DIES(read_prepared,
			"panic: page fault at 0xffff888003000123 (read, not present)"),
	KUNIT_CASE_DIES(write_after_unused,
			"panic: page fault at 0xffff888003000123 (write, not present)"),
	KUNIT_CASE_DIES(execute_ready,
			"panic: page fault at 0xffff888003000123 (execute, protection)"),
	KUNIT_CASE_DIES(write_on_another_cpu,
			"panic: page fault at 0xffff888003000123 (write, not present)"),
	KUNIT_CASE_DIES(read_in_irq, "context irq"),
	KUNIT_CASE_DIES(double_free,
			"panic: page double free: address 0xffff888003000000 size 4096 caller 0x"),
	KUNIT_CASE_DIES(free_in_the_middle,
			"panic: page invalid free: address 0xffff888003001000 size 4096 caller 0x"),
	KUNIT_CASE_DIES(free_of_another_size,
			"panic: page free with wrong size: address 0xffff888003000000 size 8192 "),
	KUNIT_CASE_DIES(nofail_without_memory, "panic: out of memory: 5 frames"),
	{},
};

static struct kunit_suite dies_suite = {
	.name = "fault_dies",
	.test_cases = dies_cases,
};
kunit_test_suite(dies_suite);
