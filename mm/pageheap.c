// SPDX-License-Identifier: MIT
/* The page heap; see pageheap.h for the picture. */
#include <spanheap/page.h>

#include "mm/addrstate.h"
#include "mm/fault.h"
#include "mm/framebits.h"
#include "mm/heapspare.h"
#include "mm/log.h"
#include "mm/pageheap.h"

struct pageheap main_heap[PORT_MAX_NODES];
uint32_t pressure_due;
uint64_t pressure_mark = ~0ULL;

/* In the first frame of a run that an NMI freed. */
struct deferred_run {
	struct deferred_run *next;
	uint64_t n;
};

/* The frames of a run that lie in one chunk. */
struct piece {
	struct chunk *chunk;
	uint64_t pfn;
	unsigned first, n;
};

static struct piece piece_at(const struct pageheap *heap, uint64_t pfn, uint64_t end)
{
	unsigned first = (unsigned)(pfn % CHUNK_FRAMES);

	return (struct piece){
		.chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT),
		.pfn = pfn,
		.first = first,
		.n = (unsigned)MIN(end - pfn, CHUNK_FRAMES - first),
	};
}

#define for_each_piece(p, heap, pfn, end)                                                          \
	for (struct piece p = piece_at(heap, pfn, end); p.pfn < (end);                             \
	     p = piece_at(heap, p.pfn + p.n, end))

void pageheap_init(struct pageheap *heap, struct memmap *map, unsigned node)
{
	*heap = (struct pageheap){ .map = map, .node = node, .tree.index = &map->index };
	for (unsigned w = 0; w < MEM_WINDOWS; w++) {
		heap->hint[w] = window_end(w);
		heap->cursor[w][0] = heap->cursor[w][1] = window_start(w);
	}
}

/* All below here: heap->lock is held. */

/* Chunks are often neighbours: what is above a leaf follows once for all of it. */
static void update_touched(struct pageheap *heap)
{
	struct sumnode *changed = NULL;

	for (unsigned i = 0; i < heap->ntouched; i++) {
		struct sumnode *leaf = heap->touched[i]->leaf;

		if (!sumtree_put(leaf, heap->touched_nr[i], chunk_sum(heap->touched[i])) ||
		    leaf == changed)
			continue;
		if (changed)
			sumtree_carry_up(changed);
		changed = leaf;
	}
	if (changed)
		sumtree_carry_up(changed);
	heap->ntouched = 0;
}

void pageheap_update(struct pageheap *heap)
{
	heapspare_settle(heap);
	update_touched(heap);
}

void pageheap_touch(struct pageheap *heap, struct chunk *chunk, uint64_t pfn)
{
	for (unsigned i = heap->ntouched; i-- > 0;)
		if (heap->touched[i] == chunk)
			return;
	if (heap->ntouched == HEAP_TOUCHED)
		update_touched(heap);
	heap->touched[heap->ntouched] = chunk;
	heap->touched_nr[heap->ntouched++] = pfn / CHUNK_FRAMES;
}

void pageheap_lower_hints(struct pageheap *heap, uint64_t pfn, uint64_t n)
{
	for (unsigned w = window_of(pfn); w <= window_of(pfn + n - 1); w++)
		heap->hint[w] = MIN(heap->hint[w], MAX(pfn, window_start(w)));
}

void pageheap_count_free(struct pageheap *heap, uint64_t pfn, uint64_t n, int sign)
{
	uint64_t end = pfn + n, stop;

	atomic_store_relaxed(&heap->frames_free, heap->frames_free + (sign > 0 ? n : -n));
	if (sign < 0)
		pageheap_note_taken(heap);
	for (; pfn < end; pfn = stop) {
		enum mem_window w = window_of(pfn);

		stop = MIN(end, window_end(w));
		atomic_store_relaxed(&heap->window_free[w],
				     heap->window_free[w] + (sign > 0 ? stop - pfn : pfn - stop));
	}
}

bool pageheap_split_zero(struct pageheap *heap, struct chunk *chunk, uint64_t pfn)
{
	struct chunk_side *side = chunk_side_get(chunk, memmap_pool(heap->map, pfn << FRAME_SHIFT));

	if (!side) {
		/* No place to tell the others apart: forget about them. */
		chunk->zero = CHUNK_ZERO_NONE;
		return false;
	}
	for (unsigned w = 0; w < CHUNK_WORDS; w++)
		side->zero[w] = ~0ULL;
	chunk->zero = CHUNK_ZERO_SIDE;
	return true;
}

