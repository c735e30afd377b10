// SPDX-License-Identifier: MIT
/*
 * kmalloc() and its relatives: what callers are promised, for every size; then
 * what happens when memory is made to seem to run out.
 */
#include <spanheap/fault.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "lib/string.h"
#include "mm/pagemap.h"
#include "mm/sizeclass.h"
#include "mm/span.h"
#include "tests/suites/object_fixture.h"

#define KIB 1024UL
#define MIB (1024 * KIB)

static const size_t large_sizes[] = {
	32 * KIB + 1, 40000, 48 * KIB, 64 * KIB - 1, 64 * KIB,	  64 * KIB + 1, 100000,	 128 * KIB,
	MIB - 1,      MIB,   MIB + 1,  2 * MIB,	     3 * MIB + 5, 4 * MIB,	5 * MIB,
};

/* What DESIGN promises: natural for powers of two, 16 from 16 bytes up, less below. */
static size_t promised_alignment(size_t size)
{
	if (is_pow2(size))
		return size;
	if (size >= 16)
		return 16;
	return size > 8 ? 8 : 1UL << (63 - clz64(size));
}

static void check_object(struct kunit *test, const void *p, size_t size)
{
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ_MSG(test, (uintptr_t)virt_to_phys(p) % promised_alignment(size), 0,
			    "%zu bytes at %p", size, p);
	KUNIT_EXPECT_GE_MSG(test, ksize(p), size, "%zu bytes", size);
}

static void every_small_size(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (size_t size = 1; size <= 40000; size++) {
		void *p = kmalloc(size, GFP_KERNEL), *q = kmalloc(size, GFP_KERNEL);

		check_object(test, p, size);
		check_object(test, q, size);
		KUNIT_ASSERT_GE_MSG(test, p < q ? q - p : p - q, ksize(p), "%zu bytes", size);
		memset(p, 0x5a, MIN(size, 64));
		memset((char *)p + ksize(p) - MIN(size, 64), 0x5a, MIN(size, 64));
		kfree(p);
		kfree(q);
	}
	books_close(test, &before);
}

static void large_sizes_are_whole_pages(struct kunit *test)
{
	struct mm_stats before, held;

	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(large_sizes); i++) {
		size_t size = large_sizes[i];
		void *p = kmalloc(size, GFP_KERNEL);

		check_object(test, p, size);
		KUNIT_EXPECT_EQ(test, ksize(p), round_up(size, PAGE_SIZE));
		object_fill(p, FRAME_SIZE, size);
		object_fill((char *)p + ksize(p) - FRAME_SIZE, FRAME_SIZE, size);
		mm_stats(&held);
		KUNIT_EXPECT_EQ(test, held.objects_live, before.objects_live + 1);
		KUNIT_EXPECT_EQ(test, held.objects_live_bytes,
				before.objects_live_bytes + ksize(p));
		KUNIT_EXPECT_EQ(test, held.frames_used, before.frames_used + ksize(p) / FRAME_SIZE);
		kfree(p);
	}
	books_close(test, &before);
}

#define CROWD 400

/* Each object is filled to its last usable byte; whoever overlaps is found. */
static void contents_stay(struct kunit *test)
{
	static void *object[CROWD];
	struct mm_stats before;
	uint64_t rng = 0x5eed0001;

	books_open(&before);
	for (unsigned i = 0; i < CROWD; i++) {
		object[i] = kmalloc(random_size(&rng, 40000), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, object[i]);
		object_fill(object[i], ksize(object[i]), i);
	}
	/* Every other one is replaced, so that old places are used again. */
	for (unsigned i = 0; i < CROWD; i += 2) {
		KUNIT_EXPECT_TRUE(test, object_holds(object[i], ksize(object[i]), i));
		kfree(object[i]);
		object[i] = kmalloc(random_size(&rng, 40000), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, object[i]);
		object_fill(object[i], ksize(object[i]), i);
	}
	for (unsigned i = 0; i < CROWD; i++) {
		KUNIT_EXPECT_TRUE(test, object_holds(object[i], ksize(object[i]), i));
		kfree(object[i]);
	}
	books_close(test, &before);
}

