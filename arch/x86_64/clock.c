// SPDX-License-Identifier: MIT
/*
 * Time: the time stamp counter and the local APIC's timer, measured against the
 * old interval timer (PIT), whose frequency is the same everywhere.
 *
 * Anything that disturbs a measurement (a busy host, firmware in SMM) makes it
 * longer, never shorter: the counters are read before the PIT starts and after it
 * has run out. So the least of several tries is right.
 *
 * A machine without a PIT gets a guess of 1 GHz: all that hangs on it is how long
 * a time slice or a wait for another CPU lasts.
 */
#include <kernel/arch.h>
#include <spanheap/port.h>
#include "arch/x86_64/apic.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/x86.h"
#include "lib/bits.h"

#define PIT_HZ 1193182
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PIT_CH2_ONE_SHOT 0xb0	/* channel 2, low byte then high byte, mode 0 */
#define PIT_GATE 0x61
#define GATE_ON 0x01
#define GATE_SPEAKER 0x02
#define GATE_OUTPUT 0x20

#define TRIES 5
#define INTERVAL_TICKS (PIT_HZ / 1000)
/* Reads of a port take about a microsecond; a PIT that works is done long before. */
#define MAX_POLLS 1000000

#define GUESS_KHZ 1000000UL

static uint64_t tsc_khz, apic_khz, tsc_start;

struct sample {
	uint64_t tsc, apic;
};

static bool measure(struct sample *s)
{
	uint8_t gate = inb(PIT_GATE) & ~(GATE_ON | GATE_SPEAKER);
	uint64_t from;
	unsigned polls = 0;

	outb(PIT_GATE, gate);
	outb(PIT_COMMAND, PIT_CH2_ONE_SHOT);
	outb(PIT_CHANNEL2, INTERVAL_TICKS & 0xff);
	apic_timer_start();
	from = rdtsc();
	outb(PIT_CHANNEL2, INTERVAL_TICKS >> 8);
	outb(PIT_GATE, gate | GATE_ON);
	while (!(inb(PIT_GATE) & GATE_OUTPUT))
		if (++polls == MAX_POLLS)
			return false;
	s->tsc = rdtsc() - from;
	s->apic = apic_timer_elapsed();
	outb(PIT_GATE, gate);
	/* An output that was high from the start is no timer. */
	return polls > 0;
}

void clock_calibrate(void)
{
	struct sample best = { UINT64_MAX, UINT64_MAX }, s;

	tsc_khz = apic_khz = GUESS_KHZ;
	tsc_start = rdtsc();
	for (unsigned i = 0; i < TRIES; i++) {
		if (!measure(&s)) {
			port_log("clock: no interval timer; taking 1 GHz for granted");
			return;
		}
		best.tsc = MIN(best.tsc, s.tsc);
		best.apic = MIN(best.apic, s.apic);
	}
	tsc_khz = best.tsc * PIT_HZ / (INTERVAL_TICKS * 1000UL);
	apic_khz = best.apic * PIT_HZ / (INTERVAL_TICKS * 1000UL);
	if (!tsc_khz)
		tsc_khz = GUESS_KHZ;
	if (!apic_khz)
		apic_khz = GUESS_KHZ;
}

/* The guess until it is measured: rather a wrong time than a wait in an interrupt. */
static uint64_t khz(void)
{
	return tsc_khz ? tsc_khz : GUESS_KHZ;
}

uint64_t clock_apic_khz(void)
{
	return apic_khz ? apic_khz : GUESS_KHZ;
}

uint64_t port_clock(void)
{
	return rdtsc();
}

uint64_t clock_us(void)
{
	uint64_t cycles = rdtsc() - tsc_start;

	return cycles / khz() * 1000 + cycles % khz() * 1000 / khz();
}

void clock_delay_us(uint64_t us)
{
	uint64_t end = clock_us() + us;

	while (clock_us() < end)
		port_relax();
}
