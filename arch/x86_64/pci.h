/* SPDX-License-Identifier: MIT */
/*
 * The configuration space of PCI devices, by the two old I/O ports: 256 bytes of
 * each, which is where all that is looked for here lies.
 */
#ifndef ARCH_X86_64_PCI_H
#define ARCH_X86_64_PCI_H

#include <stdbool.h>
#include <stdint.h>

/** struct pci_addr - where a device is: bus, device and function in bits 8.., 3.., 0... */
struct pci_addr {
	uint16_t bdf;
};

#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY (1U << 1)
#define PCI_COMMAND_MASTER (1U << 2)
#define PCI_STATUS_CAPS (1U << 20)	/* in the word at PCI_COMMAND */
#define PCI_BAR0 0x10
#define PCI_CAPS 0x34

#define PCI_CAP_VENDOR 0x09

/* @offset is a multiple of 4 for 32 bits. One caller at a time. */
uint32_t pci_read32(struct pci_addr at, unsigned offset);
uint8_t pci_read8(struct pci_addr at, unsigned offset);
void pci_write32(struct pci_addr at, unsigned offset, uint32_t value);

/**
 * pci_find() - the first device with this identity, behind bridges as well.
 *
 * Return: false if there is none.
 */
bool pci_find(uint16_t vendor, uint16_t device, struct pci_addr *at);

/** PCI_CAPS_MAX - there is no room for more capabilities: a longer list is a circle. */
#define PCI_CAPS_MAX 48

/**
 * pci_next_cap() - the next capability.
 * @offset: of the last one, or 0
 *
 * Return: its offset, or 0 at the end.
 */
unsigned pci_next_cap(struct pci_addr at, unsigned offset);

/** pci_bar() - the address behind a memory BAR; 0 if it has none. */
uint64_t pci_bar(struct pci_addr at, unsigned bar);

#endif
