// SPDX-License-Identifier: MIT
/*
 * Many single frames at once: which come, where they go back to, and that each is
 * checked. One cache over made-up frames first, then the calls.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/misuse.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>
#include <spanheap/stats.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/framebits.h"
#include "mm/pagecache.h"

#define P CHUNK_FRAMES
#define F FRAME_SIZE
#define NSLOTS 31
#define ROOM 20

static struct small_cache {
	struct pagecache cache;
	struct held_frame slots[NSLOTS + 1];
} one, other;

static void shuffle(void **p, size_t n)
{
	uint64_t rng = 0x5eed00b2 + n;

	for (; n > 1; n--) {
		size_t other = fix_rng(&rng) % n;
		void *t = p[n - 1];

		p[n - 1] = p[other];
		p[other] = t;
	}
}

static void *addr_of(uint64_t frame)
{
	return phys_to_virt((FIX_PFN0 + frame) << FRAME_SHIFT);
}

static uint64_t frame_of(const void *addr)
{
	return (virt_to_phys(addr) >> FRAME_SHIFT) - FIX_PFN0;
}

static void start(struct kunit *test, unsigned chunks)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, chunks }, { 0 } });
	pagecache_init(&one.cache, &fix_heap, 0, one.slots, NSLOTS);
	pagecache_init(&other.cache, &fix_heap, 1, other.slots, NSLOTS);
	pagecache_set_room(&one.cache, ROOM, 64, 0);
	pagecache_set_room(&other.cache, ROOM, 64, 0);
}

static void empty(struct pagecache *cache)
{
	struct pagecache_haul haul;

	pagecache_take_all(cache, &haul);
	pagecache_give_back(&haul);
}

static void stop(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, pagecache_check(&one.cache), 0);
	KUNIT_EXPECT_EQ(test, pagecache_check(&other.cache), 0);
	KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), 0);
	empty(&one.cache);
	empty(&other.cache);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, fix_heap.frames);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

static void take(struct kunit *test, struct pagecache *cache, size_t n, void **p)
{
	for (size_t done = 0, got; done < n; done += got) {
		got = pagecache_alloc_bulk(cache, n - done, p + done);
		KUNIT_ASSERT_NE(test, got, 0);
		KUNIT_ASSERT_LE(test, got, n - done);
	}
}

/* Free all; none may fail. */
static void give(struct kunit *test, struct pagecache *cache, size_t n, void **p)
{
	uint64_t failed;

	for (size_t done = 0, got; done < n; done += got) {
		got = pagecache_free_bulk(cache, n - done, p + done, &failed);
		KUNIT_ASSERT_NE(test, got, 0);
		KUNIT_ASSERT_LE(test, got, MIN(n - done, PAGECACHE_BULK));
		KUNIT_ASSERT_EQ(test, failed, 0);
	}
}

static const unsigned sizes[] = { 1, 2, 16, 63, 64, 65, 200, P, 2 * P };

/* In order and shuffled; taken by one cache, given back to either. */
static void every_size(struct kunit *test)
{
	static void *p[2 * P];

	start(test, 2);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned how = 0; how < 4; how++) {
			size_t n = sizes[i];

			take(test, &one.cache, n, p);
			KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), n);
			if (how & 1)
				shuffle(p, n);
			give(test, how & 2 ? &other.cache : &one.cache, n, p);
			KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), 0);
			KUNIT_EXPECT_LE(test, pagecache_held(&one.cache), ROOM + 64);
			KUNIT_EXPECT_LE(test, pagecache_held(&other.cache), ROOM + 64);
			/* What one has is not the other's. */
			empty(&one.cache);
			empty(&other.cache);
		}
	stop(test);
}