/* Are all of these free frames known to be zero? They will not be any longer. */
static bool take_zero(struct pageheap *heap, const struct piece *p)
{
	struct chunk *chunk = p->chunk;
	bool zero = true;

	if (chunk->zero == CHUNK_ZERO_NONE)
		return false;
	if (chunk->zero == CHUNK_ZERO_ALL) {
		if (p->n == CHUNK_FRAMES) {
			chunk->zero = CHUNK_ZERO_NONE;
			return true;
		}
		if (!pageheap_split_zero(heap, chunk, p->pfn))
			return true;
	}
	for (unsigned at = p->first, stop; at < p->first + p->n; at = stop) {
		uint64_t *word = &chunk->side->zero[at / 64], part;

		stop = MIN(p->first + p->n, (unsigned)round_down(at, 64) + 64);
		part = mask_range(at % 64, stop - at);
		zero = zero && !(part & ~*word);
		*word &= ~part;
	}
	return zero;
}

static bool is_whole_chunk(uint64_t pfn, uint64_t n)
{
	return n == CHUNK_FRAMES && pfn % CHUNK_FRAMES == 0;
}

void pageheap_mark_whole(struct pageheap *heap, uint64_t pfn, uint64_t n, uint8_t whole)
{
	if (is_whole_chunk(pfn, n))
		atomic_store(&chunk_find(&heap->map->index, pfn << FRAME_SHIFT)->whole, whole);
}

bool pageheap_take_run(struct pageheap *heap, uint64_t pfn, uint64_t n)
{
	uint64_t end = pfn + n;
	bool zero = true;

	for_each_piece(p, heap, pfn, end) {
		zero &= take_zero(heap, &p);
		chunk_take(p.chunk, p.first, p.n, p.pfn + p.n == end);
		pageheap_touch(heap, p.chunk, p.pfn);
	}
	pageheap_count_free(heap, pfn, n, -1);
	return zero;
}

void pageheap_put_run(struct pageheap *heap, uint64_t pfn, uint64_t n)
{
	uint64_t end = pfn + n;

	for_each_piece(p, heap, pfn, end) {
		chunk_put(p.chunk, p.first, p.n, p.pfn + p.n == end);
		pageheap_touch(heap, p.chunk, p.pfn);
	}
	pageheap_count_free(heap, pfn, n, 1);
	pageheap_lower_hints(heap, pfn, n);
}

/* The search within one window, or across all: then no hint helps. */
static uint64_t search_all(struct pageheap *heap, const struct run_wanted *want)
{
	struct run_wanted w = *want;
	enum mem_window window = window_of(w.lo);
	bool one_window = w.hi <= window_end(window);
	uint64_t pfn;

	if (one_window)
		w.lo = MAX(w.lo, heap->hint[window]);
	if (w.lo + w.n > w.hi)
		return PFN_NONE;
	pageheap_update(heap);
	pfn = sumtree_search(&heap->tree, &w);
	if (!one_window)
		return pfn;
	/* Single frames at any place tell where the first free frame is. */
	if (w.n == 1 && w.align == 1 && want->lo <= heap->hint[window]) {
		if (pfn != PFN_NONE)
			heap->hint[window] = pfn;
		else if (want->hi == window_end(window))
			heap->hint[window] = want->hi;
	}
	return pfn;
}

/* Memory that arrived at run time is left out by searching what lies between. */
uint64_t pageheap_search(struct pageheap *heap, const struct run_wanted *want)
{
	struct run_wanted in = *want;
	uint64_t pfn = PFN_NONE;

	if (!want->boot_only)
		return search_all(heap, want);
	while (pfn == PFN_NONE && (in.hi = memmap_boot_stretch(heap->map, &in.lo, want->hi))) {
		pfn = search_all(heap, &in);
		in.lo = in.hi;
	}
	return pfn;
}

/* Would this run leave less than what is kept for others? */
bool pageheap_eats_reserve(const struct pageheap *heap, uint64_t pfn, uint64_t n)
{
	for (uint64_t end = pfn + n, stop; pfn < end; pfn = stop) {
		enum mem_window w = window_of(pfn);

		stop = MIN(end, window_end(w));
		if (heap->window_free[w] < heap->floor[w] + (stop - pfn))
			return true;
	}
	return false;
}

