// SPDX-License-Identifier: MIT
/*
 * Spans change hands: the real code of mm/ (see handover_fixture.h) through every
 * interleaving of two or three CPUs up to a number of preemptions.
 *
 * In each run, and after it when all CPUs were flushed:
 *	no object is handed out while somebody holds it
 *	no good free is refused, no report is made without a reason
 *	no span ends under an object
 *	each object is held, or free in a span of mcentral's, or its span has ended
 *	no remote bit, no claim and no inbox is left behind
 */
#include "tests/host/handover_fixture.h"

/* ---- What actors do ---- */

static uint8_t *holder_of(const void *object)
{
	phys_addr_t pa = virt_to_phys(object);
	const struct span *span = page[page_of(pa)].span;

	return span ? &page[page_of(pa)].held[(pa - span->base) / span->size] : NULL;
}

static void note_holder(const void *object)
{
	uint8_t *held = holder_of(object);

	if (!held)
		sched_fail("an object of no span");
	else if (*held)
		sched_fail("an object is handed out twice");
	else
		*held = 1;
}

static void *take(unsigned c)
{
	struct window *window = &class_cpu[c][actor_cpu()].window[actor_context()];
	void *object = NULL;

	actor_point();
	if (!window_take(window, &object) &&
	    !(window_reload(window) && window_take(window, &object)))
		object = mcache_alloc(&class[c], GFP_KERNEL);
	return object;
}

/* Does the scenario free afar quickly, as the malloc library does? */
static bool afar;

static int try_free(void *object)
{
	phys_addr_t pa = virt_to_phys(object);
	struct span *span = pagemap_find(pa);
	unsigned index;
	bool tell;

	if (!span->magic)
		return MM_DOUBLE_FREE;
	if (span_free_quickly(pagemap_entry_of(span), object, false))
		return -1;
	index = (unsigned)((pa - span->base) / span->size);
	if (afar && span_free_afar_quickly(span, index, &tell)) {
		if (tell)
			mcache_tell(span);
		return -1;
	}
	return mcache_free(span, index);
}

static void give(void *object)
{
	if (!object)
		return;
	*holder_of(object) = 0;
	if (try_free(object) >= 0)
		sched_fail("a good free was refused");
}

static void flush(void)
{
	for (unsigned c = 0; c < CLASSES; c++)
		mcache_flush_class(&class[c]);
}

/* ---- Before and after ---- */

static void *object[16];

/* More than any limit: an empty span is one too many at once. */
#define SPARE (1UL << 40)

static void reset(void)
{
	static const uint32_t sizes[CLASSES] = { PAGE_SIZE / 4, PAGE_SIZE / 8 };

	memset(page, 0, sizeof(page));
	memset(frames, 0, sizeof(frames));
	memset(class_cpu, 0, sizeof(class_cpu));
	memset(object, 0, sizeof(object));
	memset(&pool, 0, sizeof(pool));
	memset(active, 0, sizeof(active));
	memset(irqs_off, 0, sizeof(irqs_off));
	nframes = reports = 0;
	for (unsigned c = 0; c < CLASSES; c++) {
		memset(&class[c], 0, sizeof(class[c]));
		span_class_init(&class[c], sizes[c], 1, PAGE_SIZE);
		class[c].cpu = class_cpus[c];
		for (unsigned cpu = 0; cpu < CPUS; cpu++) {
			class_cpus[c][cpu] = &class_cpu[c][cpu];
			for (unsigned i = 0; i < MM_NR_CONTEXTS; i++)
				class_cpu[c][cpu].window[i].taken = ~0ULL;
		}
	}
	for (unsigned cpu = 0; cpu < CPUS; cpu++) {
		memset(&cpu_heaps[cpu], 0, sizeof(cpu_heaps[cpu]));
		for (unsigned i = 0; i < MM_NR_CONTEXTS; i++)
			cpu_heaps[cpu].mcache[i] = (struct mcache *)&empty_mcache;
		cpu_heaps[cpu].spare_bytes = SPARE;
	}
}

static void as(unsigned cpu)
{
	outside = (struct actor){ .cpu = cpu };
}

static void check_page(unsigned nr)
{
	struct span *span = page[nr].span;
	uint64_t held = 0;

	if (!span != !page[nr].used)
		sched_fail("page and span disagree");
	if (!span)
		return;
	for (unsigned i = 0; i < OBJS_MAX; i++)
		held |= (uint64_t)page[nr].held[i] << i;
	if (span->used[0] != held)
		sched_fail("an object is lost, or free under its holder");
	if (span_remote(span)[0])
		sched_fail("a remote bit was left behind");
	if (span->inbox_next)
		sched_fail("a claim was left behind");
	if (!held)
		sched_fail("an empty span has not ended");
	if (span->cpu != SPAN_CENTRAL && (span->cpu >= CPUS || span_has_free(span)))
		sched_fail("a span with free objects stayed with its CPU");
}

