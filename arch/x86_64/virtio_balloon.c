// SPDX-License-Identifier: MIT
/*
 * The virtio balloon's free page reporting: what port_discard() gives back goes to
 * the host.
 *
 *	port_discard ─► one descriptor (address, length) ─► available ring ─► notify
 *	             ◄─ the host has dropped the memory  ◄─ used ring, polled
 *
 * Nothing but the reporting queue is used. One report at a time; whoever comes
 * meanwhile waits. The memory is unmapped while it is reported, so that the host
 * may drop it at any moment until the report is answered. A device that does not
 * answer is reset, which ends all it may do, and is not asked again.
 *
 * Whether dropped memory reads as zeroes afterwards is not promised: a host may
 * ignore reports for a while (when a device is passed through to the guest, say),
 * and then the old content is still there. So port_discard() says no, and who
 * wants zeroes writes them.
 *
 * After the Virtual I/O Device specification 1.2, 4.1 (PCI) and 5.5 (balloon).
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <spanheap/page.h>
#include "arch/x86_64/pci.h"
#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/string.h"

#define VIRTIO_VENDOR 0x1af4
#define BALLOON_MODERN 0x1045
#define BALLOON_TRANSITIONAL 0x1002

#define ANSWER_LIMIT_US (5 * 1000 * 1000)
#define REPORT_MAX (1ULL << 30) /* lengths have 32 bits */
#define QUEUE_SIZE 8

/* Structures that a capability may describe. */
enum { CAP_COMMON = 1, CAP_NOTIFY = 2 };

enum {
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
};

#define F_STATS (1U << 1)
#define F_HINT (1U << 3)
#define F_REPORTING (1U << 5)
#define F_VERSION_1 (1U << 0) /* of the upper half */

struct virtio_common {
	uint32_t device_feature_select, device_feature;
	uint32_t driver_feature_select, driver_feature;
	uint16_t config_msix, num_queues;
	uint8_t status, config_generation;
	uint16_t queue_select, queue_size, queue_msix, queue_enable, queue_notify_off;
	uint32_t queue_desc[2], queue_driver[2], queue_device[2];
};

_Static_assert(offsetof(struct virtio_common, queue_desc) == 32, "as the specification has it");

struct descriptor {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

#define DESC_DEVICE_WRITES 2

struct queue {
	struct descriptor desc[QUEUE_SIZE];
	struct {
		uint16_t flags, idx, ring[QUEUE_SIZE];
	} avail __attribute__((aligned(16)));
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[QUEUE_SIZE];
	} used __attribute__((aligned(16)));
};

static struct {
	volatile struct virtio_common *common;
	volatile uint8_t *notify_base;
	volatile uint16_t *notify;
	uint32_t notify_multiplier, notify_length;
	uint16_t queue_nr;
	struct queue *queue;
	uint32_t reporting; /* somebody is */
	bool dead;	    /* it has been reset */
} balloon;

/* The MMIO that one of the vendor's capabilities describes; NULL if it cannot be had. */
static void *map_cap(struct pci_addr at, unsigned cap, size_t least)
{
	uint64_t bar = pci_bar(at, pci_read8(at, cap + 4));
	uint32_t offset = pci_read32(at, cap + 8), length = pci_read32(at, cap + 12);

	if (!bar || length < least)
		return NULL;
	return mmio_map(bar + offset, length);
}

static bool map_device(struct pci_addr at)
{
	unsigned cap = 0;

	for (unsigned n = 0; n < PCI_CAPS_MAX && (cap = pci_next_cap(at, cap)); n++) {
		uint8_t type = pci_read8(at, cap + 3);

		if (pci_read8(at, cap) != PCI_CAP_VENDOR)
			continue;
		if (type == CAP_COMMON && !balloon.common)
			balloon.common = map_cap(at, cap, sizeof(*balloon.common));
		if (type == CAP_NOTIFY && !balloon.notify_base) {
			balloon.notify_base = map_cap(at, cap, sizeof(uint16_t));
			balloon.notify_multiplier = pci_read32(at, cap + 16);
			balloon.notify_length = pci_read32(at, cap + 12);
		}
	}
	return balloon.common && balloon.notify_base;
}

static uint32_t offered(unsigned half)
{
	balloon.common->device_feature_select = half;
	return balloon.common->device_feature;
}

