// SPDX-License-Identifier: MIT
/*
 * The console: lines of several CPUs and contexts, unmixed.
 *
 * One lock, held with interrupts off while a text goes out. An NMI cannot wait
 * for it when the CPU it came on is the one that holds it, and should not wait
 * long otherwise: it leaves its text in one of a few slots, and whoever holds the
 * lock, or takes it next, prints that. A panic ignores the lock.
 *
 * Interrupts are masked by hand, not by port_irq_save(): how long output takes
 * says nothing about what irqoff_max() is to tell.
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/sched.h>
#include <kernel/task.h>
#include "arch/x86_64/apic.h"
#include "arch/x86_64/console.h"
#include "arch/x86_64/serial.h"
#include "arch/x86_64/x86.h"
#include "lib/bits.h"
#include "lib/fmt.h"
#include "lib/string.h"

#define NMI_TRIES 1000
#define SEIZE_TRIES 100
#define LATE_SLOTS 8
#define LATE_SIZE 248
#define INPUT_POLL_US 5000

enum late_state { LATE_FREE, LATE_FILLING, LATE_FULL };

/* A text that found the lock taken. */
struct late_text {
	uint32_t state, length;
	char text[LATE_SIZE];
};

static struct spinlock console_lock;
static struct late_text late_texts[LATE_SLOTS];
static uint32_t late_lost;
/* 1 + number of the CPU that panics. */
static uint32_t seized_by;

static void send(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		serial_put(s[i]);
}

static bool try_hard(void)
{
	for (unsigned i = 0; i < NMI_TRIES; i++) {
		if (spin_trylock(&console_lock))
			return true;
		port_relax();
	}
	return false;
}

static void leave_late(const char *s, size_t n)
{
	for (unsigned i = 0; i < LATE_SLOTS; i++) {
		struct late_text *late = &late_texts[i];
		uint32_t state = LATE_FREE;

		if (!atomic_cas(&late->state, &state, LATE_FILLING))
			continue;
		late->length = (uint32_t)MIN(n, sizeof(late->text));
		memcpy(late->text, s, late->length);
		atomic_store(&late->state, LATE_FULL);
		return;
	}
	atomic_fetch_add(&late_lost, 1);
}

static void send_late(void)
{
	static const char lost[] = "(console: output of an NMI was lost)\n";

	for (unsigned i = 0; i < LATE_SLOTS; i++) {
		struct late_text *late = &late_texts[i];

		if (atomic_load(&late->state) != LATE_FULL)
			continue;
		send(late->text, late->length);
		atomic_store(&late->state, LATE_FREE);
	}
	if (atomic_load_relaxed(&late_lost) && atomic_xchg(&late_lost, 0))
		send(lost, sizeof(lost) - 1);
}

void console_write(const char *s, size_t n)
{
	bool irqs = irqs_enabled();

	if (atomic_load_relaxed(&seized_by) == port_cpu() + 1) {
		send(s, n);
		return;
	}
	irq_disable();
	if (port_context() != MM_NMI) {
		spin_lock(&console_lock);
	} else if (!try_hard()) {
		leave_late(s, n);
		return;
	}
	send(s, n);
	send_late();
	spin_unlock(&console_lock);
	if (irqs)
		irq_enable();
}

/* The lock is kept: others wait for it until the NMI stops them. */
void console_seize(void)
{
	for (unsigned i = 0; i < SEIZE_TRIES && !try_hard(); i++)
		;
	atomic_store(&seized_by, port_cpu() + 1);
	send_late();
}

void console_putc(char c)
{
	console_write(&c, 1);
}

void console_printf(const char *fmt, ...)
{
	char text[512];
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = fmt_vprint(text, sizeof(text), fmt, args);
	va_end(args);
	console_write(text, MIN(n, sizeof(text) - 1));
}

void port_log(const char *line)
{
	console_printf("%s\n", line);
}

int console_getc(void)
{
	return serial_get();
}

int console_wait(void)
{
	int c;

	while ((c = serial_get()) < 0) {
		task_yield();
		if (!apic_ready())
			continue;
		arch_irq_disable();
		apic_timer(INPUT_POLL_US);
		arch_wait();
		arch_irq_enable();
	}
	return c;
}