bool pageheap_starts_run(const struct pageheap *heap, uint64_t pfn)
{
	const struct chunk *before;

	if (pfn % CHUNK_FRAMES)
		return frame_use(chunk_find(&heap->map->index, pfn << FRAME_SHIFT),
				 (unsigned)(pfn % CHUNK_FRAMES) - 1) != FRAME_INNER;
	before = pfn ? chunk_find(&heap->map->index, (pfn - 1) << FRAME_SHIFT) : NULL;
	return !before || frame_use(before, CHUNK_FRAMES - 1) != FRAME_INNER;
}

/* The length of the used run at @pfn, or at least @limit if it is longer. */
static uint64_t run_length(const struct pageheap *heap, uint64_t pfn, uint64_t limit)
{
	uint64_t length = 0;

	while (length < limit) {
		uint64_t at = pfn + length;
		const struct chunk *chunk = chunk_find(&heap->map->index, at << FRAME_SHIFT);
		unsigned first = (unsigned)(at % CHUNK_FRAMES), n;

		if (!chunk)
			break;
		n = chunk_run_length(chunk, first);
		length += n;
		if (first + n < CHUNK_FRAMES || frame_use(chunk, CHUNK_FRAMES - 1) != FRAME_INNER)
			break;
	}
	return length;
}

/* -1, or what is wrong with freeing this run. */
static int check_free(const struct pageheap *heap, uint64_t pfn, uint64_t n)
{
	const struct chunk *chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT);
	enum frame_use use;
	bool ours;

	/* It was there when the caller looked; its memory has left since. */
	if (unlikely(!chunk))
		return MM_PAGE_INVALID_FREE;
	use = frame_use(chunk, (unsigned)(pfn % CHUNK_FRAMES));
	ours = chunk->leaf && atomic_load_relaxed(&chunk->owner) == CHUNK_HEAP &&
	       memmap_is_ram(heap->map, pfn << FRAME_SHIFT, FRAME_SIZE);
	if (use == FRAME_FREE || chunk_is_free_whole(chunk))
		return MM_PAGE_DOUBLE_FREE;
	if (use == FRAME_HELD)
		return ours ? MM_PAGE_DOUBLE_FREE : MM_PAGE_INVALID_FREE;
	if (!pageheap_starts_run(heap, pfn))
		return MM_PAGE_INVALID_FREE;
	return run_length(heap, pfn, n + 1) == n ? -1 : MM_PAGE_WRONG_SIZE;
}

/*
 * A free that is right so far takes effect: false if another CPU, by a cache, has
 * freed the same since it was checked.
 */
static bool claim_free(struct chunk *chunk, uint64_t pfn, uint64_t n)
{
	uint8_t used = CHUNK_WHOLE_USED;

	if (is_whole_chunk(pfn, n))
		return atomic_cas(&chunk->whole, &used, CHUNK_NOT_WHOLE);
	return word_claim(&chunk->word[pfn % CHUNK_FRAMES / 64], pfn);
}

/* The first frame of a deferred run was marked held; make it used again. */
static void unmark_deferred(struct chunk *chunk, unsigned frame, uint64_t n)
{
	uint64_t bit = 1ULL << frame % 64;

	atomic_and(&chunk->word[frame / 64].free, ~bit);
	if (n > 1)
		atomic_and(&chunk->word[frame / 64].end, ~bit);
}

void pageheap_free_deferred(struct pageheap *heap)
{
	struct deferred_run *run = atomic_xchg(&heap->deferred, NULL), *next;

	for (; run; run = next) {
		uint64_t pfn = virt_to_phys(run) >> FRAME_SHIFT, n = run->n;

		next = run->next;
		unmark_deferred(chunk_find(&heap->map->index, pfn << FRAME_SHIFT),
				(unsigned)(pfn % CHUNK_FRAMES), n);
		pageheap_put_run(heap, pfn, n);
		heap->frees++;
	}
}

/* All above here: heap->lock is held. */

void pageheap_settle(struct pageheap *heap)
{
	unsigned long flags;

	if (pageheap_lock(heap, &flags))
		spin_unlock_irqrestore(&heap->lock, flags);
}