/* Each span that is in the list counts once. */
static size_t check_central(const struct span_list *list, bool listed, unsigned *seen)
{
	const struct span *prev = NULL;
	size_t n = 0;

	for (struct span *span = list->first; span && n <= PAGES;
	     prev = span, span = span->next, n++) {
		unsigned bit = 1U << page_of(span->base);

		if (*seen & bit || span->cpu != SPAN_CENTRAL || span->prev != prev ||
		    span_is_listed(span) != listed)
			sched_fail("a list of mcentral's is wrong");
		*seen |= bit;
	}
	if (n != list->n)
		sched_fail("mcentral has lost count");
	return n;
}

static size_t central_spans(void)
{
	unsigned seen = 0;
	size_t n = 0;

	for (unsigned c = 0; c < CLASSES; c++) {
		for (unsigned i = 0; i < 2 * MEM_WINDOWS; i++) {
			const struct mcentral *central = &class[c].central[0][i / 2];

			n += check_central(&central->partial[i % 2], true, &seen);
			n += check_central(&central->full[i % 2], false, &seen);
		}
	}
	return n;
}

/* Before anybody looks: whoever is to fold a remote bit has been told. */
static void check_mail(void)
{
	for (unsigned nr = 0; nr < PAGES; nr++)
		if (page[nr].span && span_remote(page[nr].span)[0] && !page[nr].span->inbox_next)
			sched_fail("a remote free was told to nobody");
}

static void check_all(void *arg)
{
	size_t n = 0;

	(void)arg;
	inside = false;
	check_mail();
	for (unsigned round = 0; round < 2; round++)
		for (unsigned cpu = 0; cpu < CPUS; cpu++) {
			as(cpu);
			flush();
		}
	for (unsigned nr = 0; nr < PAGES; nr++) {
		check_page(nr);
		n += page[nr].span && page[nr].span->cpu == SPAN_CENTRAL;
	}
	if (n != central_spans())
		sched_fail("mcentral has lost a span, or has one twice");
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		if (cpu_heaps[cpu].inbox || cpu_heaps[cpu].spare_bytes != SPARE)
			sched_fail("something was left with a CPU");
}

static void check_no_report(void *arg)
{
	check_all(arg);
	if (reports)
		sched_fail("a report without a reason");
}

/* ---- Start states ---- */

/* CPU 0 has handed out all of a span: objects 0 .. 3. */
static void full_span(void *arg)
{
	(void)arg;
	inside = false;
	reset();
	as(0);
	for (unsigned i = 0; i < 4; i++)
		object[i] = take(0);
	inside = true;
}

/* Object 3 is free: the span is listed with CPU 0. */
static void listed_span(void *arg)
{
	full_span(arg);
	inside = false;
	flush(); /* nothing to give up yet; empties the window */
	give(object[3]);
	inside = true;
}

/* Object 3 is free, and in no list: the window that it was taken from may have it again. */
static void loaded_span(void *arg)
{
	full_span(arg);
	inside = false;
	give(object[3]);
	inside = true;
}

/* The same span with mcentral. */
static void central_span(void *arg)
{
	listed_span(arg);
	inside = false;
	flush();
	inside = true;
}

/* Two of them: objects 0 .. 3 and 4 .. 7, 3 and 7 are free. */
static void central_spans_two(void *arg)
{
	full_span(arg);
	inside = false;
	for (unsigned i = 4; i < 8; i++)
		object[i] = take(0);
	give(object[3]);
	give(object[7]);
	flush();
	inside = true;
}

/* Only object 0 is held. */
static void last_object(void *arg)
{
	full_span(arg);
	inside = false;
	for (unsigned i = 1; i < 4; i++)
		give(object[i]);
	inside = true;
}

/* ---- Roles ---- */

static void frees_0(void *arg)
{
	(void)arg;
	give(object[0]);
}

static void frees_others(void *arg)
{
	(void)arg;
	flush();
	give(object[0]);
	give(object[2]);
	give(object[3]);
}

static void frees_others_but_2(void *arg)
{
	(void)arg;
	flush();
	give(object[0]);
	give(object[3]);
}

