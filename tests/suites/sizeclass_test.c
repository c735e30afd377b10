// SPDX-License-Identifier: MIT
/*
 * Size classes: the generated table against two published ones and against
 * arithmetic that does not use the generator, the lookups against a linear
 * search, and the reciprocals against division for every offset there is.
 */
#include <kunit/test.h>
#include "lib/bits.h"
#include "mm/sizeclass.h"

#define LAST (NR_SIZE_CLASSES - 1)

/*
 * The rows that the seed documents print, waste in hundredths of a percent. Two
 * of their figures are misprints and stand corrected here:
 *   class 3: the tail was given as 0, but 341 objects of 24 bytes leave 8 bytes;
 *   class 4: the waste was given as 46.88 %, true before class 3 existed. (It is
 *	true again for kmalloc(), which does not use class 3: see below.)
 */
static const struct seed_row {
	uint32_t sc, size, span, nobjs, tail, worst;
} seed_rows[] = {
	{ 1, 8, 8192, 1024, 0, 8750 },	{ 2, 16, 8192, 512, 0, 4375 },
	{ 3, 24, 8192, 341, 8, 2924 },	{ 4, 32, 8192, 256, 0, 2188 },
	{ 5, 48, 8192, 170, 32, 3152 }, { 6, 64, 8192, 128, 0, 2344 },
	{ 7, 80, 8192, 102, 32, 1907 }, { 67, 32768, 32768, 1, 0, 1250 },
};

/* Size and pages of every class, as the Go runtime (1.19 and later) has them. */
static const struct {
	uint16_t size, npages;
} go_rows[NR_SIZE_CLASSES] = {
	{ 0, 0 },     { 8, 1 },	    { 16, 1 },	  { 24, 1 },	{ 32, 1 },    { 48, 1 },
	{ 64, 1 },    { 80, 1 },    { 96, 1 },	  { 112, 1 },	{ 128, 1 },   { 144, 1 },
	{ 160, 1 },   { 176, 1 },   { 192, 1 },	  { 208, 1 },	{ 224, 1 },   { 240, 1 },
	{ 256, 1 },   { 288, 1 },   { 320, 1 },	  { 352, 1 },	{ 384, 1 },   { 416, 1 },
	{ 448, 1 },   { 480, 1 },   { 512, 1 },	  { 576, 1 },	{ 640, 1 },   { 704, 1 },
	{ 768, 1 },   { 896, 1 },   { 1024, 1 },  { 1152, 1 },	{ 1280, 1 },  { 1408, 2 },
	{ 1536, 1 },  { 1792, 2 },  { 2048, 1 },  { 2304, 2 },	{ 2688, 1 },  { 3072, 3 },
	{ 3200, 2 },  { 3456, 3 },  { 4096, 1 },  { 4864, 3 },	{ 5376, 2 },  { 6144, 3 },
	{ 6528, 4 },  { 6784, 5 },  { 6912, 6 },  { 8192, 1 },	{ 9472, 7 },  { 9728, 6 },
	{ 10240, 5 }, { 10880, 4 }, { 12288, 3 }, { 13568, 5 }, { 14336, 7 }, { 16384, 2 },
	{ 18432, 9 }, { 19072, 7 }, { 20480, 5 }, { 21760, 8 }, { 24576, 3 }, { 27264, 10 },
	{ 28672, 7 }, { 32768, 4 },
};

static uint32_t span_size(unsigned sc)
{
	return size_classes[sc].npages * SIZE_CLASS_PAGE;
}

/* Hundredths of a percent that a span wastes if each object holds @used bytes. */
static uint32_t waste_with(unsigned sc, uint32_t used)
{
	uint32_t span = span_size(sc);

	return ((span - span / size_classes[sc].size * used) * 10000 + span / 2) / span;
}

static void matches_seed_rows(struct kunit *test)
{
	for (size_t i = 0; i < ARRAY_SIZE(seed_rows); i++) {
		const struct seed_row *want = &seed_rows[i];
		const struct size_class *is = &size_classes[want->sc];

		KUNIT_EXPECT_EQ_MSG(test, is->size, want->size, "class %u", want->sc);
		KUNIT_EXPECT_EQ_MSG(test, span_size(want->sc), want->span, "class %u", want->sc);
		KUNIT_EXPECT_EQ_MSG(test, is->nobjs, want->nobjs, "class %u", want->sc);
		KUNIT_EXPECT_EQ_MSG(test, is->tail, want->tail, "class %u", want->sc);
		KUNIT_EXPECT_EQ_MSG(test, is->worst, want->worst, "class %u", want->sc);
	}
}

