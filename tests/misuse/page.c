// SPDX-License-Identifier: MIT
/* Frames: freed wrongly, used after that. */
#include <string.h>

#include <spanheap/page.h>

#include "tests/misuse/misuse.h"

#define NFRAMES 3

static void *take_run(void)
{
	void *p = alloc_pages_exact(NFRAMES * FRAME_SIZE, GFP_KERNEL);

	require(p);
	return opaque(p);
}

static void twice(void)
{
	void *p = take_run();

	expect("panic: page double free: address %p size %lu caller 0x", p, NFRAMES * FRAME_SIZE);
	free_pages_exact(p, NFRAMES * FRAME_SIZE);
	free_pages_exact(p, NFRAMES * FRAME_SIZE);
}

static void write_after_free(void)
{
	void *p = take_run();

	free_pages_exact(p, NFRAMES * FRAME_SIZE);
	memset(opaque(p), 0x66, FRAME_SIZE);
	heap_works();
}

static void wrong_order(void)
{
	void *p = take_run();

	expect("panic: page free with wrong size: address %p size %lu caller 0x", p,
	       2 * FRAME_SIZE);
	free_pages(p, 1);
}

const struct misuse page_misuses[] = {
	{ 26, FOUND, NOT_RUN, "page freed twice", twice },
	{ 27, UNSEEN, NOT_RUN, "page written after free", write_after_free },
	{ 28, FOUND, NOT_RUN, "page freed with the wrong order", wrong_order },
	{ 0 },
};
