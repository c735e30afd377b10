// SPDX-License-Identifier: MIT
/* The page map; see pagemap.h for the picture. */
#include "lib/string.h"
#include "mm/addrstate.h"
#include "mm/fault.h"
#include "mm/metaframe.h"
#include "mm/pagemap.h"
#include "mm/span.h"

uint64_t pagemap_limit = 1ULL << ARENA_PHYS_BITS;
const uintptr_t pagemap_first =
	__builtin_choose_expr(__builtin_constant_p(PORT_DIRECT_BASE), PORT_DIRECT_BASE, 0);
struct window window_listed = { .taken = ~0ULL };
struct window window_unlisted;
struct span null_span = { .cpu = SPAN_NOBODY, .window = &window_unlisted };
struct span gone_span = { .cpu = SPAN_NOBODY, .window = &window_unlisted };

static_assert(ARENA_SIZE % PAGEMAP_BLOCK == 0, "a block lies in one arena");

/* Blocks that are neighbours in the window may share a table: one at a time. */
static struct spinlock window_lock;

void pagemap_init(void)
{
	uint64_t shown = PORT_WINDOW_SIZE / sizeof(pagemap_entry_t) * PAGE_SIZE;

	if (PORT_HAS_WINDOW && shown < pagemap_limit)
		pagemap_limit = shown;
}

/* The slot that says where a block's entries are: that of its first chunk. */
static pagemap_entry_t **block_slot(phys_addr_t pa)
{
	struct chunk *chunk = chunk_find(&main_map.index, round_down(pa, PAGEMAP_BLOCK));

	return chunk ? &chunk->spans : NULL;
}

static pagemap_entry_t *entry_at(pagemap_entry_t *block, phys_addr_t pa)
{
	return &block[pa >> PAGE_SHIFT & (PAGEMAP_BLOCK_ENTRIES - 1)];
}

/* Pinned: of memory that leaves, records and entries stay until all have passed through. */
struct span *pagemap_find(phys_addr_t pa)
{
	struct span *span = &null_span;
	pagemap_entry_t **slot, *block;

	port_pin();
	slot = pa >> ARENA_PHYS_BITS ? NULL : block_slot(pa);
	block = slot ? atomic_load(slot) : NULL;
	if (block)
		span = pagemap_span(atomic_load(entry_at(block, pa)));
	port_unpin();
	return span;
}

/* Where the entries of the block that starts at @pa are in the window. */
static uintptr_t window_place(phys_addr_t pa)
{
	return (uintptr_t)PORT_WINDOW_BASE + (pa >> PAGE_SHIFT) * sizeof(pagemap_entry_t);
}

/*
 * Show a block's frame in the window. Without it look-ups are slow, not wrong. The
 * slot of the block's second chunk, not needed otherwise, says that it is shown.
 */
static void show_block(phys_addr_t pa, pagemap_entry_t *block)
{
	struct meta_pool *pool = memmap_node_pool(&main_map, 0);
	struct port_pool tables = { 0 };

	if (!PORT_HAS_WINDOW || pa >= pagemap_limit)
		return;
	addrstate_feed(&main_map, 0, ADDRSTATE_ROOM);
	if (meta_fill_tables(pool, &tables, port_pool_worst(FRAME_SIZE))) {
		unsigned long flags = spin_lock_irqsave(&window_lock);

		if (!port_map(window_place(pa), virt_to_phys(block), FRAME_SIZE, PORT_READ,
			      &tables))
			atomic_store(&chunk_find(&main_map.index, pa + CHUNK_SIZE)->spans, block);
		spin_unlock_irqrestore(&window_lock, flags);
	}
	meta_return_tables(pool, &tables);
}

/* A block that lies in the window; or NULL. Of two CPUs that make it one waits. */
static pagemap_entry_t *block_in_window(phys_addr_t pa)
{
	phys_addr_t base = round_down(pa, PAGEMAP_BLOCK);
	pagemap_entry_t **slot = block_slot(base);
	uintptr_t place = window_place(base);
	unsigned long flags = spin_lock_irqsave(&window_lock);

	if (!*slot && !port_map(place, base, FRAME_SIZE, PORT_READ | PORT_WRITE, NULL)) {
		atomic_store(&chunk_find(&main_map.index, base + CHUNK_SIZE)->spans,
			     (pagemap_entry_t *)place);
		atomic_store(slot, (pagemap_entry_t *)place);
	}
	spin_unlock_irqrestore(&window_lock, flags);
	return *slot;
}

static pagemap_entry_t *get_block(phys_addr_t pa)
{
	pagemap_entry_t **slot = block_slot(pa), *block, *fresh;

	if (!slot)
		return NULL;
	block = atomic_load(slot);
	if (likely(block))
		return block;
	if (port_context() == MM_NMI)
		return NULL;
	if (PORT_WINDOW_IS_MEMORY && pa < pagemap_limit)
		return block_in_window(pa);
	fresh = metaframe_alloc();
	if (!fresh)
		return NULL;
	memset(fresh, 0, FRAME_SIZE);
	if (!atomic_cas(slot, &block, fresh)) {
		metaframe_free(fresh);
		return block;
	}
	show_block(round_down(pa, PAGEMAP_BLOCK), fresh);
	return fresh;
}

void pagemap_forget(struct arena *arena)
{
	static_assert(PAGEMAP_BLOCK == 2 * CHUNK_SIZE,
		      "each second chunk's slot is one of a block");

	for (unsigned i = 0; i < ARENA_CHUNKS; i += 2) {
		uintptr_t va = window_place(arena->base + i * CHUNK_SIZE);

		if (!arena->chunk[i].spans)
			continue;
		if (arena->chunk[i + 1].spans) {
			/* A leaf of its own: nothing to split. */
			port_unmap(va, FRAME_SIZE, NULL);
			port_flush(va, FRAME_SIZE);
		}
		if (!PORT_WINDOW_IS_MEMORY || arena->base >= pagemap_limit)
			metaframe_free(arena->chunk[i].spans);
	}
}

bool pagemap_set(phys_addr_t pa, size_t npages, struct span *span)
{
	pagemap_entry_t entry = pagemap_entry_of(span);

	for (phys_addr_t at = pa; at < pa + npages * PAGE_SIZE; at += PAGE_SIZE) {
		pagemap_entry_t *block = get_block(at);

		if (!block) {
			pagemap_clear(pa, (at - pa) >> PAGE_SHIFT);
			return false;
		}
		atomic_store(entry_at(block, at), entry);
	}
	return true;
}

void pagemap_clear(phys_addr_t pa, size_t npages)
{
	pagemap_entry_t gone = pagemap_entry_of(&gone_span);

	for (phys_addr_t at = pa; at < pa + npages * PAGE_SIZE; at += PAGE_SIZE)
		atomic_store(entry_at(atomic_load(block_slot(at)), at), gone);
}