static void zeroed_after_use(struct kunit *test)
{
	static void *object[20];
	struct mm_stats before;

	books_open(&before);
	for (unsigned sc = 1; sc < NR_SIZE_CLASSES + 3; sc++) {
		size_t size = sc < NR_SIZE_CLASSES ? size_classes[sc].size
						   : large_sizes[4 * (sc - NR_SIZE_CLASSES)];

		for (unsigned i = 0; i < ARRAY_SIZE(object); i++) {
			object[i] = kmalloc(size, GFP_KERNEL);
			KUNIT_ASSERT_NOT_NULL(test, object[i]);
			memset(object[i], 0xa5, ksize(object[i]));
		}
		kfree_bulk(ARRAY_SIZE(object), object);
		for (unsigned i = 0; i < ARRAY_SIZE(object); i++) {
			object[i] = i % 2 ? kzalloc(size, GFP_KERNEL)
					  : kcalloc(1, size, GFP_ATOMIC | __GFP_NOSCAN);
			KUNIT_ASSERT_NOT_NULL(test, object[i]);
			KUNIT_EXPECT_TRUE_MSG(test, object_is_zero(object[i], ksize(object[i])),
					      "%zu bytes", size);
			memset(object[i], 0xa5, ksize(object[i]));
		}
		kfree_bulk(ARRAY_SIZE(object), object);
	}
	books_close(test, &before);
}

static void resized(struct kunit *test)
{
	static const size_t sizes[] = { 1,    7,    8,	  15,	 16,	17,	64,	100,
					1000, 4096, 8192, 32768, 32769, 100000, 1000000 };
	struct mm_stats before;

	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(sizes); j++) {
			size_t from = sizes[i], to = sizes[j];
			char *p = kmalloc(from, GFP_KERNEL), *q;

			KUNIT_ASSERT_NOT_NULL(test, p);
			object_fill(p, from, from);
			q = krealloc(p, to, GFP_KERNEL);
			KUNIT_ASSERT_NOT_NULL(test, q);
			KUNIT_EXPECT_GE(test, ksize(q), to);
			KUNIT_EXPECT_TRUE_MSG(test, object_holds(q, MIN(from, to), from),
					      "%zu to %zu bytes", from, to);
			memset(q, 0x77, to);
			kfree(q);
		}
	books_close(test, &before);
}

