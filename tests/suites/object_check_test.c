// SPDX-License-Identifier: MIT
/*
 * mm_validate() sees what is broken in the spans of objects: each row breaks one
 * thing, looks, and mends it.
 */
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "mm/mcache.h"
#include "mm/object_check.h"
#include "tests/suites/object_fixture.h"

#define SIZE 512 /* 16 in a span: room for wrong bits */
#define CROWD 40

/* A listed span of this CPU, with objects held. */
static struct span *span;
static uint64_t kept;

static struct span_list *list_of_span(void)
{
	return &mcache_heap(this_cpu())->partial[span->class->index];
}

static void bit_of_no_object(bool mend)
{
	span->used[0] ^= 1ULL << 60;
	(void)mend;
}

static void remote_bit_untold(bool mend)
{
	span_remote(span)[0] = mend ? 0 : 1;
}

static void claim_without_inbox(bool mend)
{
	span->inbox_next = mend ? NULL : SPAN_CLAIMED;
}

static void mail_without_inbox(bool mend)
{
	span->cpu = mend ? (uint32_t)kept : span->cpu | SPAN_MAIL;
}

static void wrong_owner(bool mend)
{
	span->cpu = mend ? (uint32_t)kept : span->cpu + 1;
}

static void nobody(bool mend)
{
	span->cpu = mend ? (uint32_t)kept : SPAN_NOBODY;
}

static void spare_with_an_object(bool mend)
{
	span_set_spare(span, !mend);
}

static void not_in_the_page_map(bool mend)
{
	if (mend)
		(void)pagemap_set(span->base, span->class->npages, span);
	else
		pagemap_clear(span->base, span->class->npages);
}

static void lost_from_its_list(bool mend)
{
	if (mend)
		span_list_add(list_of_span(), span);
	else
		span_list_del(list_of_span(), span);
}

static void listed_but_says_no(bool mend)
{
	span->window = mend ? &window_listed : &window_unlisted;
}

static void miscounted_list(bool mend)
{
	list_of_span()->n += mend ? -1UL : 1;
}

static void miscounted_spare(bool mend)
{
	mcache_heap(this_cpu())->spare_bytes += mend ? -1UL : 1;
}

static void miscounted_owned(bool mend)
{
	mcache_heap(this_cpu())->owned_bytes += mend ? -1UL : 1;
}

static void miscounted_inbox(bool mend)
{
	mcache_heap(this_cpu())->inbox_bytes += mend ? -1UL : 1;
}

static const struct {
	const char *name;
	void (*toggle)(bool mend);
} rows[] = {
	{ "a bit of no object", bit_of_no_object },
	{ "a remote bit that nobody was told of", remote_bit_untold },
	{ "a claim, but in no inbox", claim_without_inbox },
	{ "mail, but in no inbox", mail_without_inbox },
	{ "another CPU's, in our list", wrong_owner },
	{ "nobody's", nobody },
	{ "spare, but in use", spare_with_an_object },
	{ "not in the page map", not_in_the_page_map },
	{ "lost from its list", lost_from_its_list },
	{ "in a list, but does not say so", listed_but_says_no },
	{ "a list with a wrong count", miscounted_list },
	{ "wrong spare bytes", miscounted_spare },
	{ "wrong bytes of what it owns", miscounted_owned },
	{ "wrong bytes of its inbox", miscounted_inbox },
};

static void sees_what_is_broken(struct kunit *test)
{
	static void *object[CROWD];
	unsigned long flags;

	mm_drain();
	KUNIT_ASSERT_EQ(test, kmalloc_bulk(SIZE, GFP_KERNEL, CROWD, object), CROWD);
	/* The window is in a later span by now, so the first one becomes listed. */
	kfree(object[0]);
	object[0] = NULL;
	span = pagemap_find(virt_to_phys(object[1]));
	KUNIT_ASSERT_TRUE(test, span_is_listed(span));
	KUNIT_ASSERT_EQ(test, object_check(), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned bad;

		flags = port_irq_save();
		kept = span->cpu;
		rows[i].toggle(false);
		bad = object_check();
		rows[i].toggle(true);
		port_irq_restore(flags);
		KUNIT_EXPECT_GT_MSG(test, bad, 0, "%s", rows[i].name);
		KUNIT_ASSERT_EQ_MSG(test, object_check(), 0, "%s", rows[i].name);
	}
	kfree_bulk(CROWD, object);
}

static struct kunit_case object_check_cases[] = { KUNIT_CASE(sees_what_is_broken), {} };

static struct kunit_suite object_check_suite = { .name = "object_check",
						 .test_cases = object_check_cases };
kunit_test_suite(object_check_suite);
