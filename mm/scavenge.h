/* SPDX-License-Identifier: MIT */
/* The scavenger, for any page heap; see <spanheap/scavenge.h>. */
#ifndef MM_SCAVENGE_H
#define MM_SCAVENGE_H

#include "mm/pageheap.h"

/** scavenge_heap() - give back up to @bytes of whole free chunks. Return: how many bytes. */
uint64_t scavenge_heap(struct pageheap *heap, uint64_t bytes);

#endif
