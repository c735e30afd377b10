// SPDX-License-Identifier: MIT
/* Books, reports and patterns for the suites of objects; see object_fixture.h. */
#include "lib/spinlock.h"
#include "lib/string.h"
#include "tests/suites/object_fixture.h"

static struct spinlock reports_lock;
static struct mm_misuse_report last;
static unsigned nreports;

void books_open(struct mm_stats *before)
{
	mm_drain();
	mm_stats(before);
}

void books_close(struct kunit *test, const struct mm_stats *before)
{
	struct mm_stats after;

	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.objects_live, before->objects_live);
	KUNIT_EXPECT_EQ(test, after.objects_live_bytes, before->objects_live_bytes);
	KUNIT_EXPECT_EQ(test, after.frames_used, before->frames_used);
	KUNIT_EXPECT_EQ(test, after.alloc_calls - before->alloc_calls,
			after.free_calls - before->free_calls);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* In any context; an NMI that finds the lock taken only counts. */
static void keep_report(const struct mm_misuse_report *report)
{
	unsigned long flags;

	(void)atomic_fetch_add(&nreports, 1);
	if (!spin_lock_context(&reports_lock, &flags))
		return;
	last = *report;
	spin_unlock_irqrestore(&reports_lock, flags);
}

void reports_start(void)
{
	atomic_store(&nreports, 0);
	memset(&last, 0, sizeof(last));
	mm_set_misuse_handler(keep_report);
}

void reports_stop(void)
{
	mm_set_misuse_handler(NULL);
}

unsigned reports_count(void)
{
	return atomic_load(&nreports);
}

struct mm_misuse_report reports_last(void)
{
	unsigned long flags = spin_lock_irqsave(&reports_lock);
	struct mm_misuse_report report = last;

	spin_unlock_irqrestore(&reports_lock, flags);
	return report;
}

static unsigned char pattern(uint64_t tag, size_t at)
{
	return (unsigned char)(tag * 0x9e3779b97f4a7c15ULL >> 56) ^ (unsigned char)(at + (at >> 8));
}

void object_fill(void *p, size_t size, uint64_t tag)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)p)[i] = pattern(tag, i);
}

bool object_holds(const void *p, size_t size, uint64_t tag)
{
	for (size_t i = 0; i < size; i++)
		if (((const unsigned char *)p)[i] != pattern(tag, i))
			return false;
	return true;
}

bool object_is_zero(const void *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (((const unsigned char *)p)[i])
			return false;
	return true;
}
