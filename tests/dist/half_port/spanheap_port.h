/* SPDX-License-Identifier: MIT */
/*
 * A port that says what its machine has and forgets to say how it works: with
 * FORGETS_MMU an MMU, else a second CPU.
 */
#ifndef HALF_SPANHEAP_PORT_H
#define HALF_SPANHEAP_PORT_H

#define PORT_NO_INTERRUPTS 1
#define PORT_NO_PREEMPTION 1
#define PORT_PHYS_BITS 48
#define PORT_DIRECT_BASE 0

#ifdef FORGETS_MMU
#define PORT_ONE_CPU 1
#define PORT_HAS_MMU 1
#else
#define PORT_MAX_CPUS 2

static inline unsigned port_cpu(void)
{
	return 0;
}

static inline void port_relax(void)
{
}
#endif

#endif
