// SPDX-License-Identifier: MIT
/* What each call promises, at the edges of its arguments. One thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/malloc/test.h"

static const size_t sizes[] = {
	1, 7, 8, 9, 15, 16, 17, 24, 31,
	32, 33, 48, 64, 65, 100, 127, 128, 129,
	200, 255, 256, 257, 500, 512, 513, 1000, 1023,
	1024, 1025, 2000, 2048, 2049, 3000, 4095, 4096, 4097,
	8191, 8192, 8193, 10000, 16384, 16385, 20000, 27264, 27265,
	32767, 32768, 32769, 40960, 40961, 50000, 65536, 65537, 100000,
	131072, 200000, 262144, 300000, 524288, 700000, 1048575, 1048576, 1048577,
	2000000, 2097152, 2097153, 4194304, 5000000,
};

static bool is_filled(const unsigned char *p, unsigned char byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != byte)
			return false;
	return true;
}

static void size_zero(void)
{
	void *a = malloc(0), *b = malloc(0), *c = calloc(0, 5), *d = calloc(5, 0);

	CHECK(a && b && c && d);
	CHECK(a != b && b != c && c != d);
	free(a);
	free(b);
	free(c);
	free(d);
}

static void every_size(void)
{
	void *p[ARRAY_SIZE(sizes)];

	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			p[i] = malloc(sizes[i]);
			CHECK(p[i]);
			CHECK((uintptr_t)p[i] % (sizes[i] < 16 ? 8 : 16) == 0);
			CHECK(malloc_usable_size(p[i]) >= sizes[i]);
			memset(p[i], (int)i + 1, malloc_usable_size(p[i]));
		}
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			CHECK(is_filled(p[i], (unsigned char)(i + 1), malloc_usable_size(p[i])));
			free(p[i]);
		}
	}
}

/* Many of each: they lie apart, and what was freed comes back. */
static void many(void)
{
	enum { N = 3000 };
	static unsigned char *p[N];

	for (size_t i = 0; i < ARRAY_SIZE(sizes) && sizes[i] <= 40960; i++) {
		unsigned n = test_slow ? 200 : N;

		for (unsigned k = 0; k < n; k++) {
			p[k] = malloc(sizes[i]);
			memset(p[k], (int)k, sizes[i]);
		}
		for (unsigned k = 0; k < n; k += 2) {
			CHECK(is_filled(p[k], (unsigned char)k, sizes[i]));
			free(p[k]);
		}
		for (unsigned k = 0; k < n; k += 2)
			p[k] = memset(malloc(sizes[i]), 0x55, sizes[i]);
		for (unsigned k = 0; k < n; k++) {
			CHECK(is_filled(p[k], k % 2 ? (unsigned char)k : 0x55, sizes[i]));
			free(p[k]);
		}
	}
}

static void too_much(void)
{
	void *p = malloc(100);
	void *out = &out;

#define FAILS(call) (errno = 0, (call) == NULL && errno == ENOMEM)
	CHECK(FAILS(malloc((size_t)hide((void *)SIZE_MAX))));
	CHECK(FAILS(malloc((size_t)hide((void *)(PTRDIFF_MAX + 1UL)))));
	CHECK(FAILS(malloc((size_t)hide((void *)(PTRDIFF_MAX - 4096UL)))));
	CHECK(FAILS(calloc((size_t)hide((void *)(SIZE_MAX / 2)), 3)));
	CHECK(FAILS(calloc((size_t)hide((void *)(1UL << 32)), 1UL << 32)));
	CHECK(FAILS(reallocarray(NULL, (size_t)hide((void *)(SIZE_MAX / 4)), 8)));
	CHECK(FAILS(aligned_alloc(64, (size_t)hide((void *)(SIZE_MAX - 10)))));
	CHECK(FAILS(aligned_alloc((size_t)hide((void *)(1UL << 62)), 64)));
	CHECK(FAILS(pvalloc((size_t)hide((void *)(SIZE_MAX - 10)))));
	CHECK(FAILS(valloc((size_t)hide((void *)SIZE_MAX))));
	memset(p, 7, 100);
	CHECK(FAILS(realloc(hide(p), (size_t)hide((void *)(SIZE_MAX - 4096)))));
	CHECK(FAILS(reallocarray(hide(p), (size_t)hide((void *)(SIZE_MAX / 4)), 8)));
	CHECK(is_filled(p, 7, 100));
	CHECK(posix_memalign(&out, 64, (size_t)hide((void *)(SIZE_MAX - 10))) == ENOMEM);
	CHECK(out == &out);
	free(p);
}

