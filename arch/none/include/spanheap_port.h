/* SPDX-License-Identifier: MIT */
/*
 * The port to no machine in particular, and the file to start one from: one CPU,
 * no MMU, nothing that interrupts, memory where its physical address says.
 *
 * What is left to supply is port_panic(). Replace a line when the machine has
 * more; <spanheap/port.h> says what each part promises, Documentation/porting.md
 * what goes wrong without it.
 */
#ifndef NONE_SPANHEAP_PORT_H
#define NONE_SPANHEAP_PORT_H

#define PORT_ONE_CPU 1
#define PORT_NO_INTERRUPTS 1
#define PORT_NO_PREEMPTION 1

#define PORT_PHYS_BITS 48
#define PORT_DIRECT_BASE 0

#endif
