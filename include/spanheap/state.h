/* SPDX-License-Identifier: MIT */
/*
 * The four states of a frame of physical memory, and the moves between them.
 *
 *	        mem_reserve        mem_map          mem_used
 *	 None ─────────────► Reserved ───────► Prepared ───────► Ready
 *	  ▲                     ▲  ▲               │ ▲              │ │
 *	  │                     │  └── mem_fault ──┘ └─ mem_unused ─┘ │
 *	  │                     └───────────── mem_fault ─────────────┘
 *	  └──────────── mem_release, from any state but None
 *
 *	None		nobody's: no RAM, or RAM that is not ours to give
 *	Reserved	known RAM; costs nothing, a touch faults
 *	Prepared	has metadata; a touch still faults
 *	Ready		mapped read-write, no-execute, in the direct map
 *
 * After the sys* layer of the Go runtime (runtime/mem.go).
 *
 * Each move takes a range of whole frames and does all of it or nothing:
 *   -EINVAL  the range is unaligned, empty, wraps or lies where no RAM can be;
 *            mem_reserve(): it is no RAM, or the boot's
 *   -EBUSY   a frame is in a state the move does not start from, or its chunk
 *            belongs to the boot or to the page heap, or is being moved
 *   -ENOMEM  no memory for metadata or page tables
 *   -EOPNOTSUPP  the port cannot unmap less than a chunk here
 * A chunk becomes the caller's by mem_map() and stops being so when none of its
 * frames is Prepared or Ready.
 */
#ifndef SPANHEAP_STATE_H
#define SPANHEAP_STATE_H

#include <spanheap/types.h>

enum mem_state { MEM_NONE, MEM_RESERVED, MEM_PREPARED, MEM_READY };

/**
 * mem_state() - the state of the frame that holds @pa.
 *
 * Any context, no lock. Cost: two loads where metadata exists, else a binary
 * search in the ranges of the boot map.
 */
enum mem_state mem_state(phys_addr_t pa);

/** mem_reserve() - None to Reserved, for RAM that was released. Any context but NMI. */
int mem_reserve(phys_addr_t base, uint64_t size);

/** mem_map() - Reserved to Prepared: claims the chunks, makes metadata. Any context but NMI. */
int mem_map(phys_addr_t base, uint64_t size);

/** mem_used() - Prepared to Ready: maps, flushes nothing. Any context but NMI. */
int mem_used(phys_addr_t base, uint64_t size);

/** mem_unused() - Ready to Prepared: unmaps on all CPUs; content is lost. Task context, waits. */
int mem_unused(phys_addr_t base, uint64_t size);

/** mem_fault() - Prepared or Ready to Reserved: unmaps on all CPUs. Task context, waits. */
int mem_fault(phys_addr_t base, uint64_t size);

/** mem_release() - anything but None to None: unmaps, forgets. Task context, waits. */
int mem_release(phys_addr_t base, uint64_t size);

/**
 * mem_walk() - visit all RAM, as runs of one state.
 * @fn: called for each run in ascending order, runs merged, no lock held, so
 *	that it may allocate; a non-zero result ends the walk
 *
 * RAM that is not ours to give (the kernel image, say) comes as None; what is
 * no RAM does not come.
 *
 * What moves meanwhile may be seen before or after. Any context but NMI.
 *
 * Return: 0, or what @fn returned.
 */
int mem_walk(int (*fn)(phys_addr_t base, uint64_t size, enum mem_state s, void *arg), void *arg);

#endif
