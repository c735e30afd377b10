// SPDX-License-Identifier: MIT
/* Books, reports and patterns for the suites of objects; see object_fixture.h. */
#include <spanheap/fault.h>

#include "lib/spinlock.h"
#include "lib/string.h"
#include "tests/suites/object_fixture.h"

static struct spinlock reports_lock;
static struct mm_misuse_report last;
static unsigned nreports;

uint64_t frames_used(void)
{
	struct mm_stats s;

	books_open(&s);
	return s.frames_used;
}

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

void expect_report(struct kunit *test, enum mm_misuse kind, const void *addr)
{
	struct mm_misuse_report report = reports_last();

	KUNIT_EXPECT_EQ_MSG(test, reports_count(), 1, "kind %d at %p", kind, addr);
	KUNIT_EXPECT_EQ_MSG(test, report.kind, kind, "at %p", addr);
	KUNIT_EXPECT_PTR_EQ(test, report.addr, addr);
	KUNIT_EXPECT_NOT_NULL(test, report.caller);
	reports_start();
}

int object_test_init(struct kunit *test)
{
	(void)test;
	mm_drain();
	reports_start();
	return 0;
}

void object_test_exit(struct kunit *test)
{
	mm_fail_off();
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	reports_stop();
	mm_drain();
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
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