/* Words stay together: what was taken as a word and freed as one is a word again. */
static void by_words(struct kunit *test)
{
	void *p[128], *single;

	start(test, 1);
	/* Two frames of the first word are not free, so the second comes first. */
	KUNIT_ASSERT_EQ(test, fix_alloc_in(2, 1, 7, 9), 7);
	take(test, &one.cache, 64, p);
	for (unsigned i = 0; i < 64; i++)
		KUNIT_EXPECT_EQ(test, frame_of(p[i]), 64 + i);
	give(test, &one.cache, 64, p);
	KUNIT_EXPECT_EQ(test, one.cache.run.frames, ~0ULL);
	/* The rest of a word is the next's. */
	take(test, &one.cache, 40, p);
	take(test, &one.cache, 20, p + 40);
	for (unsigned i = 0; i < 60; i++)
		KUNIT_EXPECT_EQ(test, frame_of(p[i]), 64 + i);
	KUNIT_EXPECT_EQ(test, popcount64(one.cache.run.frames), 4);
	give(test, &one.cache, 60, p);
	KUNIT_EXPECT_EQ(test, one.cache.run.frames, ~0ULL);
	/* Single frames in slots are not touched while there are words. */
	single = pagecache_alloc(&other.cache, 1, 1);
	KUNIT_ASSERT_NOT_NULL(test, single);
	KUNIT_ASSERT_TRUE(test, pagecache_free(&other.cache, single, 1));
	take(test, &other.cache, 128, p);
	KUNIT_EXPECT_EQ(test, (uint64_t)(other.cache.top - other.cache.bottom), ROOM / 2);
	give(test, &other.cache, 128, p);
	KUNIT_ASSERT_EQ(test, fix_free(7, 2), -1);
	stop(test);
}

/* The last frames there are lie in slots: they come, too. */
static void slots_last(struct kunit *test)
{
	static void *p[P];
	void *single;

	start(test, 1);
	single = pagecache_alloc(&one.cache, 1, 1);
	KUNIT_ASSERT_TRUE(test, pagecache_free(&one.cache, single, 1));
	take(test, &one.cache, P, p);
	KUNIT_EXPECT_EQ(test, pagecache_held(&one.cache), 0);
	KUNIT_EXPECT_EQ(test, pagecache_alloc_bulk(&one.cache, 1, &single), 0);
	give(test, &one.cache, P, p);
	stop(test);
}

static void reserves_stay(struct kunit *test)
{
	static void *p[P];
	size_t got, done = 0;

	start(test, 1);
	fix_heap.floor[FIX_WINDOW] = 100;
	while ((got = pagecache_alloc_bulk(&one.cache, 50, p + done)))
		done += got;
	KUNIT_EXPECT_EQ(test, done, P - 100);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, 100);
	fix_heap.floor[FIX_WINDOW] = 0;
	give(test, &one.cache, done, p);
	stop(test);
}

/* Each that is not to be freed is named, and no other is kept from being freed. */
static void what_fails(struct kunit *test)
{
	void *p[64], *mixed[64];
	uint64_t failed, bad = 0;
	uint64_t run = 5 * 64;

	start(test, 2);
	take(test, &one.cache, 64, p);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(4, 1, run, run + 4), run);
	memcpy(mixed, p, sizeof(p));
	/* Behind them, since they are not told from others of their word. */
	KUNIT_EXPECT_EQ(test, pagecache_free_bulk(&one.cache, 20, p + 44, &failed), 20);
	KUNIT_EXPECT_EQ(test, failed, 0);
	mixed[44] = addr_of(run);
	mixed[45] = addr_of(run + 2);
	mixed[46] = addr_of(run + 3);
	mixed[47] = (char *)p[0] + 1;
	mixed[48] = (char *)p[3] + F / 2;
	mixed[49] = (void *)1;
	mixed[50] = (void *)~(uintptr_t)0;
	mixed[51] = &failed;
	mixed[52] = addr_of(7 * P);
	mixed[53] = phys_to_virt(PFN_LIMIT << FRAME_SHIFT);
	mixed[54] = NULL;
	mixed[55] = addr_of(P + 3);
	for (unsigned i = 44; i < 56; i++)
		bad |= mixed[i] ? 1ULL << i : 0;
	KUNIT_EXPECT_EQ(test, pagecache_free_bulk(&one.cache, 56, mixed, &failed), 56);
	KUNIT_EXPECT_EQ(test, failed, bad);
	KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), 4);
	/* A word of which one frame is free already: all of it is named, and none freed. */
	take(test, &one.cache, 64, p);
	KUNIT_EXPECT_EQ(test, pagecache_free_bulk(&other.cache, 1, p + 9, &failed), 1);
	KUNIT_EXPECT_EQ(test, pagecache_free_bulk(&one.cache, 16, p, &failed), 16);
	KUNIT_EXPECT_EQ(test, failed, 0xffff);
	KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), 4 + 63);
	give(test, &one.cache, 9, p);
	give(test, &one.cache, 54, p + 10);
	KUNIT_EXPECT_EQ(test, fix_free(run, 4), -1);
	stop(test);
}