static void cleared(void)
{
	for (unsigned round = 0; round < 3; round++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			unsigned char *p = calloc(1, sizes[i]), *q;

			CHECK(is_filled(p, 0, sizes[i]));
			memset(p, 0xee, malloc_usable_size(p));
			q = calloc(sizes[i], 1);
			CHECK(is_filled(q, 0, sizes[i]));
			memset(q, 0xdd, malloc_usable_size(q));
			free(p);
			free(q);
		}
}

static void resized(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (size_t k = 0; k < ARRAY_SIZE(sizes); k += 3) {
			size_t both = sizes[i] < sizes[k] ? sizes[i] : sizes[k];
			unsigned char *p = malloc(sizes[i]);

			memset(p, 0x31, sizes[i]);
			p = realloc(p, sizes[k]);
			CHECK(p && malloc_usable_size(p) >= sizes[k]);
			CHECK(is_filled(p, 0x31, both));
			memset(p, 0x32, sizes[k]);
			p = reallocarray(p, 1, sizes[i]);
			CHECK(is_filled(p, 0x32, both));
			free(p);
		}
}

static void resized_from_and_to_nothing(void)
{
	void *p = realloc(NULL, 50);

	CHECK(p && malloc_usable_size(p) >= 50);
	CHECK(!realloc(p, (size_t)hide(NULL)));
	p = reallocarray(NULL, 3, 7);
	CHECK(p);
	free(p);
	free(NULL);
	CHECK(malloc_usable_size(NULL) == 0);
}

static void aligned(void)
{
	for (size_t align = 8; align <= 64UL << 20; align *= 2)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i += 2) {
			void *p[3] = { NULL };

			errno = 77;
			CHECK(!posix_memalign(&p[0], align, sizes[i]) && errno == 77);
			p[1] = aligned_alloc(align, sizes[i]);
			p[2] = memalign(align, sizes[i]);
			for (unsigned k = 0; k < 3; k++) {
				CHECK(p[k] && (uintptr_t)p[k] % align == 0);
				CHECK(malloc_usable_size(p[k]) >= sizes[i]);
				((char *)p[k])[0] = ((char *)p[k])[sizes[i] - 1] = 1;
			}
			free_aligned_sized(p[0], align, sizes[i]);
			p[1] = realloc(p[1], sizes[i] * 2);
			CHECK(((char *)p[1])[sizes[i] - 1] == 1);
			free(p[1]);
			free(p[2]);
		}
}

static void aligned_wrongly(void)
{
	static const size_t wrong[] = { 0, 1, 2, 3, 4, 24, 48, 100, 4095, SIZE_MAX };
	void *p = &p;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		errno = 77;
		CHECK(posix_memalign(&p, wrong[i], 10) == EINVAL);
		CHECK(p == &p && errno == 77);
	}
	errno = 0;
	CHECK(!aligned_alloc((size_t)hide((void *)24), 24) && errno == EINVAL);
	errno = 0;
	CHECK(!memalign((size_t)hide((void *)0), 24) && errno == EINVAL);
}

static void pages(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *v = valloc(sizes[i]), *p = pvalloc(sizes[i]);

		CHECK(v && (uintptr_t)v % 4096 == 0);
		CHECK(p && (uintptr_t)p % 4096 == 0);
		CHECK(malloc_usable_size(p) >= (sizes[i] + 4095) / 4096 * 4096);
		free(v);
		free(p);
	}
	free(pvalloc(0));
}

static void errno_is_kept(void)
{
	void *p[ARRAY_SIZE(sizes)];

	errno = 77;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		p[i] = malloc(sizes[i]);
	CHECK(errno == 77);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		free_sized(p[i], sizes[i]);
	free(NULL);
	malloc_trim(0);
	CHECK(errno == 77);
}

