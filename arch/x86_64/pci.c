// SPDX-License-Identifier: MIT
/* PCI configuration space; see pci.h. */
#include "arch/x86_64/pci.h"
#include "arch/x86_64/x86.h"
#include "lib/bits.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE (1U << 31)

#define HEADER_TYPE 0x0c	/* the word it lies in */
#define HEADER_MULTI (1U << 23)
#define HEADER_BRIDGE 1
#define BRIDGE_BUSES 0x18
#define BAR_IO 1U
#define BAR_64 4U
#define NR_BARS 6

static void select(struct pci_addr at, unsigned offset)
{
	outl(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)at.bdf << 8 | (offset & 0xfc));
}

uint32_t pci_read32(struct pci_addr at, unsigned offset)
{
	select(at, offset);
	return inl(CONFIG_DATA);
}

uint8_t pci_read8(struct pci_addr at, unsigned offset)
{
	select(at, offset);
	return inb((uint16_t)(CONFIG_DATA + offset % 4));
}

void pci_write32(struct pci_addr at, unsigned offset, uint32_t value)
{
	select(at, offset);
	outl(CONFIG_DATA, value);
}

/* Buses that are known and not yet gone through, a bit each. */
struct walk {
	uint32_t bus[256 / 32];
};

static bool next_bus(struct walk *w, unsigned *bus)
{
	for (unsigned i = 0; i < ARRAY_SIZE(w->bus); i++) {
		if (!w->bus[i])
			continue;
		*bus = i * 32 + ctz64(w->bus[i]);
		w->bus[i] &= w->bus[i] - 1;
		return true;
	}
	return false;
}

/* Bridges lead to buses of higher numbers only: no circle. */
static void note_bridge(struct walk *w, struct pci_addr at, uint32_t header)
{
	unsigned secondary;

	if ((header >> 16 & 0x7f) != HEADER_BRIDGE)
		return;
	secondary = pci_read32(at, BRIDGE_BUSES) >> 8 & 0xff;
	if (secondary > at.bdf >> 8)
		w->bus[secondary / 32] |= 1U << secondary % 32;
}

static bool search_device(struct walk *w, unsigned bus, unsigned device, uint32_t id,
			  struct pci_addr *at)
{
	for (unsigned fn = 0; fn < 8; fn++) {
		uint32_t header;

		at->bdf = (uint16_t)(bus << 8 | device << 3 | fn);
		if ((pci_read32(*at, 0) & 0xffff) == 0xffff) {
			if (!fn)
				return false;
			continue;
		}
		if (pci_read32(*at, 0) == id)
			return true;
		header = pci_read32(*at, HEADER_TYPE);
		note_bridge(w, *at, header);
		if (!fn && !(header & HEADER_MULTI))
			return false;
	}
	return false;
}

bool pci_find(uint16_t vendor, uint16_t device, struct pci_addr *at)
{
	uint32_t id = (uint32_t)device << 16 | vendor;
	struct walk w = { .bus = { 1 } };
	unsigned bus;

	while (next_bus(&w, &bus))
		for (unsigned i = 0; i < 32; i++)
			if (search_device(&w, bus, i, id, at))
				return true;
	return false;
}

unsigned pci_next_cap(struct pci_addr at, unsigned offset)
{
	if (!offset && !(pci_read32(at, PCI_COMMAND) & PCI_STATUS_CAPS))
		return 0;
	return pci_read8(at, offset ? offset + 1 : PCI_CAPS) & 0xfcU;
}

uint64_t pci_bar(struct pci_addr at, unsigned bar)
{
	uint32_t low;

	if (bar >= NR_BARS)
		return 0;
	low = pci_read32(at, PCI_BAR0 + 4 * bar);
	if (low & BAR_IO)
		return 0;
	if (!(low & BAR_64) || bar + 1 == NR_BARS)
		return low & ~0xfU;
	return (uint64_t)pci_read32(at, PCI_BAR0 + 4 * bar + 4) << 32 | (low & ~0xfU);
}
