/* SPDX-License-Identifier: MIT */
/*
 * The local APIC: interrupts between CPUs, and the timer.
 */
#ifndef ARCH_X86_64_APIC_H
#define ARCH_X86_64_APIC_H

#include <stdbool.h>
#include <stdint.h>

/** apic_init() - map the registers, silence the old interrupt controllers. Once. */
void apic_init(void);

/** apic_init_cpu() - enable the calling CPU's. */
void apic_init_cpu(void);

/** apic_ready() - has apic_init() run? */
bool apic_ready(void);

/** apic_id() - of the calling CPU. */
uint32_t apic_id(void);

/** apic_eoi() - this interrupt is dealt with. */
void apic_eoi(void);

/** apic_send() - interrupt a CPU, the own one too. Any context but NMI. */
void apic_send(uint32_t apic_id, uint8_t vector);

/** apic_send_nmi() - likewise, non-maskable. */
void apic_send_nmi(uint32_t apic_id);

/** apic_nmi_others() - an NMI to all other CPUs, for a panic; any context. */
void apic_nmi_others(void);

/** apic_send_init() - reset a CPU; then apic_send_startup() makes it run at a page below 1 MiB. */
void apic_send_init(uint32_t apic_id);
void apic_send_startup(uint32_t apic_id, uint64_t page);

/** apic_timer() - one VECTOR_TIMER after so many microseconds; 0 stops it. */
void apic_timer(uint64_t us);

/** apic_timer_start(), apic_timer_elapsed() - count without an interrupt, for calibration. */
void apic_timer_start(void);
uint32_t apic_timer_elapsed(void);

#endif