static void matches_go_rows(struct kunit *test)
{
	for (unsigned sc = 0; sc < NR_SIZE_CLASSES; sc++) {
		KUNIT_EXPECT_EQ_MSG(test, size_classes[sc].size, go_rows[sc].size, "class %u", sc);
		KUNIT_EXPECT_EQ_MSG(test, size_classes[sc].npages, go_rows[sc].npages, "class %u",
				    sc);
	}
}

static void columns_are_arithmetic(struct kunit *test)
{
	for (unsigned sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		const struct size_class *c = &size_classes[sc];
		uint32_t below = size_classes[sc - 1].size;

		KUNIT_EXPECT_GT_MSG(test, c->size, below, "class %u", sc);
		KUNIT_EXPECT_EQ_MSG(test, c->size % 8, 0, "class %u", sc);
		KUNIT_EXPECT_EQ_MSG(test, c->nobjs, span_size(sc) / c->size, "class %u", sc);
		KUNIT_EXPECT_EQ_MSG(test, c->tail, span_size(sc) % c->size, "class %u", sc);
		KUNIT_EXPECT_EQ_MSG(test, c->worst, waste_with(sc, below + 1), "class %u", sc);
		KUNIT_EXPECT_EQ_MSG(test, c->magic, ((1ULL << 32) + c->size - 1) / c->size,
				    "class %u", sc);
		KUNIT_EXPECT_EQ_MSG(test, c->size % (1U << c->align_shift), 0, "class %u", sc);
		KUNIT_EXPECT_NE_MSG(test, c->size % (2U << c->align_shift), 0, "class %u", sc);

		/* what the rules promise: an eighth of tail at most, and no more objects */
		KUNIT_EXPECT_LE_MSG(test, c->tail, span_size(sc) / 8, "class %u", sc);
		KUNIT_EXPECT_LE_MSG(test, c->nobjs, SIZE_CLASS_OBJS_MAX, "class %u", sc);
	}
	KUNIT_EXPECT_EQ(test, size_classes[1].nobjs, SIZE_CLASS_OBJS_MAX);
	KUNIT_EXPECT_EQ(test, size_classes[LAST].size, KMALLOC_MAX_SMALL);
	/* the seeds' figure for class 4, which is kmalloc()'s */
	KUNIT_EXPECT_EQ(test, waste_with(4, KMALLOC_SKIPPED_MIN), 4688);
}

static void class_0_is_empty(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, size_classes[0].size, 0);
	KUNIT_EXPECT_EQ(test, size_classes[0].nobjs, 0);
	KUNIT_EXPECT_EQ(test, size_classes[0].npages, 0);
	KUNIT_EXPECT_EQ(test, size_classes[0].magic, 0);
}

/* The first class that holds @size bytes in objects aligned to @align. */
static unsigned search(size_t size, size_t align)
{
	for (unsigned sc = 1; size && sc < NR_SIZE_CLASSES; sc++) {
		if (size_classes[sc].size >= size && size_classes[sc].size % align == 0)
			return sc;
	}
	return 0;
}

static void lookup_of_every_size(struct kunit *test)
{
	for (size_t size = 0; size <= KMALLOC_MAX_SMALL; size++)
		KUNIT_EXPECT_EQ_MSG(test, size_class_of(size), search(size, 1), "size %zu", size);
}

static void kmalloc_lookup_of_every_size(struct kunit *test)
{
	for (size_t size = 0; size <= KMALLOC_MAX_SMALL; size++) {
		unsigned want = search(size, 1);

		if (want == KMALLOC_SKIPPED_CLASS)
			want++;
		KUNIT_EXPECT_EQ_MSG(test, kmalloc_class(size), want, "size %zu", size);
	}
	KUNIT_EXPECT_EQ(test, size_classes[KMALLOC_SKIPPED_CLASS].size, 24);
}

static void larger_sizes_have_no_class(struct kunit *test)
{
	static const size_t sizes[] = { KMALLOC_MAX_SMALL + 1, 65536,	     1UL << 32,
					SIZE_MAX - 127,	       SIZE_MAX - 7, SIZE_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		KUNIT_EXPECT_EQ_MSG(test, kmalloc_class(sizes[i]), 0, "size %zx", sizes[i]);
		KUNIT_EXPECT_EQ_MSG(test, size_class_of(sizes[i]), 0, "size %zx", sizes[i]);
		KUNIT_EXPECT_EQ_MSG(test, size_class_aligned(sizes[i], 8), 0, "size %zx", sizes[i]);
	}
}

