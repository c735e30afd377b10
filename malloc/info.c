// SPDX-License-Identifier: MIT
/*
 * The C library's questions about the heap, and its knobs.
 *
 *	arena		bytes that the heap has from the system
 *	uordblks	bytes of objects that callers hold
 *	fordblks	the rest
 *	keepcost	of it, what malloc_trim() could give back at most
 */
#include <malloc.h>

#include <spanheap/scavenge.h>
#include <spanheap/stats.h>

#include "lib/bits.h"
#include "arch/malloc/port.h"
#include "malloc/magazine.h"
#include "mm/medium.h"

static struct mm_stats stats(void)
{
	struct mm_stats s;

	heap_enter();
	mm_stats(&s);
	heap_leave();
	return s;
}

PUBLIC struct mallinfo2 mallinfo2(void)
{
	struct mm_stats s = stats();
	uint64_t live = s.objects_live_bytes, held = magazines_bytes();
	uint64_t held_by_callers = live - MIN(live, held);

	return (struct mallinfo2){
		.arena = s.ready_bytes,
		.ordblks = s.frames_free,
		.uordblks = held_by_callers,
		.fordblks = s.ready_bytes - MIN(s.ready_bytes, held_by_callers),
		.keepcost = s.frames_free << FRAME_SHIFT,
	};
}

PUBLIC struct mallinfo mallinfo(void)
{
	struct mallinfo2 m = mallinfo2();

	return (struct mallinfo){
		.arena = (int)m.arena,
		.ordblks = (int)m.ordblks,
		.uordblks = (int)m.uordblks,
		.fordblks = (int)m.fordblks,
		.keepcost = (int)m.keepcost,
	};
}

PUBLIC void malloc_stats(void)
{
	heap_enter();
	mm_show(port_log);
	heap_leave();
}

/* There is nothing to tune: every knob is taken and turns nothing. */
PUBLIC int mallopt(int param, int value)
{
	(void)param;
	(void)value;
	return 1;
}

PUBLIC int malloc_trim(size_t pad)
{
	uint64_t given;

	(void)pad;
	heap_enter();
	heap_flush(NULL);
	malloc_serve_idle(heap_flush, NULL);
	medium_flush_nodes();
	given = mm_scavenge(~0ULL);
	heap_leave();
	return given > 0;
}
