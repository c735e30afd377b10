/* SPDX-License-Identifier: MIT */
/*
 * Frames that go from the page heap to a cache and back: between free (1,0) and
 * held (1,1); by whole words, a few under each hold of the heap's lock.
 *
 * Locking: heap->lock, taken inside.
 */
#ifndef MM_PAGEHOLD_H
#define MM_PAGEHOLD_H

#include "mm/pageheap.h"

/** struct held_frame - a frame that a cache holds: its address, and where its bits are. */
struct held_frame {
	void *addr;
	struct frame_word *word;
};

/** struct held_word - the same of several frames of a word; @addr: its first frame's. */
struct held_word {
	struct frame_word *word;
	void *addr;
	uint64_t frames;
};

/**
 * struct hold_home - the chunk that a CPU's caches take frames from until it has none.
 * @chunk, @pfn: NULL if there is none; its first frame
 * @mark: of the CPU, CHUNK_HOME or above
 *
 * So that what one CPU takes and gives does not lie in the same cache lines as
 * what another does, neither the frames' bits nor, for neighbours, their content.
 * LLFree reserves a tree of frames for each CPU in the same way.
 */
struct hold_home {
	struct chunk *chunk;
	uint64_t pfn;
	uint8_t mark;
};

/** hold_leave_home() - others may come here. By the CPU whose home it is. */
void hold_leave_home(struct hold_home *home);

/**
 * pageheap_hold() - single free frames, at home, else the lowest first.
 * @want: n frames of one window; fewer are given if a chunk has no more
 * @words: gets them; in ascending order but for want->whole_words
 *
 * Contexts as pageheap_alloc(). Return: how many of @words were filled.
 */
unsigned pageheap_hold(struct pageheap *heap, struct hold_home *home,
		       const struct run_wanted *want, struct held_word words[CHUNK_WORDS]);

/**
 * pageheap_hold_run() - all free frames of a word that has the wanted run in it.
 *
 * Contexts as pageheap_alloc(). Return: false if there is no run, or the lowest
 * one lies across words.
 */
bool pageheap_hold_run(struct pageheap *heap, struct hold_home *home,
		       const struct run_wanted *want, struct held_word *word);

/** PAGEHOLD_NMI_MAX - what an NMI may give back in one call. */
#define PAGEHOLD_NMI_MAX 16

/**
 * pageheap_unhold() - give frames back.
 *
 * Any context. The lock is held for a few words at a time. Return: false in an NMI
 * that found the lock taken: nothing has changed.
 */
bool pageheap_unhold(struct pageheap *heap, const struct held_frame *frames, unsigned n);
bool pageheap_unhold_words(struct pageheap *heap, const struct held_word *words, unsigned n);

#endif
