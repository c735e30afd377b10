// SPDX-License-Identifier: MIT
/* kmalloc() of many objects: all that its window has at once, then one that refills it. */
#include "lib/string.h"
#include "mm/bulk.h"
#include "mm/fault.h"
#include "mm/kmalloc.h"
#include "mm/mcache.h"
#include "mm/numa.h"
#include "mm/sizeclass.h"

/* Requests that every window of their class can serve. */
static bool by_window(size_t size, gfp_t gfp)
{
	return !(gfp & (__GFP_NOSCAN | GFP_DMA | GFP_DMA32 | __GFP_THISNODE)) &&
	       !gfp_has_node(gfp) && size <= KMALLOC_MAX_SMALL;
}

/* While failures are injected there is nothing in any window. */
static size_t take_some(size_t size, size_t n, void **p)
{
	struct window *window;
	size_t done;

	port_pin();
	window = mcache_window(port_cache(), mcache_offset[(size + 7) / 8]);
	done = bulk_take(window, n, p);
	while (done < n && stack_pop(window, &p[done]))
		done++;
	port_unpin();
	return done;
}

static size_t fill_bulk(size_t size, gfp_t gfp, size_t n, void **p)
{
	bool window = by_window(size, gfp);
	size_t done = 0;

	while (done < n) {
		if (window)
			done += take_some(size, n - done, p + done);
		if (done == n)
			break;
		p[done] = kmalloc_inner(size, gfp, 1);
		if (!p[done])
			break;
		done++;
	}
	return done;
}

size_t kmalloc_bulk(size_t size, gfp_t gfp, size_t n, void **p)
{
	size_t done = 0;
	bool spared;

	if (!size) {
		for (; done < n; done++)
			p[done] = zerobase;
		return n;
	}
	spared = mm_fail_spare(gfp);
	if (!mm_should_fail(gfp))
		done = fill_bulk(size, gfp, n, p);
	mm_fail_resume(spared);
	if (done < n) {
		kfree_bulk(done, p);
		(void)kmalloc_failed(size, gfp);
		return 0;
	}
	for (size_t i = 0; gfp & __GFP_ZERO && i < n; i++)
		memset(p[i], 0, ksize(p[i]));
	return n;
}
