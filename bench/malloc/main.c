// SPDX-License-Identifier: MIT
/*
 * malloc-bench [--scale=N] [--trace=FILE] CASE: runs one case under whatever malloc
 * this process has, and prints its figures, one a line: part, unit, value.
 *
 *	<TAB>ns/op<TAB>5.61	the fastest of the timed rounds
 *	<TAB>KiB<TAB>1812	peak of resident memory
 *
 * --list names the cases with what a runner wants to know of them, --who says whose
 * malloc it is. --scale=N divides the operations of a round, and prints their number: for a run
 * in which a tool counts the instructions of bench_counted().
 */
#define _GNU_SOURCE
#include "bench/malloc/bench.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 3
#define THREADS_MAX 16

const char *bench_trace_file;

static struct bench *const all_cases[] = { bench_single, bench_threads, bench_resident,
					   bench_replay };

void bench_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("malloc-bench: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	_exit(1);
}

void *bench_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_die("no memory for the benchmark itself");
	return p;
}

void bench_figure(const char *part, const char *unit, double value)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s\t%s\t%.2f\n", part, unit, value);

	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		bench_die("cannot write");
}

/* A field of /proc/self/status, in KiB. */
static size_t status_kib(const char *field)
{
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	const char *at;

	close(fd);
	text[n > 0 ? n : 0] = 0;
	at = strstr(text, field);
	if (!at)
		bench_die("no %s in /proc/self/status", field);
	return strtoul(at + strlen(field), NULL, 10);
}

size_t bench_resident_kib(void)
{
	return status_kib("VmRSS:");
}

static uint64_t now_ns(const struct bench *b)
{
	struct timespec t;

	clock_gettime(b->threads > 1 ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A name for tools that count what is between its entry and its return. */
void bench_counted(struct bench *b);

__attribute__((noinline)) void bench_counted(struct bench *b)
{
	b->round(b);
	__asm__ volatile("" ::: "memory");
}

static void run(struct bench *b, uint64_t scale)
{
	uint64_t best = UINT64_MAX, start, taken;
	int rounds = scale || b->cold ? 1 : ROUNDS;

	if (scale)
		b->ops = b->ops / scale ?: 1;
	b->rng = BENCH_SEED;
	if (b->step)
		b->ops = (b->ops + b->step - 1) / b->step * b->step;
	if (b->prepare)
		b->prepare(b);
	if (!b->cold)
		b->round(b);
	for (int i = 0; i < rounds; i++) {
		start = now_ns(b);
		bench_counted(b);
		taken = now_ns(b) - start;
		if (taken < best)
			best = taken;
	}
	if (b->finish)
		b->finish(b);
	bench_figure("", "ns/op", (double)best / (double)b->ops);
	if (scale)
		bench_figure("", "ops", (double)b->ops);
	bench_figure("", "KiB", (double)status_kib("VmHWM:"));
}

/* ---- Threads ---- */

struct thread {
	struct bench *b;
	void (*fn)(struct bench *b, unsigned index);
	unsigned index;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	t->fn(t->b, t->index);
	return NULL;
}

void bench_in_threads(struct bench *b, void (*fn)(struct bench *b, unsigned index), unsigned n)
{
	struct thread thread[THREADS_MAX];
	pthread_t id[THREADS_MAX];

	for (unsigned i = 0; i < n; i++) {
		thread[i] = (struct thread){ .b = b, .fn = fn, .index = i };
		if (pthread_create(&id[i], NULL, thread_main, &thread[i]))
			bench_die("cannot start a thread");
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(id[i], NULL);
}

/* ---- Command line ---- */

static void list(void)
{
	for (size_t i = 0; i < sizeof(all_cases) / sizeof(*all_cases); i++)
		for (struct bench *b = all_cases[i]; b->name; b++)
			printf("%s\t%u\t%s\n", b->name, b->threads ?: 1,
			       b->holds ? "holds" : "passes");
}

/* The file that malloc() comes from: a preload that did not happen is no figure. */
static void who(void)
{
	Dl_info info;

	if (!dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info))
		bench_die("malloc of no file");
	puts(info.dli_fname);
}

static struct bench *find(const char *name)
{
	for (size_t i = 0; i < sizeof(all_cases) / sizeof(*all_cases); i++)
		for (struct bench *b = all_cases[i]; b->name; b++)
			if (!strcmp(b->name, name))
				return b;
	return NULL;
}

int main(int argc, char **argv)
{
	struct bench *b = NULL;
	uint64_t scale = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--list")) {
			list();
			return 0;
		}
		if (!strcmp(argv[i], "--who")) {
			who();
			return 0;
		}
		if (!strncmp(argv[i], "--scale=", 8))
			scale = strtoull(argv[i] + 8, NULL, 10);
		else if (!strncmp(argv[i], "--trace=", 8))
			bench_trace_file = argv[i] + 8;
		else if (!(b = find(argv[i])))
			bench_die("%s: no such case; --list names them", argv[i]);
	}
	if (!b)
		bench_die("usage: malloc-bench [--scale=N] [--trace=FILE] CASE | --list | --who");
	run(b, scale);
	return 0;
}