static size_t resident_bytes(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * 4096;
}

static void counted_and_given_back(void)
{
	enum { N = 64, SIZE = 1 << 20 };
	struct mallinfo2 before, held, after;
	size_t with, without;
	char *p[N];

	malloc_trim(0);
	before = mallinfo2();
	for (unsigned i = 0; i < N; i++)
		p[i] = memset(malloc(SIZE), 1, SIZE);
	held = mallinfo2();
	with = resident_bytes();
	CHECK(held.uordblks - before.uordblks >= (size_t)N * SIZE);
	CHECK(held.uordblks - before.uordblks < (size_t)N * SIZE + (4 << 20));
	CHECK(held.arena >= held.uordblks);
	for (unsigned i = 0; i < N; i++)
		free(p[i]);
	after = mallinfo2();
	CHECK(after.uordblks < before.uordblks + (1 << 20));
	CHECK(malloc_trim(0) == 1);
	without = resident_bytes();
	CHECK(test_slow || test_sanitized || without + (size_t)N * SIZE / 8 * 7 < with);
	CHECK(malloc_trim(0) == 0);
	CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1);
}

/* What comes back after it was given away is known to be zero; calloc() must be right. */
static void cleared_after_trim(void)
{
	enum { SIZE = 3 << 20 };

	for (unsigned round = 0; round < 4; round++) {
		unsigned char *p = calloc(1, SIZE), *q = malloc(SIZE / 2);

		CHECK(is_filled(p, 0, SIZE));
		memset(p, 0xff, SIZE);
		memset(q, 0xff, SIZE / 2);
		free(p);
		if (round % 2)
			malloc_trim(0);
		free(q);
	}
}

/* In a process of its own, which is allowed little. */
static void memory_ends(void)
{
	enum { BLOCK = 100000 };
	struct rlimit limit = { .rlim_cur = 1UL << 30, .rlim_max = 1UL << 30 };
	void *head = NULL, **p;
	size_t n = 0;

	/* The heap's range was reserved before; what it can grow by is limited here. */
	setrlimit(RLIMIT_DATA, &limit);
	errno = 0;
	while ((p = malloc(BLOCK))) {
		*p = head;
		head = p;
		if (++n > (2UL << 30) / BLOCK)
			break;
	}
	CHECK(!p && errno == ENOMEM);
	CHECK(n > (400UL << 20) / BLOCK);
	for (; head; head = p, n--) {
		p = *(void **)head;
		free(head);
	}
	CHECK(n == 0);
	p = malloc(500 << 20);
	CHECK(p);
	free(p);
}

static void memory_ends_and_comes_back(void)
{
	if (!test_slow && !test_sanitized)
		expect_survival(memory_ends, 60);
}

static void statistics_are_printed(void)
{
	char text[4096] = "";
	int fd[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	if (pipe(fd))
		abort();
	dup2(fd[1], STDERR_FILENO);
	malloc_stats();
	dup2(saved, STDERR_FILENO);
	n = read(fd[0], text, sizeof(text) - 1);
	CHECK(n > 0 && strstr(text, "allocations") && strstr(text, "metadata"));
	close(fd[0]);
	close(fd[1]);
	close(saved);
}

const struct test calls_tests[] = {
	{ "calls.size_zero", size_zero },
	{ "calls.every_size", every_size },
	{ "calls.many", many },
	{ "calls.too_much", too_much },
	{ "calls.cleared", cleared },
	{ "calls.resized", resized },
	{ "calls.resized_from_and_to_nothing", resized_from_and_to_nothing },
	{ "calls.aligned", aligned },
	{ "calls.aligned_wrongly", aligned_wrongly },
	{ "calls.pages", pages },
	{ "calls.errno_is_kept", errno_is_kept },
	{ "calls.counted_and_given_back", counted_and_given_back },
	{ "calls.cleared_after_trim", cleared_after_trim },
	{ "calls.memory_ends_and_comes_back", memory_ends_and_comes_back },
	{ "calls.statistics_are_printed", statistics_are_printed },
	{ NULL, NULL },
};
