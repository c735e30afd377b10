/* SPDX-License-Identifier: MIT */
/*
 * What start-up knows and leaves to those who come after it.
 */
#ifndef KERNEL_STARTUP_H
#define KERNEL_STARTUP_H

#include <stdbool.h>
#include <stdint.h>
#include <kernel/acpi.h>
#include <kernel/boot_info.h>

extern struct boot_info boot_info;
extern struct acpi_info acpi_info;

/** boot_mm_init_cycles - what mm_init() took, in units of port_clock(). */
extern uint64_t boot_mm_init_cycles;

/** show_memory() - the firmware's map with the states its frames are in, and the totals. */
void show_memory(void);

/** show_firmware_map() - the map entry by entry, as the firmware gave it. */
void show_firmware_map(void);

/** show_cpus() - who runs, and where. */
void show_cpus(void);

/** self_check() - a quick try of the memory manager on every CPU. Return: is all well? */
bool self_check(void);

/** background_start() - from now on free memory is given back, and slots are polled. */
void background_start(void);

/** background_pause() - let it rest, or go on; returns when it does. */
void background_pause(bool pause);

/** monitor() - the prompt on the console. @healthy: with which status to power off. */
__attribute__((noreturn)) void monitor(bool healthy);

#endif
