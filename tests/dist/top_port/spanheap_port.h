/* SPDX-License-Identifier: MIT */
/*
 * RAM whose last byte has the highest address that there can be: an array, by a direct
 * map that lies so. BITS is given when this is compiled.
 */
#ifndef TOP_SPANHEAP_PORT_H
#define TOP_SPANHEAP_PORT_H

#define PORT_ONE_CPU 1
#define PORT_NO_INTERRUPTS 1
#define PORT_NO_PREEMPTION 1
#define PORT_PHYS_BITS BITS
#define PORT_DIRECT_BASE direct_base

extern uintptr_t direct_base;

#endif
