/* SPDX-License-Identifier: MIT */
/*
 * The port of the fuzz programs: constants only. A program supplies those port
 * functions that the code under test calls.
 */
#ifndef FUZZ_SPANHEAP_PORT_H
#define FUZZ_SPANHEAP_PORT_H

#define PORT_MAX_CPUS 4
#define PORT_MAX_NODES 8
#define PORT_PHYS_BITS 46
#define PORT_HAS_MMU 1
#define PORT_MAP_MIN FRAME_SIZE
#define PORT_WINDOW_BASE 0
#define PORT_WINDOW_SIZE 0

extern uintptr_t fuzz_direct_base;
#define PORT_DIRECT_BASE fuzz_direct_base
#define PORT_HAS_CACHE_SLOT

#endif
