// SPDX-License-Identifier: MIT
/*
 * Starting the other CPUs.
 *
 *	CPU 0					the other CPU
 *	stacks and block for each
 *	INIT and start-up to all at once	trampoline.S, ap_main()
 *	wait for all, with a limit	◄────	ARRIVED, sleeps
 *	one after the other:
 *	    number, NUMBERED		────►	wakes, mm_init_cpu()
 *	    wait			◄────	ONLINE or LEFT_OUT
 *
 * Numbers are given in the order of the MADT to those that came: no gaps, and the
 * same at each start of a machine. CPUs that wait sleep: with more of them than
 * the host has processors, spinning would take the time that the last ones need.
 */
#include <kernel/acpi.h>
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/panic.h>
#include <kernel/task.h>
#include <spanheap/boot.h>
#include <spanheap/page.h>
#include "arch/x86_64/apic.h"
#include "arch/x86_64/call.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/trampoline.h"
#include "arch/x86_64/trap.h"
#include "arch/x86_64/x86.h"
#include "lib/bits.h"
#include "lib/string.h"

#define INIT_DELAY_US 10000
#define STARTUP_DELAY_US 1000
/* A busy host may let a CPU wait for seconds; one that is broken costs this once. */
#define ARRIVAL_LIMIT_US (10 * 1000 * 1000)

_Static_assert(offsetof(struct cpu, stacks.idle) == AP_STACK, "trampoline.S starts there");

void ap_main(struct cpu *cpu);

/* By APIC id: who is being started. */
struct cpu *ap_cpu[256];
/* The final page tables. */
uint64_t ap_cr3;

unsigned port_possible_cpus = 1;
static struct cpu *online[PORT_MAX_CPUS];
static unsigned nonline;
static phys_addr_t trampoline;

static int node_of_apic(const struct acpi_info *acpi, uint32_t id);
static struct cpu *smp_make_cpu(uint32_t id, int node);
static void *smp_fill_trampoline(void);
static void smp_send_startup(struct cpu *const *cpus, unsigned n);
static unsigned smp_missing(struct cpu *const *cpus, unsigned n);
static void smp_take_in(struct cpu *cpu);

struct cpu *cpu_by_number(unsigned number)
{
	return number < cpu_count() ? online[number] : NULL;
}

unsigned cpu_count(void)
{
	return atomic_load(&nonline);
}

unsigned this_cpu(void)
{
	return port_cpu();
}

static void smp_set_online(struct cpu *cpu)
{
	online[nonline] = cpu;
	atomic_store(&nonline, nonline + 1);
}

void arch_early_init(const struct boot_info *bi)
{
	paging_set_kernel_phys(bi->kernel_phys);
	trampoline = bi->trampoline;
	trap_init();
	boot_cpu.state = CPU_ONLINE;
	boot_cpu.stacks = boot_stacks();
	cpu_load_tables(&boot_cpu);
	sched_init_cpu(boot_cpu.stacks.idle);
	smp_set_online(&boot_cpu);
}

int arch_boot_node(const struct acpi_info *acpi)
{
	return node_of_apic(acpi, cpuid(1).ebx >> 24);
}

phys_addr_t arch_trampoline(void)
{
	return trampoline;
}

void arch_count_cpus(const struct acpi_info *acpi, unsigned limit)
{
	unsigned n = MAX(acpi->ncpus, 1U);

	if (n > PORT_MAX_CPUS && !limit)
		console_printf("smp: %u CPUs, of which %u can be used\n", n,
			       (unsigned)PORT_MAX_CPUS);
	if (limit)
		n = MIN(n, limit);
	port_possible_cpus = MIN(n, (unsigned)PORT_MAX_CPUS);
}

void arch_smp_init(const struct acpi_info *acpi)
{
	struct cpu *cpus[PORT_MAX_CPUS];
	unsigned n = 0, missing;
	void *page;

	apic_init();
	apic_init_cpu();
	boot_cpu.apic_id = apic_id();
	clock_calibrate();
	irq_enable();

	for (unsigned i = 0; i < acpi->ncpus && n + 1 < port_possible_cpus; i++) {
		const struct acpi_cpu *c = &acpi->cpu[i];

		if (!c->enabled || c->apic_id == boot_cpu.apic_id || c->apic_id > 254)
			continue;
		cpus[n] = smp_make_cpu(c->apic_id, c->node);
		if (!cpus[n]) {
			console_printf("smp: no memory to start more than %u CPUs\n", n + 1);
			break;
		}
		ap_cpu[c->apic_id] = cpus[n++];
	}
	if (!n)
		return;
	if (!trampoline) {
		console_printf("smp: no free page below 1 MiB to start %u CPUs from\n", n);
		return;
	}
	page = smp_fill_trampoline();
	smp_send_startup(cpus, n);
	missing = smp_missing(cpus, n);
	for (unsigned i = 0; i < n; i++)
		smp_take_in(cpus[i]);
	/* It is code; only while it was written was it writable. */
	port_unmap((uintptr_t)page, FRAME_SIZE, NULL);
	port_flush((uintptr_t)page, FRAME_SIZE);
	if (missing)
		console_printf("smp: %u of %u CPUs did not come\n", missing, n);
}

static int node_of_apic(const struct acpi_info *acpi, uint32_t id)
{
	for (unsigned i = 0; acpi && i < acpi->ncpus; i++)
		if (acpi->cpu[i].apic_id == id)
			return acpi->cpu[i].node;
	return 0;
}

