// SPDX-License-Identifier: MIT
/* The machine under the programs of misuse.h, and what they share. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include <kernel/task.h>
#include <spanheap/guard.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>
#include <spanheap/stats.h>

#include "tests/host/host_test.h"
#include "tests/misuse/misuse.h"

#define RAM (256UL << 20)
#define NCPUS 2
#define SLOTS 64
#define LARGEST (128UL << 10)
#define TIME_LIMIT 60

enum { EXIT_BROKEN = 2, EXIT_USAGE = 3 };

static const struct misuse *const tables[] = { free_misuses, bounds_misuses, stale_misuses,
					       page_misuses, call_misuses,   legal_uses };
static const char *const fate_name[] = {
	[NOT_RUN] = "-",     [FOUND] = "found", [HARMLESS] = "harmless",
	[UNSEEN] = "unseen", [LEGAL] = "legal", [KERNEL] = "kernel",
};

static bool guarded;

bool is_guarded(void)
{
	return guarded;
}

void expect(const char *fmt, ...)
{
	va_list args;

	fputs("expect: ", stdout);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

void require_that(bool condition, const char *text)
{
	if (condition)
		return;
	printf("broken: %s\n", text);
	exit(EXIT_BROKEN);
}

void harmless(const char *why)
{
	heap_works();
	printf("harmless: %s\n", why);
	exit(0);
}

void *opaque(const volatile void *p)
{
	__asm__ volatile("" : "+r"(p));
	return (void *)p;
}

void *take(size_t size)
{
	void *p = kmalloc(size, GFP_KERNEL);

	require(p);
	memset(p, 0x11, size);
	return opaque(p);
}

void on_cpu(unsigned cpu, void (*fn)(void *), void *arg)
{
	struct task *t = task_start(cpu, fn, arg, "misuse");

	require(t);
	task_join(t);
}

void heap_works(void)
{
	static unsigned char *object[3000];
	unsigned n = sizeof(object) / sizeof(object[0]);

	for (unsigned i = 0; i < n; i++) {
		object[i] = kmalloc(1 + i % 1000, GFP_KERNEL);
		require(object[i]);
		memset(object[i], (int)i, 1 + i % 1000);
	}
	for (unsigned i = 0; i < n; i++) {
		for (unsigned at = 0; at < 1 + i % 1000; at++)
			require(object[i][at] == (unsigned char)i);
		kfree(object[i]);
	}
	for (unsigned i = 0; i < n; i++)
		require((object[i] = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL)));
	for (unsigned i = 0; i < n; i++)
		free_pages_exact(object[i], FRAME_SIZE);
	mm_drain();
	require(!mm_validate());
}

/* As the kernel says it. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;

	(void)sig;
	printf("panic: page fault at 0x%lx (%s, %s)\n", (unsigned long)info->si_addr,
	       uc->uc_mcontext.gregs[REG_ERR] & 2 ? "write" : "read",
	       uc->uc_mcontext.gregs[REG_ERR] & 1 ? "protection" : "not present");
	abort();
}

static void on_line(const char *line)
{
	printf("log: %s\n", line);
}

static void on_panic(const char *why)
{
	printf("panic: %s\n", why);
	abort();
}

static void start_machine(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	setvbuf(stdout, NULL, _IONBF, 0);
	alarm(TIME_LIMIT);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	host_set_log(on_line);
	host_set_panic(on_panic);
	require(!host_ram_init(2 * RAM, HOST_ENFORCED));
	host_use_signals();
	require(!memblock_add(FRAME_SIZE, RAM - FRAME_SIZE, NUMA_NO_NODE));
	require(!mm_init());
	require(!host_start_cpus(NCPUS));
	if (guarded)
		require(!mm_guard_start(SLOTS, LARGEST, 1));
}

int main(int argc, char **argv)
{
	bool list = argc == 2 && !strcmp(argv[1], "--list");
	unsigned wanted = argc > 1 ? (unsigned)strtoul(argv[argc - 1], NULL, 10) : 0;

	guarded = argc == 3 && !strcmp(argv[1], "guard");
	for (unsigned t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (const struct misuse *m = tables[t]; m->number; m++) {
			if (list)
				printf("%u\t%s\t%s\t%s\t%s\n", m->number, fate_name[m->fate],
				       fate_name[m->guarded], m->what, m->kernel_case ?: "");
			if (m->number != wanted || !m->run)
				continue;
			start_machine();
			m->run();
			printf("the end\n");
			return 0;
		}
	}
	return list ? 0 : EXIT_USAGE;
}