static void accept(unsigned half, uint32_t features)
{
	balloon.common->driver_feature_select = half;
	balloon.common->driver_feature = features;
}

/* Without page poisoning: we do not care what reported memory holds afterwards. */
static bool negotiate(void)
{
	volatile struct virtio_common *c = balloon.common;
	uint64_t end = clock_us() + ANSWER_LIMIT_US;
	uint32_t low;

	c->status = 0;
	while (c->status) {
		if (clock_us() > end)
			return false;
		port_relax();
	}
	c->status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
	low = offered(0);
	if (!(low & F_REPORTING) || !(offered(1) & F_VERSION_1))
		return false;
	/* The two before it have queues of their own, which shift its number. */
	accept(0, low & (F_REPORTING | F_STATS | F_HINT));
	accept(1, F_VERSION_1);
	balloon.queue_nr = (uint16_t)(2 + !!(low & F_STATS) + !!(low & F_HINT));
	c->status |= STATUS_FEATURES_OK;
	return c->status & STATUS_FEATURES_OK;
}

static void set_address(volatile uint32_t reg[2], const void *va)
{
	phys_addr_t pa = virt_to_phys(va);

	reg[0] = (uint32_t)pa;
	reg[1] = (uint32_t)(pa >> 32);
}

static bool make_queue(void)
{
	volatile struct virtio_common *c = balloon.common;
	uint64_t notify;

	c->queue_select = balloon.queue_nr;
	if (c->queue_size < QUEUE_SIZE)
		return false;
	notify = (uint64_t)c->queue_notify_off * balloon.notify_multiplier;
	if (notify + sizeof(uint16_t) > balloon.notify_length)
		return false;
	balloon.queue = alloc_pages_exact(sizeof(*balloon.queue), GFP_KERNEL | __GFP_ZERO);
	if (!balloon.queue)
		return false;
	c->queue_size = QUEUE_SIZE;
	set_address(c->queue_desc, balloon.queue->desc);
	set_address(c->queue_driver, &balloon.queue->avail);
	set_address(c->queue_device, &balloon.queue->used);
	balloon.notify = (volatile uint16_t *)(balloon.notify_base + notify);
	c->queue_enable = 1;
	c->status |= STATUS_DRIVER_OK;
	return true;
}

static bool answered(void)
{
	return atomic_load(&balloon.queue->used.idx) == balloon.queue->avail.idx;
}

static void report_run(phys_addr_t pa, uint32_t len)
{
	struct queue *q = balloon.queue;
	uint64_t end = clock_us() + ANSWER_LIMIT_US;

	q->desc[0] = (struct descriptor){ .addr = pa, .len = len, .flags = DESC_DEVICE_WRITES };
	q->avail.ring[q->avail.idx % QUEUE_SIZE] = 0;
	atomic_store(&q->avail.idx, (uint16_t)(q->avail.idx + 1));
	/* The write to the device is not overtaken: MMIO is not cached. */
	*balloon.notify = balloon.queue_nr;
	while (!answered()) {
		port_relax();
		if (clock_us() < end)
			continue;
		balloon.common->status = 0;
		balloon.dead = true;
		arch_set_discard(NULL);
		console_printf("balloon: no answer; not asked any more\n");
		return;
	}
}

static bool balloon_discard(phys_addr_t pa, uint64_t size)
{
	while (atomic_xchg(&balloon.reporting, 1))
		port_relax();
	for (uint64_t done = 0, len; done < size && !balloon.dead; done += len) {
		len = MIN(size - done, REPORT_MAX);
		report_run(pa + done, (uint32_t)len);
	}
	atomic_store(&balloon.reporting, 0);
	return false;
}

void balloon_init(void)
{
	struct pci_addr at;

	if (!pci_find(VIRTIO_VENDOR, BALLOON_MODERN, &at) &&
	    !pci_find(VIRTIO_VENDOR, BALLOON_TRANSITIONAL, &at))
		return;
	pci_write32(at, PCI_COMMAND,
		    (pci_read32(at, PCI_COMMAND) & 0xffff) | PCI_COMMAND_MEMORY |
			    PCI_COMMAND_MASTER);
	if (!map_device(at))
		return;
	if (!negotiate() || !make_queue()) {
		balloon.common->status = 0;
		return;
	}
	arch_set_discard(balloon_discard);
	console_printf("balloon: free pages are reported to the host\n");
}