/* What a CPU needs before it runs: all of it, or NULL. */
static struct cpu *smp_make_cpu(uint32_t id, int node)
{
	struct cpu *cpu = alloc_pages_exact(sizeof(*cpu), GFP_KERNEL | __GFP_ZERO);

	if (!cpu)
		return NULL;
	cpu->apic_id = id;
	cpu->node = node;
	cpu->state = CPU_STARTING;
	cpu->stacks.idle = kstack_alloc(SCHED_STACK_SIZE);
	cpu->stacks.df = kstack_alloc(DF_STACK_SIZE);
	cpu->stacks.nmi = kstack_alloc(NMI_STACK_SIZE);
	cpu->stacks.mc = kstack_alloc(MC_STACK_SIZE);
	cpu->stacks.pf = kstack_alloc(PF_STACK_SIZE);
	if (cpu->stacks.idle && cpu->stacks.df && cpu->stacks.nmi && cpu->stacks.mc &&
	    cpu->stacks.pf)
		return cpu;
	kstack_free(cpu->stacks.idle, SCHED_STACK_SIZE);
	kstack_free(cpu->stacks.df, DF_STACK_SIZE);
	kstack_free(cpu->stacks.nmi, NMI_STACK_SIZE);
	kstack_free(cpu->stacks.mc, MC_STACK_SIZE);
	kstack_free(cpu->stacks.pf, PF_STACK_SIZE);
	free_pages_exact(cpu, sizeof(*cpu));
	return NULL;
}

static void *smp_fill_trampoline(void)
{
	size_t size = (size_t)(trampoline_end - trampoline_start);
	uint8_t *page = mmio_map(trampoline, FRAME_SIZE);
	struct trampoline_data data = {
		.gdt = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff },
		.gdt_limit = sizeof(data.gdt) - 1,
		.gdt_base = (uint32_t)trampoline + TRAMPOLINE_GDT,
		.far32 = { (uint32_t)(trampoline + (uintptr_t)(trampoline_32 - trampoline_start)),
			   TRAMPOLINE_CODE32 },
		.far64 = { (uint32_t)(trampoline + (uintptr_t)(trampoline_64 - trampoline_start)),
			   TRAMPOLINE_CODE64 },
		.cr3 = (uint32_t)paging_init_trampoline(trampoline),
	};

	ap_cr3 = table_pa(paging_root());
	if (!page)
		panic("no frames to map the page that starts CPUs");
	memcpy(page, trampoline_start, size);
	memcpy(page + TRAMPOLINE_DATA, &data, sizeof(data));
	return page;
}

static void smp_send_startup(struct cpu *const *cpus, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		apic_send_init(cpus[i]->apic_id);
	clock_delay_us(INIT_DELAY_US);
	for (unsigned i = 0; i < n; i++)
		apic_send_startup(cpus[i]->apic_id, trampoline);
	clock_delay_us(STARTUP_DELAY_US);
	/* A second one, as the manuals want it, for those that the first did not wake. */
	for (unsigned i = 0; i < n; i++)
		if (atomic_load(&cpus[i]->state) == CPU_STARTING)
			apic_send_startup(cpus[i]->apic_id, trampoline);
}

/* Wait for all. Those that have not come by the limit must not come later. */
static unsigned smp_missing(struct cpu *const *cpus, unsigned n)
{
	uint64_t end = clock_us() + ARRIVAL_LIMIT_US;
	unsigned missing = 0;

	for (unsigned i = 0; i < n; i++) {
		uint32_t state = CPU_STARTING;

		while (atomic_load(&cpus[i]->state) == CPU_STARTING && clock_us() < end)
			port_relax();
		missing += atomic_cas(&cpus[i]->state, &state, CPU_LEFT_OUT);
	}
	return missing;
}

static void smp_take_in(struct cpu *cpu)
{
	uint32_t state = atomic_load(&cpu->state);

	if (state != CPU_ARRIVED)
		return;
	cpu->port.number = nonline;
	mm_set_cpu_node(nonline, cpu->node);
	atomic_store(&cpu->state, CPU_NUMBERED);
	apic_send(cpu->apic_id, VECTOR_KICK);
	while ((state = atomic_load(&cpu->state)) == CPU_NUMBERED)
		port_relax();
	if (state == CPU_ONLINE)
		smp_set_online(cpu);
	else
		console_printf("smp: no memory for the caches of CPU %u\n", nonline);
}

/* On the new CPU, on its idle stack. */
void ap_main(struct cpu *cpu)
{
	uint32_t state = CPU_STARTING;

	cpu_load_control();
	cpu_load_tables(cpu);
	apic_init_cpu();
	sched_init_cpu(0);
	if (!atomic_cas(&cpu->state, &state, CPU_ARRIVED))
		halt_forever();
	irq_disable();
	while (atomic_load(&cpu->state) == CPU_ARRIVED)
		arch_wait();
	if (mm_init_cpu()) {
		atomic_store(&cpu->state, CPU_LEFT_OUT);
		halt_forever();
	}
	irq_enable();
	atomic_store(&cpu->state, CPU_ONLINE);
	sched_idle();
}

struct sched_queue *sched_queue_of(unsigned number)
{
	struct cpu *cpu = cpu_by_number(number);

	return cpu ? &cpu->rq : NULL;
}

struct sched_queue *sched_queue_self(void)
{
	return &cpu_self()->rq;
}