/* A frame twice ends the count; the second one fails then. */
static void twice(struct kunit *test)
{
	for (unsigned first = 0; first < 3; first++) {
		void *p[64];
		uint64_t failed;

		start(test, 1);
		take(test, &one.cache, 64, p);
		p[40] = p[first];
		KUNIT_EXPECT_EQ(test, pagecache_free_bulk(&one.cache, 64, p, &failed), 40);
		KUNIT_EXPECT_EQ(test, failed, 0);
		KUNIT_EXPECT_EQ(test, pagecache_free_bulk(&one.cache, 1, p + 40, &failed), 1);
		KUNIT_EXPECT_EQ(test, failed, 1);
		give(test, &one.cache, 23, p + 41);
		KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), 1);
		KUNIT_EXPECT_EQ(test, fix_free(40, 1), -1);
		stop(test);
	}
}

/* The word has changed since it was looked at: claimed all the same, or it was freed meanwhile. */
static void changed_meanwhile(struct kunit *test)
{
	struct frame_word word = { .free = 0xf0, .end = ~0ULL };
	struct pagecache_sums sums = { 0 };

	start(test, 1);
	KUNIT_EXPECT_TRUE(test, pagecache_claim(&one.cache, &word, 0xf0, 0x3));
	KUNIT_EXPECT_EQ(test, one.cache.retries, 0);
	KUNIT_EXPECT_TRUE(test, pagecache_claim(&one.cache, &word, 0x10, 0x4));
	KUNIT_EXPECT_EQ(test, one.cache.retries, 1);
	KUNIT_EXPECT_FALSE(test, pagecache_claim(&one.cache, &word, 0x10, 0xc));
	KUNIT_EXPECT_EQ(test, one.cache.retries, 2);
	KUNIT_EXPECT_EQ(test, word.free, 0xf7);
	pagecache_add_sums(&one.cache, &fix_heap, &sums);
	KUNIT_EXPECT_EQ(test, sums.retries, 2);
	stop(test);
}

/* More words than can be told apart in one call. */
static void far_apart(struct kunit *test)
{
	static void *p[64];
	uint64_t failed;
	size_t done;

	start(test, 16);
	for (unsigned i = 0; i < 64; i++) {
		uint64_t frame = i * 128 + i;

		KUNIT_ASSERT_EQ(test, fix_alloc_in(1, 1, frame, frame + 1), frame);
		p[i] = addr_of(frame);
	}
	done = pagecache_free_bulk(&one.cache, 64, p, &failed);
	KUNIT_EXPECT_GT(test, done, 0);
	KUNIT_EXPECT_LT(test, done, 64);
	KUNIT_EXPECT_EQ(test, failed, 0);
	KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), 64 - done);
	give(test, &one.cache, 64 - done, p + done);
	stop(test);
}

/* No room: the caller does it one by one. */
static void without_room(struct kunit *test)
{
	void *p[8];
	uint64_t failed = 5;

	start(test, 1);
	pagecache_set_room(&one.cache, 0, 0, 0);
	take(test, &one.cache, 8, p);
	KUNIT_EXPECT_EQ(test, pagecache_held(&one.cache), 0);
	KUNIT_EXPECT_EQ(test, pagecache_free_bulk(&one.cache, 8, p, &failed), 0);
	give(test, &other.cache, 8, p);
	stop(test);
}

