// SPDX-License-Identifier: MIT
/*
 * Memory that is not the caller's: the program behind `make overhead`.
 *
 *	overhead object SIZE	RAM taken per live object of a size, at 1,
 *					1,000 and 1,000,000 of them
 *	overhead idle NCPUS	what each CPU's caches hold when all is freed
 *	overhead classes	the sizes of all classes, a line each
 *
 * The machine is made of nothing but addresses (HOST_PRELOAD) and no object is
 * touched, so that a million of the largest needs no more than their metadata. RAM
 * taken is frames in use and metadata, compared with before the first object. Of
 * page tables there are none here: in the kernel they take 4 KiB for each GiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <host_port.h>
#include <spanheap/boot.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>
#include <spanheap/stats.h>

#include "mm/pageheap.h"
#include "mm/sizeclass.h"

#define GIB (1ULL << 30)
#define CROWD 100

static uint64_t start_machine(uint64_t ram)
{
	struct mm_stats s;
	int err = host_ram_init(ram, HOST_PRELOAD);

	if (!err)
		err = memblock_add(0, ram, 0) ?: memblock_reserve(0, FRAME_SIZE);
	if (!err)
		err = mm_init() ?: mm_init_cpu();
	if (err) {
		fprintf(stderr, "no machine with %llu GiB: %s\n", (unsigned long long)(ram / GIB),
			strerror(-err));
		exit(1);
	}
	mm_stats(&s);
	return s.frames_used * FRAME_SIZE + s.metadata_bytes;
}

static void per_object(size_t size)
{
	uint64_t before = start_machine(64 * GIB);
	struct mm_stats s;
	size_t n = 0;

	for (size_t goal = 1; goal <= 1000000; goal *= 1000) {
		for (; n < goal; n++)
			if (!kmalloc_any(size, GFP_KERNEL)) {
				fprintf(stderr, "no memory for %zu objects of %zu bytes\n", goal,
					size);
				exit(1);
			}
		mm_drain();
		mm_stats(&s);
		printf("overhead\tobject/%zu/%zu\tbytes\t%.1f\n", size, n,
		       (double)(s.frames_used * FRAME_SIZE + s.metadata_bytes - before) /
			       (double)n);
	}
}

/* Some of everything, at once, so that no span is left with a single user. */
static void use_all_classes(void *unused)
{
	static void *p[CROWD];

	(void)unused;
	for (unsigned sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		for (unsigned i = 0; i < CROWD; i++)
			p[i] = kmalloc_any(size_classes[sc].size, GFP_ATOMIC);
		kfree_bulk(CROWD, p);
	}
	for (size_t size = 40 << 10; size <= 1 << 20; size += 40 << 10)
		kfree(kmalloc_any(size, GFP_ATOMIC));
	for (unsigned i = 0; i < CROWD; i++)
		p[i] = __get_free_pages(GFP_ATOMIC, 0);
	for (unsigned i = 0; i < CROWD; i++)
		free_pages(p[i], 0);
}

static void use_one_class(void *unused)
{
	void *p[CROWD];

	(void)unused;
	for (unsigned i = 0; i < CROWD; i++)
		p[i] = kmalloc_any(64, GFP_KERNEL);
	kfree_bulk(CROWD, p);
}

/* A CPU that needs memory: it asks the others, which are idle, for what they own. */
static void use_much(void)
{
	static void *p[100 * CROWD];

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
			p[i] = kmalloc_any(1000, GFP_KERNEL);
		kfree_bulk(ARRAY_SIZE(p), p);
	}
}

static void run_init(void *err)
{
	*(int *)err = mm_init_cpu();
}

/* Frames that nobody else can have, but for metadata; and metadata. */
static void report_idle(unsigned ncpus, const char *when)
{
	uint64_t held = main_heap[0].frames - main_heap[0].frames_free;
	struct mm_stats s;

	mm_stats(&s);
	held = held * FRAME_SIZE - (s.metadata_bytes - main_map.pool[0].held);
	printf("overhead\tidle_free_memory/%ucpus/%s\tbytes/CPU\t%llu\n", ncpus, when,
	       (unsigned long long)held / ncpus);
	printf("overhead\tidle_metadata/%ucpus/%s\tbytes/CPU\t%llu\n", ncpus, when,
	       (unsigned long long)(s.metadata_bytes - main_map.pool[0].held) / ncpus);
}

static void idle(unsigned ncpus)
{
	int err = 0;

	start_machine(GIB);
	for (unsigned cpu = 1; cpu < ncpus && !err; cpu++)
		err = host_cpu_add(cpu) ?: port_run_on(cpu, MM_TASK, run_init, &err) ?: err;
	if (err) {
		fprintf(stderr, "no %u CPUs: %s\n", ncpus, strerror(-err));
		exit(1);
	}
	report_idle(ncpus, "fresh");
	for (unsigned cpu = 0; cpu < ncpus; cpu++)
		(void)port_run_on(cpu, MM_TASK, use_all_classes, NULL);
	report_idle(ncpus, "used");
	/* Interrupts cannot end spans; the next task that takes a slow path does. */
	for (unsigned cpu = 0; cpu < ncpus; cpu++) {
		(void)port_run_on(cpu, MM_IRQ, use_all_classes, NULL);
		(void)port_run_on(cpu, MM_TASK, use_one_class, NULL);
	}
	report_idle(ncpus, "used_in_irq");
	use_much();
	report_idle(ncpus, "asked");
	mm_drain();
	report_idle(ncpus, "drained");
}

static void list_classes(void)
{
	for (unsigned sc = 1; sc < NR_SIZE_CLASSES; sc++)
		if (kmalloc_class(size_classes[sc].size) == sc)
			printf("%u\n", size_classes[sc].size);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "object") && atol(argv[2]) > 0)
		per_object((size_t)atol(argv[2]));
	else if (argc == 3 && !strcmp(argv[1], "idle") && atoi(argv[2]) > 0)
		idle((unsigned)atoi(argv[2]));
	else if (argc == 2 && !strcmp(argv[1], "classes"))
		list_classes();
	else
		return fprintf(stderr, "usage: %s object SIZE | idle NCPUS | classes\n", argv[0]),
		       2;
	return 0;
}
