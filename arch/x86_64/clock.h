/* SPDX-License-Identifier: MIT */
/*
 * How fast the counters count. What callers outside arch/ need is in <kernel/arch.h>.
 */
#ifndef ARCH_X86_64_CLOCK_H
#define ARCH_X86_64_CLOCK_H

#include <stdint.h>

/** clock_calibrate() - measure; once, on CPU 0, before other CPUs run. Takes 5 ms. */
void clock_calibrate(void);

/** clock_apic_khz() - of the local APIC's timer as apic.c sets it up. */
uint64_t clock_apic_khz(void);

#endif