static void resize_to_and_from_nothing(struct kunit *test)
{
	struct mm_stats before;
	char *p;

	books_open(&before);
	KUNIT_EXPECT_PTR_EQ(test, krealloc(NULL, 0, GFP_KERNEL), zerobase);
	p = krealloc(NULL, 100, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_PTR_EQ(test, krealloc(p, 0, GFP_KERNEL), zerobase);
	p = krealloc(zerobase, 50, GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_TRUE(test, object_is_zero(p, ksize(p)));
	memset(p, 0xee, ksize(p));
	p = krealloc(p, 5000, GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, (unsigned char)p[49], 0xee);
	KUNIT_EXPECT_TRUE(test, object_is_zero(p + 64, ksize(p) - 64));
	mm_fail_nth(1);
	KUNIT_EXPECT_NULL(test, krealloc(p, 50000, GFP_KERNEL));
	mm_fail_off();
	KUNIT_EXPECT_EQ_MSG(test, (unsigned char)p[49], 0xee,
			    "a failed krealloc() changes nothing");
	kfree(p);
	books_close(test, &before);
}

static void absurd_sizes(struct kunit *test)
{
	static const size_t sizes[] = { SIZE_MAX,	 SIZE_MAX - 1, SIZE_MAX - 4096,
					SIZE_MAX - 8192, 1UL << 63,    (1UL << 63) - 1,
					1UL << 62,	 1UL << 53,    1UL << 47,
					(1UL << 45) + 1, 1UL << 44 };
	struct mm_stats before;
	void *p[2];

	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		KUNIT_EXPECT_NULL(test, kmalloc(sizes[i], GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, kzalloc(sizes[i], GFP_ATOMIC));
		KUNIT_EXPECT_NULL(test, kmalloc_aligned(sizes[i], 64, GFP_KERNEL));
		KUNIT_EXPECT_EQ(test, kmalloc_bulk(sizes[i], GFP_KERNEL, 2, p), 0);
	}
	for (size_t n = 2; n; n *= 2) {
		KUNIT_EXPECT_NULL(test, kcalloc(SIZE_MAX / n + 1, n, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, kcalloc(n, SIZE_MAX / n + 1, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, kmalloc_array(SIZE_MAX / n + 2, n, GFP_KERNEL));
	}
	KUNIT_EXPECT_NULL(test, kmalloc_array(SIZE_MAX, SIZE_MAX, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, kcalloc(1UL << 32, 1UL << 32, GFP_KERNEL));
	books_close(test, &before);
}

static void arrays(struct kunit *test)
{
	struct mm_stats before;
	void *p;

	books_open(&before);
	for (size_t n = 0; n < 100; n++) {
		p = kmalloc_array(n, 24, GFP_KERNEL);
		KUNIT_EXPECT_GE(test, ksize(p), n * 24);
		kfree(p);
		p = kcalloc(24, n, GFP_KERNEL);
		KUNIT_EXPECT_GE(test, ksize(p), n * 24);
		KUNIT_EXPECT_TRUE(test, !n || object_is_zero(p, n * 24));
		kfree(p);
	}
	books_close(test, &before);
}

static void aligned_as_asked(struct kunit *test)
{
	static const size_t sizes[] = { 1, 8, 24, 100, 512, 1000, 5000, 8192, 20000, 40000, 70000 };
	struct mm_stats before;

	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (size_t align = 1; align <= 4 * MIB; align *= 2) {
			char *p = kmalloc_aligned(sizes[i], align, GFP_KERNEL);

			KUNIT_ASSERT_NOT_NULL(test, p);
			KUNIT_EXPECT_EQ_MSG(test, virt_to_phys(p) % align, 0, "%zu aligned to %zu",
					    sizes[i], align);
			KUNIT_EXPECT_GE(test, ksize(p), sizes[i]);
			memset(p, 0x11, sizes[i]);
			kfree(p);
		}
		KUNIT_EXPECT_NULL(test, kmalloc_aligned(sizes[i], 0, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, kmalloc_aligned(sizes[i], 3, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, kmalloc_aligned(sizes[i], 4097, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, kmalloc_aligned(sizes[i], SIZE_MAX, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, kmalloc_aligned(sizes[i], 1UL << 63, GFP_KERNEL));
	}
	books_close(test, &before);
}

static void nothing_is_zerobase(struct kunit *test)
{
	struct mm_stats before, after;

	books_open(&before);
	KUNIT_EXPECT_PTR_EQ(test, kmalloc(0, GFP_KERNEL), zerobase);
	KUNIT_EXPECT_PTR_EQ(test, kzalloc(0, GFP_ATOMIC), zerobase);
	KUNIT_EXPECT_PTR_EQ(test, kcalloc(0, 100, GFP_KERNEL), zerobase);
	KUNIT_EXPECT_PTR_EQ(test, kmalloc_array(100, 0, GFP_KERNEL), zerobase);
	KUNIT_EXPECT_PTR_EQ(test, kmalloc(0, GFP_DMA), zerobase);
	KUNIT_EXPECT_EQ(test, ksize(zerobase), 0);
	KUNIT_EXPECT_EQ(test, ksize(NULL), 0);
	KUNIT_EXPECT_EQ(test, probe_read(zerobase), -EFAULT);
	KUNIT_EXPECT_EQ(test, probe_write(zerobase), -EFAULT);
	kfree(zerobase);
	kfree(zerobase);
	kfree(NULL);
	kfree_sized(zerobase, 0);
	kfree_sized(NULL, 0);
	kfree_sized(NULL, 100);
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.objects_live, before.objects_live);
	books_close(test, &before);
}

static void noscan_lives_apart(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	/* What is smaller shares blocks: see the suite "tiny". */
	for (unsigned sc = 2; sc < NR_SIZE_CLASSES; sc++) {
		size_t size = size_classes[sc].size;
		void *scan = kmalloc(size, GFP_KERNEL);
		void *noscan = kmalloc(size, GFP_KERNEL | __GFP_NOSCAN);
		struct span *a, *b;

		check_object(test, scan, size);
		check_object(test, noscan, size);
		a = pagemap_find(virt_to_phys(scan));
		b = pagemap_find(virt_to_phys(noscan));
		KUNIT_EXPECT_PTR_NE(test, a, b);
		KUNIT_EXPECT_PTR_NE(test, a->class, b->class);
		KUNIT_EXPECT_EQ(test, a->size, b->size);
		kfree(scan);
		kfree(noscan);
	}
	books_close(test, &before);
}

static void windows_of_addresses(struct kunit *test)
{
	static const struct {
		gfp_t gfp;
		phys_addr_t end;
	} window[] = { { GFP_DMA, 16 * MIB }, { GFP_DMA32, 4096 * MIB } };
	struct mm_stats before;

	books_open(&before);
	for (unsigned w = 0; w < ARRAY_SIZE(window); w++)
		for (size_t size = 8; size <= 256 * KIB; size *= 2)
			for (size_t less = 0; less < 2; less++) {
				gfp_t gfp = window[w].gfp | (less ? __GFP_ZERO : 0);
				void *p = kmalloc(size - less, gfp);

				if (!p)
					continue; /* small machines have little there */
				check_object(test, p, size - less);
				KUNIT_EXPECT_LE(test, virt_to_phys(p) + ksize(p), window[w].end);
				if (less)
					KUNIT_EXPECT_TRUE(test, object_is_zero(p, ksize(p)));
				memset(p, 0x42, ksize(p));
				kfree_sized(p, size - less);
			}
	books_close(test, &before);
}

#define SAME_CLASS(n)                                                                \
	do {                                                                         \
		volatile size_t runtime = n;                                         \
		void *p = kmalloc(n, GFP_KERNEL), *q = kmalloc(runtime, GFP_KERNEL); \
                                                                                     \
		check_object(test, p, n);                                            \
		check_object(test, q, n);                                            \
		KUNIT_EXPECT_EQ(test, ksize(p), ksize(q));                           \
		kfree(p);                                                            \
		kfree_sized(q, n);                                                   \
	} while (0)

static void constants_agree_with_variables(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	SAME_CLASS(1);
	SAME_CLASS(7);
	SAME_CLASS(8);
	SAME_CLASS(9);
	SAME_CLASS(16);
	SAME_CLASS(17);
	SAME_CLASS(24);
	SAME_CLASS(32);
	SAME_CLASS(33);
	SAME_CLASS(96);
	SAME_CLASS(97);
	SAME_CLASS(1024);
	SAME_CLASS(1025);
	SAME_CLASS(1152);
	SAME_CLASS(1153);
	SAME_CLASS(4096);
	SAME_CLASS(8192);
	SAME_CLASS(8193);
	SAME_CLASS(27264);
	SAME_CLASS(32767);
	SAME_CLASS(32768);
	SAME_CLASS(32769);
	SAME_CLASS(65536);
	books_close(test, &before);
}

/* ---- Bulk ---- */

#define BULK 300

static void bulk(struct kunit *test)
{
	static const size_t sizes[] = { 8, 48, 256, 2048, 30000, 50000 };
	static void *p[BULK];
	struct mm_stats before;

	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (size_t n = 0; n <= BULK; n = n * 3 + 1) {
			n = MIN(n, sizes[i] > 2048 ? 20 : BULK);
			KUNIT_ASSERT_EQ(test, kmalloc_bulk(sizes[i], GFP_KERNEL, n, p), n);
			for (size_t k = 0; k < n; k++) {
				check_object(test, p[k], sizes[i]);
				object_fill(p[k], sizes[i], k);
			}
			for (size_t k = 0; k < n; k++)
				KUNIT_EXPECT_TRUE(test, object_holds(p[k], sizes[i], k));
			if (n > 2)
				kfree(p[1]), p[1] = NULL;
			kfree_bulk(n, p);
			if (n == 20 || n == BULK)
				break;
		}
	books_close(test, &before);
}

static void bulk_is_all_or_nothing(struct kunit *test)
{
	static void *p[BULK];
	struct mm_stats before;
	size_t got = 0;

	books_open(&before);
	for (uint64_t nth = 1; nth < 3 * BULK && !got; nth++) {
		mm_drain();
		mm_fail_nth(nth);
		got = kmalloc_bulk(128, GFP_KERNEL, BULK, p);
		mm_fail_off();
		KUNIT_ASSERT_TRUE(test, got == 0 || got == BULK);
	}
	KUNIT_EXPECT_EQ(test, got, BULK);
	kfree_bulk(got, p);
	books_close(test, &before);
}

/* ---- Counts ---- */

static void calls_are_counted(struct kunit *test)
{
	struct mm_stats before, after;
	void *p[10];

	books_open(&before);
	for (unsigned i = 0; i < 10; i++)
		p[i] = kmalloc(100 + i * 5000, GFP_KERNEL);
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.alloc_calls, before.alloc_calls + 10);
	KUNIT_EXPECT_EQ(test, after.free_calls, before.free_calls);
	KUNIT_EXPECT_EQ(test, after.objects_live, before.objects_live + 10);
	for (unsigned i = 0; i < 10; i++)
		kfree(p[i]);
	KUNIT_EXPECT_NULL(test, kmalloc(1UL << 50, GFP_KERNEL));
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.alloc_calls, before.alloc_calls + 10);
	KUNIT_EXPECT_EQ(test, after.free_calls, before.free_calls + 10);
	KUNIT_EXPECT_EQ(test, after.failed_calls, before.failed_calls + 1);
	books_close(test, &before);
}

/* ---- Failures on purpose ---- */

static void *alloc_8(void)
{
	return kmalloc_any(8, GFP_KERNEL);
}

static void *alloc_zeroed(void)
{
	return kzalloc(3000, GFP_ATOMIC);
}

static void *alloc_noscan(void)
{
	return kmalloc_any(20000, GFP_KERNEL | __GFP_NOSCAN);
}

static void *alloc_large(void)
{
	return kmalloc_any(MIB + 1, GFP_KERNEL);
}

static void *alloc_dma32(void)
{
	return kmalloc_any(100, GFP_DMA32);
}

static void *alloc_aligned(void)
{
	return kmalloc_aligned(100, 64 * KIB, GFP_KERNEL);
}

static void *alloc_resized(void)
{
	void *p = kmalloc(50, GFP_KERNEL), *q = p ? krealloc(p, 5000, GFP_KERNEL) : NULL;

	if (!q)
		kfree(p);
	return q;
}

static void *(*const allocs[])(void) = { alloc_8,     alloc_zeroed,  alloc_noscan, alloc_large,
					 alloc_dma32, alloc_aligned, alloc_resized };

/* The first fails outright, the next inside, and so on, until there is none left. */
static void every_point_fails_once(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(allocs); i++) {
		void *p = NULL;

		for (uint64_t nth = 1; !p && nth < 100; nth++) {
			mm_drain();
			mm_fail_nth(nth);
			p = allocs[i]();
			mm_fail_off();
			if (nth == 1)
				KUNIT_EXPECT_NULL_MSG(test, p, "call %u", i);
		}
		KUNIT_EXPECT_NOT_NULL_MSG(test, p, "call %u", i);
		kfree(p);
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	}
	books_close(test, &before);
}

/* What the windows hold does not shield a call that is to fail. */
static void fails_with_full_windows(struct kunit *test)
{
	struct mm_stats before;
	void *p = kmalloc_any(64, GFP_KERNEL), *q;

	books_open(&before);
	KUNIT_ASSERT_NOT_NULL(test, p);
	for (unsigned i = 0; i < 5; i++) {
		q = kmalloc_any(64, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, q);
		kfree(q);
		mm_fail_nth(1);
		q = kmalloc_any(64, GFP_KERNEL);
		KUNIT_EXPECT_NULL(test, q);
		kfree(q);
		q = kmalloc_any(64, GFP_KERNEL);
		KUNIT_EXPECT_NOT_NULL_MSG(test, q, "once only");
		kfree(q);
		mm_fail_off();
	}
	mm_fail_nth(3);
	for (unsigned i = 1; i <= 5; i++) {
		q = kmalloc(i == 3 ? 0 : 64, GFP_KERNEL);
		KUNIT_EXPECT_EQ_MSG(test, !q, i == 3, "call %u", i);
		kfree(q);
	}
	mm_fail_off();
	books_close(test, &before);
	kfree(p);
}

static void random_failures(struct kunit *test)
{
	static void *object[64];
	struct mm_stats before;
	uint64_t rng = 0x5eed0002;
	unsigned failed = 0;

	books_open(&before);
	memset(object, 0, sizeof(object));
	for (unsigned i = 0; i < 4000; i++) {
		void **slot = &object[next_random(&rng) % ARRAY_SIZE(object)];

		if (i % 100 == 0)
			mm_fail_rate(1 + i / 100 % 7, next_random(&rng));
		if (i % 500 == 0)
			mm_drain();
		kfree(*slot);
		*slot = kmalloc_any(random_size(&rng, 100000), GFP_KERNEL);
		failed += !*slot;
	}
	mm_fail_off();
	KUNIT_EXPECT_GT(test, failed, 500);
	KUNIT_EXPECT_LT(test, failed, 3500);
	kfree_bulk(ARRAY_SIZE(object), object);
	books_close(test, &before);
}

static void nofail_does_not_fail(struct kunit *test)
{
	static void *p[200];
	struct mm_stats before;

	books_open(&before);
	for (unsigned one_in = 1; one_in <= 3; one_in++) {
		mm_fail_rate(one_in, one_in);
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = kmalloc_any(i % 3 ? 2000 : 70000, GFP_KERNEL | __GFP_NOFAIL);
			KUNIT_EXPECT_NOT_NULL(test, p[i]);
		}
		mm_fail_off();
		kfree_bulk(ARRAY_SIZE(p), p);
		mm_drain();
	}
	books_close(test, &before);
}

static struct kunit_case kmalloc_cases[] = {
	KUNIT_CASE(every_small_size),
	KUNIT_CASE(large_sizes_are_whole_pages),
	KUNIT_CASE(contents_stay),
	KUNIT_CASE(zeroed_after_use),
	KUNIT_CASE(resized),
	KUNIT_CASE(resize_to_and_from_nothing),
	KUNIT_CASE(absurd_sizes),
	KUNIT_CASE(arrays),
	KUNIT_CASE(aligned_as_asked),
	KUNIT_CASE(nothing_is_zerobase),
	KUNIT_CASE(noscan_lives_apart),
	KUNIT_CASE(windows_of_addresses),
	KUNIT_CASE(constants_agree_with_variables),
	KUNIT_CASE(bulk),
	KUNIT_CASE(bulk_is_all_or_nothing),
	KUNIT_CASE(calls_are_counted),
	KUNIT_CASE(every_point_fails_once),
	KUNIT_CASE(fails_with_full_windows),
	KUNIT_CASE(random_failures),
	KUNIT_CASE(nofail_does_not_fail),
	{},
};

static struct kunit_suite kmalloc_suite = { .name = "kmalloc", .test_cases = kmalloc_cases };
kunit_test_suite(kmalloc_suite);