/* What the compiler is told about constant sizes is what the tables say. */
static void constant_sizes(struct kunit *test)
{
	unsigned sc = kmalloc_class(100);

	for (size_t size = 0; size <= KMALLOC_MAX_SMALL + 1; size++)
		KUNIT_EXPECT_EQ_MSG(test, KMALLOC_CLASS_CONST(size), kmalloc_class(size),
				    "size %zu", size);
	KUNIT_EXPECT_EQ(test, KMALLOC_CLASS_CONST(SIZE_MAX), 0);

	_Static_assert(KMALLOC_CLASS_CONST(0) == 0, "nothing needs no class");
	_Static_assert(KMALLOC_CLASS_CONST(sizeof(char)) == 1, "a constant expression");
	_Static_assert(KMALLOC_CLASS_CONST(17) == 4, "17 .. 24 bytes get 32");
	_Static_assert(KMALLOC_CLASS_CONST(KMALLOC_MAX_SMALL) == LAST, "the largest class");
	_Static_assert(KMALLOC_CLASS_CONST(KMALLOC_MAX_SMALL + 1) == 0, "pages");
#ifdef __OPTIMIZE__
	KUNIT_EXPECT_TRUE(test, __builtin_constant_p(sc));
#endif
	KUNIT_EXPECT_EQ(test, sc, KMALLOC_CLASS_CONST(100));
}

static void reciprocal_of_every_offset(struct kunit *test)
{
	unsigned index;

	for (unsigned sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		const struct size_class *c = &size_classes[sc];
		uint32_t wrong = 0;

		for (uint32_t offset = 0; offset < span_size(sc); offset++)
			if (object_starts(offset, c->magic, &index) != !(offset % c->size) ||
			    index != offset / c->size)
				wrong++;
		KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "class %u", sc);
	}
	for (unsigned sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		uint64_t size = size_classes[sc].size, reciprocal = reciprocal_of((uint32_t)size);
		uint64_t wide, wrong = 0;

		for (uint64_t offset = 0; offset < span_size(sc); offset++)
			if (object_at(offset, reciprocal, &wide) != !(offset % size) ||
			    wide != offset / size)
				wrong++;
		KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "class %u", sc);
	}
	KUNIT_EXPECT_FALSE(test, object_starts(0, size_classes[0].magic, &index));
	KUNIT_EXPECT_FALSE(test, object_starts(UINT32_MAX, size_classes[0].magic, &index));
}

/*
 * Every object of a span that is aligned as its class wants has the promised
 * alignment: natural for powers of two, 16 for all else of 16 bytes or more.
 */
static void kmalloc_alignment(struct kunit *test)
{
	for (size_t size = 1; size <= KMALLOC_MAX_SMALL; size++) {
		unsigned sc = kmalloc_class(size);
		size_t align = size_classes[sc].align_shift;

		if (is_pow2(size) && size >= 8) {
			KUNIT_EXPECT_EQ_MSG(test, size_classes[sc].size, size, "size %zu", size);
			KUNIT_EXPECT_EQ_MSG(test, 1UL << align, size, "size %zu", size);
		}
		KUNIT_EXPECT_GE_MSG(test, 1UL << align, size > 8 ? 16UL : 8UL, "size %zu", size);
	}
	/* no span is asked to be aligned to more than its own size */
	for (unsigned sc = 1; sc < NR_SIZE_CLASSES; sc++)
		KUNIT_EXPECT_LE_MSG(test, 1UL << size_classes[sc].align_shift, span_size(sc),
				    "class %u", sc);
}

static void aligned_lookup(struct kunit *test)
{
	for (size_t align = 1; align <= 2 * KMALLOC_MAX_SMALL; align *= 2) {
		for (size_t size = 0; size <= KMALLOC_MAX_SMALL; size += size < 1024 ? 1 : 61)
			KUNIT_EXPECT_EQ_MSG(test, size_class_aligned(size, align),
					    search(size, align), "size %zu align %zu", size, align);
	}
}

static struct kunit_case sizeclass_cases[] = {
	KUNIT_CASE(matches_seed_rows),
	KUNIT_CASE(matches_go_rows),
	KUNIT_CASE(columns_are_arithmetic),
	KUNIT_CASE(class_0_is_empty),
	KUNIT_CASE(lookup_of_every_size),
	KUNIT_CASE(kmalloc_lookup_of_every_size),
	KUNIT_CASE(larger_sizes_have_no_class),
	KUNIT_CASE(constant_sizes),
	KUNIT_CASE(reciprocal_of_every_offset),
	KUNIT_CASE(kmalloc_alignment),
	KUNIT_CASE(aligned_lookup),
	{},
};

static struct kunit_suite sizeclass_suite = {
	.name = "sizeclass",
	.test_cases = sizeclass_cases,
};
kunit_test_suite(sizeclass_suite);
