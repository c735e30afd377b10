// SPDX-License-Identifier: MIT
/*
 * What goes on while nobody asks for anything: free memory is given back, and the
 * memory slots are looked after. One task, on the last CPU, so that CPU 0's prompt
 * is not kept waiting.
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/startup.h>
#include <kernel/task.h>
#include <spanheap/scavenge.h>
#include "lib/atomic.h"

#define ROUND_US 50000
/* At most so much at a time: 320 MiB a second, in steps of a millisecond or so. */
#define SCAVENGE_BUDGET (16UL << 20)

static uint32_t paused, working;

static void background(void *arg)
{
	(void)arg;
	for (;;) {
		arch_sleep_us(ROUND_US);
		/* Exchanges, so that one of the two sees the other. */
		(void)atomic_xchg(&working, 1);
		if (!atomic_fetch_or(&paused, 0)) {
			dimm_poll();
			mm_scavenge_step(SCAVENGE_BUDGET);
		}
		atomic_store(&working, 0);
	}
}

void background_start(void)
{
	if (!task_start(cpu_count() - 1, background, NULL, "background"))
		console_printf("no memory for the background task\n");
}

void background_pause(bool pause)
{
	(void)atomic_xchg(&paused, pause);
	while (pause && atomic_fetch_or(&working, 0))
		task_yield();
}
