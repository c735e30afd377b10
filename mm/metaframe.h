/* SPDX-License-Identifier: MIT */
/*
 * Frames of the page heap that hold metadata of the floors above it: the page
 * map, spans' structures, caches. They are counted as metadata, not as used.
 */
#ifndef MM_METAFRAME_H
#define MM_METAFRAME_H

#include <stddef.h>

/** metaframe_alloc() - one frame, not zeroed; or NULL. Any context. */
void *metaframe_alloc(void);

void metaframe_free(void *frame);

/** metaframe_alloc_run() - @n frames in a row, likewise. */
void *metaframe_alloc_run(size_t n);

void metaframe_free_run(void *frames, size_t n);

/** metaframe_count() - how many there are. */
size_t metaframe_count(void);

#endif