/* Two caches take and give words and single frames; what they hold is known. */
static void random_of_two(struct kunit *test)
{
	static void *live[4 * P];
	static bool taken[4 * P];
	uint64_t rng = 0x5eed00b1, failed;
	size_t nlive = 0;

	start(test, 4);
	memset(taken, 0, sizeof(taken));
	for (unsigned op = 0; op < 3000; op++) {
		uint64_t r = fix_rng(&rng);
		struct pagecache *cache = r & 1 ? &one.cache : &other.cache;
		size_t n = 1 + (r >> 8) % 150, got;

		if (nlive >= n && r >> 32 & (op / 300 % 2 ? 3 : 1)) {
			size_t from = (r >> 40) % (nlive - n + 1);

			if (r & 2)
				shuffle(live + from, n);
			for (size_t i = from; i < from + n; i++)
				taken[frame_of(live[i])] = false;
			for (size_t done = 0; done < n; done += got) {
				got = pagecache_free_bulk(cache, n - done, live + from + done,
							  &failed);
				KUNIT_ASSERT_GT(test, got, 0);
				KUNIT_ASSERT_EQ(test, failed, 0);
			}
			memmove(live + from, live + from + n,
				(nlive - from - n) * sizeof(live[0]));
			nlive -= n;
		} else {
			got = pagecache_alloc_bulk(cache, MIN(n, ARRAY_SIZE(live) - nlive),
						   live + nlive);
			for (size_t i = nlive; i < nlive + got; i++) {
				KUNIT_ASSERT_FALSE(test, taken[frame_of(live[i])]);
				taken[frame_of(live[i])] = true;
			}
			nlive += got;
		}
		if (op % 200 == 0) {
			KUNIT_ASSERT_EQ(test, pageheap_count_used(&fix_heap), nlive);
			KUNIT_ASSERT_EQ(test, pageheap_check(&fix_heap), 0);
			KUNIT_ASSERT_EQ(test, pagecache_check(&one.cache), 0);
			KUNIT_ASSERT_EQ(test, pagecache_check(&other.cache), 0);
		}
		if (op % 512 == 511)
			empty(cache);
	}
	give(test, &one.cache, nlive, live);
	stop(test);
}

/* ---- The calls ---- */

static struct mm_misuse_report last;
static unsigned reports;

static void note(const struct mm_misuse_report *report)
{
	last = *report;
	(void)atomic_fetch_add(&reports, 1);
}

