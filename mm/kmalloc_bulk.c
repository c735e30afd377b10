// SPDX-License-Identifier: MIT
/* kmalloc() of many objects: all that its window has at once, then one that refills it. */
#include "lib/string.h"
#include "mm/bulk.h"
#include "mm/fault.h"
#include "mm/guard.h"
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
	size_t offset = mcache_offset[(size + 7) / 8], done = 0;
	struct mcache *mcache;
	struct window *window;

	port_pin();
	mcache = port_cache();
	window = mcache_window(mcache, offset);
	if (size > KMALLOC_WINDOW_MAX) {
		while (done < n && stack_pop_at(mcache, offset, &p[done]))
			done++;
	} else {
		if (!window_bits(window))
			(void)mcache_reload(mcache, window);
		done = bulk_take(window, n, p);
	}
	port_unpin();
	return done;
}

static size_t fill_bulk(size_t size, gfp_t gfp, size_t n, void **p)
{
	bool window = by_window(size, gfp);
	size_t done = 0;

	for (; !size && done < n; done++)
		p[done] = zerobase;
	while (done < n) {
		if (window)
			done += take_some(size, n - done, p + done);
		if (done == n)
			break;
		p[done] = guard_is_due() ? kmalloc_guarded(size, gfp, 1) :
					   kmalloc_inner(size, gfp, 1);
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

	if (unlikely(n == 1)) {
		p[0] = kmalloc_any(size, gfp);
		return !!p[0];
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
	for (size_t i = 0; gfp & __GFP_ZERO && size && i < n; i++)
		memset(p[i], 0, kmalloc_size(p[i]));
	return n;
}