static void takes_three(void *arg)
{
	(void)arg;
	take(0);
	take(0);
	take(0);
}

/* As a request does that wants a window or node of its own. */
static void *take_placed(unsigned c)
{
	void *object = mcentral_alloc(&class[c], GFP_KERNEL);

	if (object)
		note_holder(object);
	return object;
}

static void takes_placed(void *arg)
{
	(void)arg;
	take_placed(0);
	give(take_placed(0));
}

static void frees_1(void *arg)
{
	(void)arg;
	give(object[1]);
}

static void frees_1_and_2(void *arg)
{
	(void)arg;
	give(object[1]);
	give(object[2]);
}

static void takes_two(void *arg)
{
	(void)arg;
	take(0);
	give(take(0));
}

static void frees_and_flushes(void *arg)
{
	(void)arg;
	give(object[2]);
	flush();
}

static void flushes(void *arg)
{
	(void)arg;
	flush();
}

static void flushes_twice(void *arg)
{
	(void)arg;
	flush();
	flush();
}

static void takes_and_flushes(void *arg)
{
	(void)arg;
	take(0);
	flush();
}

/* Ends spans and makes new ones of their structures, of the other class. */
static void turns_over(void *arg)
{
	void *a;

	(void)arg;
	flush();
	a = take(1);
	give(a);
	flush();
	take(1);
}

static void interrupt_frees_1(void *arg)
{
	enum mm_context was = enter();

	frees_1(arg);
	leave(was);
}

static void interrupt_takes_and_frees(void *arg)
{
	enum mm_context was = enter();

	take(0);
	frees_1(arg);
	leave(was);
}

static void interrupt_frees_0(void *arg)
{
	enum mm_context was = enter();

	frees_0(arg);
	leave(was);
}

static void interrupt_frees_4(void *arg)
{
	enum mm_context was = enter();

	(void)arg;
	give(object[4]);
	leave(was);
}

static void interrupt_takes(void *arg)
{
	enum mm_context was = enter();

	(void)arg;
	take(0);
	leave(was);
}

static void interrupt_takes_placed(void *arg)
{
	enum mm_context was = enter();

	(void)arg;
	give(take_placed(0));
	leave(was);
}

/* Object 3 is free, or somebody's by now, whom it is taken from. */
static void interrupt_frees_3_again(void *arg)
{
	enum mm_context was = enter();

	(void)arg;
	if (try_free(object[3]) < 0)
		*holder_of(object[3]) = 0;
	leave(was);
}

/* Whoever comes second is refused, now or when the two meet. */
static void frees_0_again(void *arg)
{
	(void)arg;
	*(page[0].held) = 0;
	if (try_free(object[0]) >= 0)
		reports++;
}

static void frees_1_then_0_again(void *arg)
{
	frees_1(arg);
	frees_0_again(arg);
}

static void check_one_report(void *arg)
{
	check_all(arg);
	if (reports != 1)
		sched_fail("a double free was not reported once");
}

/* ---- Scenarios ---- */

#include "tests/host/handover_scenarios.h"

static void describe_scenario(const struct scenario *s, char *desc)
{
	fmt_print(desc, KUNIT_PARAM_DESC_SIZE, "%s", s->name);
}

KUNIT_ARRAY_PARAM(scenario, scenarios, describe_scenario)

static void hand_over(struct kunit *test)
{
	const struct scenario *scenario = test->param_value;
	struct sched s = { .setup = scenario->setup,
			   .check = scenario->check ?: check_no_report,
			   .preemptions = scenario->preemptions };
	bool good;

	afar = scenario->afar;
	memcpy(s.thread, scenario->thread, sizeof(scenario->thread));
	memcpy(actor, scenario->actor, sizeof(scenario->actor));
	good = sched_explore(&s);
	inside = false;
	KUNIT_EXPECT_TRUE_MSG(test, good, "%s: %s", s.why, s.trail);
	kunit_info(test, "%s: %lu runs", scenario->name, s.runs);
}

static int handover_init(struct kunit *test)
{
#ifdef HOST_TSAN
	kunit_skip(test, "ThreadSanitizer does not know coroutines");
#endif
	if (host_backend() != HOST_ENFORCED)
		kunit_skip(test, "the same with every back end");
	return 0;
}

static struct kunit_case handover_cases[] = { KUNIT_CASE_PARAM(hand_over, scenario_gen_params),
					      {} };

static struct kunit_suite handover_suite = { .name = "handover",
					     .init = handover_init,
					     .test_cases = handover_cases };
kunit_test_suite(handover_suite);