/* Of a hundred some are wrong, each in its way: so many reports, and the others are freed. */
static void wrong_ones_among_them(struct kunit *test)
{
	struct mm_stats before, after;
	void *p[100], *pages[2], *object;

	mm_drain();
	mm_stats(&before);
	reports = 0;
	KUNIT_ASSERT_EQ(test, page_alloc_bulk(ARRAY_SIZE(p), p, GFP_KERNEL), ARRAY_SIZE(p));
	pages[0] = alloc_pages_exact(4 * F, GFP_KERNEL);
	object = kmalloc(2 * F, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, pages[0] && object);
	free_pages(p[10], 0);
	free_pages(p[20], 0);
	free_pages(p[21], 0);
	free_pages(p[22], 0);
	p[20] = p[0];
	p[21] = object;
	p[22] = pages[0];
	mm_set_misuse_handler(note);
	page_free_bulk(ARRAY_SIZE(p), p);
	mm_set_misuse_handler(NULL);
	KUNIT_EXPECT_EQ(test, reports, 4);
	KUNIT_EXPECT_EQ(test, last.size, F);
	free_pages_exact(pages[0], 4 * F);
	kfree(object);
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, after.alloc_calls - before.alloc_calls,
			after.free_calls - before.free_calls);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static void injected(struct kunit *test)
{
	void *p[70];

	mm_fail_nth(1);
	KUNIT_EXPECT_EQ(test, page_alloc_bulk(ARRAY_SIZE(p), p, GFP_KERNEL), 0);
	mm_fail_nth(1);
	KUNIT_EXPECT_EQ(test, page_alloc_bulk(ARRAY_SIZE(p), p, GFP_KERNEL | __GFP_NOFAIL),
			ARRAY_SIZE(p));
	mm_fail_off();
	page_free_bulk(ARRAY_SIZE(p), p);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

struct load {
	uint64_t rng, torn, ops;
	uint32_t stop;
	unsigned n;
	uint64_t *p[150];
};

static struct load load[PORT_MAX_CPUS], irq_load[PORT_MAX_CPUS];

/* All of them are taken, and given back shuffled. */
static void step(void *arg)
{
	struct load *l = arg;
	uint64_t r = fix_rng(&l->rng);

	l->ops++;
	if (!l->n) {
		l->n = (unsigned)page_alloc_bulk(1 + r % ARRAY_SIZE(l->p), (void **)l->p,
						 GFP_ATOMIC);
		for (unsigned i = 0; i < l->n; i++)
			*l->p[i] = (uint64_t)(uintptr_t)l + i;
		return;
	}
	for (unsigned i = 0; i < l->n; i++)
		l->torn += *l->p[i] != (uint64_t)(uintptr_t)l + i;
	if (r & 1)
		shuffle((void **)l->p, l->n);
	page_free_bulk(l->n, (void **)l->p);
	l->n = 0;
}

static void work(void *arg)
{
	struct load *l = arg;

	while (!atomic_load(&l->stop)) {
		step(l);
		if (l->ops % 32 == 0)
			task_yield();
	}
}

static void all_cpus_at_once(struct kunit *test)
{
	static struct task *task[PORT_MAX_CPUS];
	struct mm_stats before, after;
	unsigned ncpus = cpu_count();

	mm_drain();
	mm_stats(&before);
	memset(load, 0, sizeof(load));
	memset(irq_load, 0, sizeof(irq_load));
	reports = 0;
	mm_set_misuse_handler(note);
	for (unsigned cpu = 0; cpu < ncpus; cpu++) {
		load[cpu].rng = 0x5eed00c1 + cpu;
		irq_load[cpu].rng = 0x5eed10c1 + cpu;
		task[cpu] = task_start(cpu, work, &load[cpu], "bulk");
		KUNIT_EXPECT_NOT_NULL(test, task[cpu]);
	}
	for (unsigned round = 0; round < 60 / ncpus + 4; round++) {
		for (unsigned cpu = 0; cpu < ncpus; cpu++) {
			run_in_irq(cpu, step, &irq_load[cpu]);
			run_in_nmi((cpu + 1) % ncpus, step, &irq_load[cpu]);
		}
		task_yield();
		if (round % 32 == 0)
			mm_drain();
	}
	for (unsigned cpu = 0; cpu < ncpus; cpu++)
		atomic_store(&load[cpu].stop, 1);
	for (unsigned cpu = 0; cpu < ncpus; cpu++) {
		if (task[cpu])
			task_join(task[cpu]);
		page_free_bulk(load[cpu].n, (void **)load[cpu].p);
		page_free_bulk(irq_load[cpu].n, (void **)irq_load[cpu].p);
		KUNIT_EXPECT_EQ(test, load[cpu].torn + irq_load[cpu].torn, 0);
	}
	mm_set_misuse_handler(NULL);
	KUNIT_EXPECT_EQ(test, reports, 0);
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, after.alloc_calls - before.alloc_calls,
			after.free_calls - before.free_calls);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static struct kunit_case pagebulk_cases[] = {
	KUNIT_CASE(every_size),
	KUNIT_CASE(by_words),
	KUNIT_CASE(slots_last),
	KUNIT_CASE(reserves_stay),
	KUNIT_CASE(what_fails),
	KUNIT_CASE(twice),
	KUNIT_CASE(changed_meanwhile),
	KUNIT_CASE(far_apart),
	KUNIT_CASE(without_room),
	KUNIT_CASE_SLOW(random_of_two),
	KUNIT_CASE(wrong_ones_among_them),
	KUNIT_CASE(injected),
	KUNIT_CASE_SLOW(all_cpus_at_once),
	{},
};

static struct kunit_suite pagebulk_suite = {
	.name = "pagebulk",
	.test_cases = pagebulk_cases,
};
kunit_test_suite(pagebulk_suite);