static uint64_t try_alloc(struct pageheap *heap, const struct run_wanted *want, bool *zero)
{
	unsigned long flags;
	uint64_t pfn;

	if (!pageheap_lock(heap, &flags))
		return PFN_NONE;
	pfn = pageheap_search(heap, want);
	if (pfn != PFN_NONE && want->keep_floor && pageheap_eats_reserve(heap, pfn, want->n))
		pfn = PFN_NONE;
	if (pfn != PFN_NONE) {
		*zero = pageheap_take_run(heap, pfn, want->n);
		pageheap_mark_whole(heap, pfn, want->n, CHUNK_WHOLE_USED);
		heap->allocs++;
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	return pfn;
}

/* The chunk of a frame, with its place in the tree; NULL: no metadata memory. */
static struct chunk *seat_chunk(struct pageheap *heap, uint64_t pfn)
{
	struct chunk *chunk = memmap_chunk(heap->map, pfn << FRAME_SHIFT);
	unsigned long flags;

	if (!chunk || atomic_load(&chunk->leaf))
		return chunk;
	flags = spin_lock_irqsave(&heap->lock);
	if (!chunk->leaf)
		atomic_store(&chunk->leaf,
			     sumtree_leaf(&heap->tree, pfn / CHUNK_FRAMES,
					  memmap_node_pool(heap->map, heap->node)));
	spin_unlock_irqrestore(&heap->lock, flags);
	return atomic_load(&chunk->leaf) ? chunk : NULL;
}

void pageheap_add(struct pageheap *heap, struct chunk *chunk, uint64_t pfn, unsigned n)
{
	unsigned long flags = spin_lock_irqsave(&heap->lock);

	chunk->zero = n == CHUNK_FRAMES && chunk->fresh ? CHUNK_ZERO_ALL : CHUNK_ZERO_NONE;
	chunk->fresh = false;
	chunk_offer(chunk, (unsigned)(pfn % CHUNK_FRAMES), n);
	pageheap_touch(heap, chunk, pfn);
	heap->frames += n;
	pageheap_count_free(heap, pfn, n, 1);
	pageheap_lower_hints(heap, pfn, n);
	heap->next_home = MIN(heap->next_home, pfn);
	spin_unlock_irqrestore(&heap->lock, flags);
}

/* Claim frames of at most one chunk, Reserved or scavenged, and add them. Return: 0 or errno. */
static int grow_by(struct pageheap *heap, phys_addr_t base, uint64_t size)
{
	struct chunk *chunk;
	bool back;
	int ret;

	if (mm_should_fail(0))
		return -ENOMEM;
	addrstate_feed(heap->map, heap->node, ADDRSTATE_ROOM);
	chunk = seat_chunk(heap, base >> FRAME_SHIFT);
	if (!chunk)
		return -ENOMEM;
	back = atomic_load(&chunk->state) == MEM_PREPARED;
	ret = addrstate_claim(heap->map, CHUNK_HEAP, base, size);
	if (ret)
		return ret;
	if (back)
		(void)atomic_fetch_sub(&heap->scavenged, size >> FRAME_SHIFT);
	pageheap_add(heap, chunk, base >> FRAME_SHIFT, (unsigned)(size >> FRAME_SHIFT));
	return 0;
}

/*
 * Find the next run below @end, claim it, and move @base behind it. Pinned: what
 * was found cannot leave before it is claimed. Return: was anything found?
 */
static bool claim_next(struct pageheap *heap, int arrived, phys_addr_t *base, phys_addr_t end,
		       int *err)
{
	uint64_t size;
	bool found;

	port_pin();
	found = memmap_next_claimable(heap->map, heap->node, arrived, base, end, &size);
	if (found) {
		*err = grow_by(heap, *base, size);
		*base += size;
	}
	port_unpin();
	return found;
}

/*
 * Start from the bottom again if memory has become Reserved since a scan that
 * began at generation @seen. Return: is there reason for another scan?
 */
static bool rewind_cursors(struct pageheap *heap, uint64_t seen)
{
	unsigned long flags = spin_lock_irqsave(&heap->lock);
	uint64_t returned = atomic_load(&heap->map->returned);

	if (heap->grown_at != returned) {
		atomic_store(&heap->grown_at, returned);
		for (unsigned w = 0; w < MEM_WINDOWS; w++)
			for (unsigned arrived = 0; arrived < 2; arrived++)
				atomic_store_relaxed(&heap->cursor[w][arrived], window_start(w));
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	return returned != seen;
}

/* A scan that others have rewound under does not know what is behind it. */
static void move_cursor(struct pageheap *heap, uint64_t *cursor, uint64_t pfn, uint64_t seen)
{
	unsigned long flags = spin_lock_irqsave(&heap->lock);

	if (heap->grown_at == seen)
		atomic_store_relaxed(cursor, pfn);
	spin_unlock_irqrestore(&heap->lock, flags);
}

/*
 * The next Reserved run in one window; memory that arrived later comes last.
 * What is asked for may be less than a chunk; what is claimed is not.
 */
static bool grow_window(struct pageheap *heap, enum mem_window w, uint64_t lo, uint64_t hi,
			bool boot_only, uint64_t seen)
{
	lo = round_down(lo, CHUNK_FRAMES);
	hi = MIN(round_up(hi, CHUNK_FRAMES), window_end(w));
	for (unsigned arrived = 0; arrived < (boot_only ? 1 : 2); arrived++) {
		uint64_t *cursor = &heap->cursor[w][arrived];
		phys_addr_t base = MAX(lo, atomic_load_relaxed(cursor)) << FRAME_SHIFT;
		phys_addr_t end = hi << FRAME_SHIFT;
		bool from_cursor = lo <= atomic_load_relaxed(cursor);
		int err;

		while (base < end && claim_next(heap, arrived, &base, end, &err)) {
			/* What is missing is metadata: the next place would not do, either. */
			if (err == -ENOMEM)
				return false;
			if (from_cursor)
				move_cursor(heap, cursor, base >> FRAME_SHIFT, seen);
			if (!err)
				return true;
		}
		if (from_cursor && hi == window_end(w))
			move_cursor(heap, cursor, window_end(w), seen);
	}
	return false;
}

/* Make more frames of [lo, hi) Ready: high windows first. */
bool pageheap_grow(struct pageheap *heap, const struct run_wanted *want)
{
	if (port_context() == MM_NMI)
		return false;
	for (unsigned pass = 0; pass < 2; pass++) {
		uint64_t seen = atomic_load(&heap->grown_at);

		for (unsigned w = MEM_WINDOWS; w-- > 0;) {
			uint64_t lo = MAX(want->lo, window_start(w));

			if (lo < MIN(want->hi, window_end(w)) &&
			    grow_window(heap, w, lo, want->hi, want->boot_only, seen))
				return true;
		}
		if (!rewind_cursors(heap, seen))
			break;
	}
	return false;
}

/*
 * A long run: claim the first stretch of claimable memory that could hold it, so
 * that no more is made Ready than is needed.
 */
static bool grow_run(struct pageheap *heap, const struct run_wanted *want)
{
	phys_addr_t at, end;
	int err = 0;

	if (port_context() == MM_NMI || !memmap_claimable_run(heap->map, heap->node, want, &at))
		return false;
	end = round_up(at + (want->n << FRAME_SHIFT), CHUNK_SIZE);
	at = round_down(at, CHUNK_SIZE);
	while (!err && claim_next(heap, want->boot_only ? 0 : -1, &at, end, &err))
		;
	return !err;
}

uint64_t pageheap_alloc(struct pageheap *heap, const struct run_wanted *want, bool *zero)
{
	uint64_t pfn = try_alloc(heap, want, zero);

	if (pfn != PFN_NONE)
		return pfn;
	if ((want->n > CHUNK_FRAMES || want->align > CHUNK_FRAMES) && grow_run(heap, want)) {
		pfn = try_alloc(heap, want, zero);
		if (pfn != PFN_NONE)
			return pfn;
	}
	if ((want->n > CHUNK_FRAMES || want->align > CHUNK_FRAMES) &&
	    !memmap_could_hold(heap->map, heap->node, want))
		return PFN_NONE;
	while (pageheap_grow(heap, want)) {
		pfn = try_alloc(heap, want, zero);
		if (pfn != PFN_NONE)
			return pfn;
	}
	/* The last there was may have gone to another CPU's growth, which is through by now. */
	return try_alloc(heap, want, zero);
}

/* In an NMI that found the lock taken: mark the run and leave it to others. */
static int defer_free(struct pageheap *heap, uint64_t pfn, uint64_t n)
{
	struct chunk *chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT);
	struct frame_word *word = &chunk->word[pfn % CHUNK_FRAMES / 64];
	struct deferred_run *run = phys_to_virt(pfn << FRAME_SHIFT);
	/* Our own run's bits are stable, and its neighbours are never seen as inner. */
	int bad = check_free(heap, pfn, n);

	if (bad >= 0)
		return bad;
	if (n > 1)
		atomic_or(&word->end, 1ULL << pfn % 64);
	if (!claim_free(chunk, pfn, n))
		return MM_PAGE_DOUBLE_FREE;
	atomic_or(&word->free, 1ULL << pfn % 64);
	run->n = n;
	run->next = atomic_load(&heap->deferred);
	while (!atomic_cas(&heap->deferred, &run->next, run))
		;
	return -1;
}

int pageheap_free(struct pageheap *heap, uint64_t pfn, uint64_t n)
{
	struct chunk *chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT);
	unsigned long flags;
	int bad;

	if (is_whole_chunk(pfn, n) && chunk && heapspare_free(heap, chunk, pfn << FRAME_SHIFT))
		return -1;
	if (!pageheap_lock(heap, &flags))
		return defer_free(heap, pfn, n);
	bad = check_free(heap, pfn, n);
	if (bad < 0 && !claim_free(chunk, pfn, n))
		bad = MM_PAGE_DOUBLE_FREE;
	if (bad < 0) {
		pageheap_put_run(heap, pfn, n);
		heap->frees++;
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	return bad;
}

void pageheap_free_chunk(struct pageheap *heap, struct chunk *chunk, uint64_t pfn)
{
	unsigned long flags = spin_lock_irqsave(&heap->lock);

	atomic_store(&chunk->whole, CHUNK_NOT_WHOLE);
	pageheap_put_run(heap, pfn, CHUNK_FRAMES);
	spin_unlock_irqrestore(&heap->lock, flags);
}

/* Used runs end in a last frame, and only Ready frames are free or used. */
static unsigned check_chunk(struct pageheap *heap, struct arena *arena, unsigned nr,
			    uint64_t *nfree)
{
	struct chunk *chunk = &arena->chunk[nr];
	uint64_t pfn = (arena->base >> FRAME_SHIFT) + nr * CHUNK_FRAMES;
	unsigned bad = 0;

	if (chunk->leaf->sum[pfn / CHUNK_FRAMES % SUM_FANOUT] != chunk_sum(chunk))
		bad++;
	for (unsigned f = 0; f < CHUNK_FRAMES; f++) {
		enum frame_use use = frame_use(chunk, f);

		if (use != FRAME_HELD && chunk_frame_state(chunk, f) != MEM_READY)
			bad++;
		if (use == FRAME_FREE && pfn + f < heap->hint[window_of(pfn + f)])
			bad++;
		if (f && use > FRAME_LAST && frame_use(chunk, f - 1) == FRAME_INNER)
			bad++;
	}
	*nfree += chunk_count_free(chunk);
	if (bad)
		mm_log("page heap %u: chunk at 0x%llx: %u faults", heap->node,
		       (unsigned long long)pfn << FRAME_SHIFT, bad);
	return bad;
}

uint64_t pageheap_count_used(struct pageheap *heap)
{
	unsigned long flags = spin_lock_irqsave(&heap->lock);
	uint64_t n = 0;

	pageheap_free_deferred(heap);
	for_each_arena(a, &heap->map->index)
		for (unsigned i = 0; i < ARENA_CHUNKS; i++)
			if (a->chunk[i].leaf && a->chunk[i].node == heap->node)
				n += chunk_count_used(&a->chunk[i]);
	spin_unlock_irqrestore(&heap->lock, flags);
	return n;
}

unsigned pageheap_check(struct pageheap *heap)
{
	unsigned long flags = spin_lock_irqsave(&heap->lock);
	uint64_t nfree = 0;
	unsigned bad;

	bad = heapspare_check(heap);
	pageheap_update(heap);
	bad += sumtree_check(&heap->tree);

	if (bad)
		mm_log("page heap %u: %u wrong summaries or spare chunks", heap->node, bad);
	for_each_arena(a, &heap->map->index)
		for (unsigned i = 0; i < ARENA_CHUNKS; i++)
			if (a->chunk[i].leaf && a->chunk[i].node == heap->node)
				bad += check_chunk(heap, a, i, &nfree);
	if (nfree != heap->frames_free) {
		mm_log("page heap %u: %llu frames free, %llu counted", heap->node,
		       (unsigned long long)nfree, (unsigned long long)heap->frames_free);
		bad++;
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	return bad;
}
