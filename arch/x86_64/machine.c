// SPDX-License-Identifier: MIT
/*
 * What the emulator or the board offers besides the CPU: a way to end a run with
 * a status, a reset, and files that the emulator passes in (fw_cfg).
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include "arch/x86_64/x86.h"
#include "lib/bits.h"
#include "lib/string.h"

#define DEBUG_EXIT 0xf4
#define RESET_CONTROL 0xcf9
#define RESET_COLD 0x0e
#define KEYBOARD_CONTROL 0x64
#define KEYBOARD_RESET 0xfe

#define FW_CFG_SELECT 0x510
#define FW_CFG_DATA 0x511
#define FW_CFG_SIGNATURE 0x0000
#define FW_CFG_DIRECTORY 0x0019
#define FW_CFG_MAX_FILES 4096

struct fw_cfg_file {
	uint32_t size;		/* both numbers big-endian */
	uint16_t select, reserved;
	char name[56];
};

_Static_assert(sizeof(struct fw_cfg_file) == 64, "as the emulator has it");

void machine_exit(unsigned code)
{
	irq_disable();
	outl(DEBUG_EXIT, code);
	console_printf("halted; exit code 0x%x\n", code);
	halt_forever();
}

void machine_reboot(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0 };

	irq_disable();
	outb(RESET_CONTROL, RESET_COLD);
	outb(KEYBOARD_CONTROL, KEYBOARD_RESET);
	/* No vectors, then a trap: the CPU shuts down, and the board resets it. */
	__asm__ volatile("lidt %0\n\tint3" : : "m"(none));
	halt_forever();
}

static void fw_cfg_bytes(void *buf, size_t n)
{
	uint8_t *byte = buf;

	while (n--)
		*byte++ = inb(FW_CFG_DATA);
}

static bool fw_cfg_present(void)
{
	char signature[4];

	outw(FW_CFG_SELECT, FW_CFG_SIGNATURE);
	fw_cfg_bytes(signature, sizeof(signature));
	return !memcmp(signature, "QEMU", sizeof(signature));
}

long fw_cfg_read(const char *name, void *buf, size_t size)
{
	struct fw_cfg_file file;
	uint32_t n;

	if (!fw_cfg_present())
		return -1;
	outw(FW_CFG_SELECT, FW_CFG_DIRECTORY);
	fw_cfg_bytes(&n, sizeof(n));
	n = MIN(__builtin_bswap32(n), (uint32_t)FW_CFG_MAX_FILES);
	while (n--) {
		fw_cfg_bytes(&file, sizeof(file));
		file.name[sizeof(file.name) - 1] = 0;
		if (strcmp(file.name, name))
			continue;
		file.size = __builtin_bswap32(file.size);
		outw(FW_CFG_SELECT, __builtin_bswap16(file.select));
		fw_cfg_bytes(buf, MIN(size, (size_t)file.size));
		return (long)file.size;
	}
	return -1;
}
