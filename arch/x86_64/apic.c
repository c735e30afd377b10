// SPDX-License-Identifier: MIT
/*
 * The local APIC by its memory-mapped registers (xAPIC, ids of 8 bits).
 *
 * A command to another CPU is two writes, the second one sends. They are done
 * with interrupts off; an NMI sends nothing except in a panic, when the flow that
 * it interrupted does not matter any more.
 *
 * The 8259s are only ever masked: firmware leaves the timer's interrupt at
 * vector 8, where it would look like a double fault.
 */
#include <kernel/arch.h>
#include <kernel/panic.h>
#include <spanheap/port.h>
#include "arch/x86_64/apic.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/trap.h"
#include "arch/x86_64/x86.h"

#define APIC_SIZE 0x400
#define APIC_BASE_ENABLED (1UL << 11)
#define APIC_BASE_X2 (1UL << 10)
#define APIC_BASE_ADDRESS 0x000ffffffffff000UL

enum apic_register {
	APIC_ID = 0x20,
	APIC_TPR = 0x80,
	APIC_EOI = 0xb0,
	APIC_SPURIOUS = 0xf0,
	APIC_COMMAND = 0x300,
	APIC_TARGET = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_THERMAL = 0x330,
	APIC_LVT_COUNTERS = 0x340,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
	APIC_TIMER_INITIAL = 0x380,
	APIC_TIMER_CURRENT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
};

#define SPURIOUS_ENABLE (1U << 8)
#define LVT_MASKED (1U << 16)
#define LVT_NMI 0x400U
#define DIVIDE_BY_16 0x3U

#define COMMAND_FIXED 0x4000U
#define COMMAND_NMI 0x4400U
#define COMMAND_INIT 0x4500U
#define COMMAND_STARTUP 0x4600U
#define COMMAND_PENDING (1U << 12)
#define COMMAND_ALL_OTHERS (3U << 18)

#define PIC1_MASK 0x21
#define PIC2_MASK 0xa1

static volatile uint32_t *registers;

static uint32_t apic_read(enum apic_register r)
{
	return registers[r / 4];
}

static void apic_write(enum apic_register r, uint32_t v)
{
	registers[r / 4] = v;
}

void apic_init(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	outb(PIC1_MASK, 0xff);
	outb(PIC2_MASK, 0xff);
	if (base & APIC_BASE_X2)
		panic("the firmware left the local APIC in x2APIC mode");
	wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLED);
	registers = mmio_map(base & APIC_BASE_ADDRESS, APIC_SIZE);
	if (!registers)
		panic("no frames to map the local APIC");
}

void apic_init_cpu(void)
{
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
	apic_write(APIC_LVT_THERMAL, LVT_MASKED);
	apic_write(APIC_LVT_COUNTERS, LVT_MASKED);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	apic_write(APIC_LVT_LINT1, LVT_NMI);
	apic_write(APIC_LVT_ERROR, LVT_MASKED);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_16);
	apic_write(APIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
}

bool apic_ready(void)
{
	return registers;
}

uint32_t apic_id(void)
{
	return apic_read(APIC_ID) >> 24;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

static void send_command(uint32_t target, uint32_t command)
{
	unsigned long flags = port_irq_save();

	while (apic_read(APIC_COMMAND) & COMMAND_PENDING)
		port_relax();
	apic_write(APIC_TARGET, target << 24);
	apic_write(APIC_COMMAND, command);
	port_irq_restore(flags);
}

void apic_send(uint32_t target, uint8_t vector)
{
	send_command(target, COMMAND_FIXED | vector);
}

void apic_send_nmi(uint32_t target)
{
	send_command(target, COMMAND_NMI);
}

void apic_nmi_others(void)
{
	send_command(0, COMMAND_NMI | COMMAND_ALL_OTHERS);
}

void apic_send_init(uint32_t target)
{
	send_command(target, COMMAND_INIT);
}

void apic_send_startup(uint32_t target, uint64_t page)
{
	send_command(target, COMMAND_STARTUP | (uint32_t)(page >> 12));
}

void apic_timer_start(void)
{
	apic_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
	apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
}

uint32_t apic_timer_elapsed(void)
{
	return UINT32_MAX - apic_read(APIC_TIMER_CURRENT);
}

void apic_timer(uint64_t us)
{
	uint64_t count = us * clock_apic_khz() / 1000;

	if (us && !count)
		count = 1;
	if (count > UINT32_MAX)
		count = UINT32_MAX;
	apic_write(APIC_LVT_TIMER, (count ? 0 : LVT_MASKED) | VECTOR_TIMER);
	apic_write(APIC_TIMER_INITIAL, (uint32_t)count);
}
