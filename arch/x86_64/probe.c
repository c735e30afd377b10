// SPDX-License-Identifier: MIT
/*
 * Accesses that may fault. Each such instruction stands in the table of fixups
 * with the place to go on at; the result was set to "fault" before it.
 */
#include <kernel/task.h>
#include <spanheap/types.h>
#include "arch/x86_64/trap.h"

#define FIXUP(from, to)                                                                            \
	"\t.pushsection fault_fixups, \"a\"\n\t.balign 8\n\t.quad " from ", " to                   \
	"\n\t.popsection\n"

int probe_read(const void *addr)
{
	int err = -EFAULT;
	uint8_t byte;

	__asm__ volatile("1:\tmovb (%2), %1\n\txorl %0, %0\n2:\n" FIXUP("1b", "2b")
			 : "+r"(err), "=&q"(byte)
			 : "r"(addr)
			 : "memory", "cc");
	return err;
}

int probe_write(void *addr)
{
	int err = -EFAULT;

	__asm__ volatile("1:\tlock orb $0, (%1)\n\txorl %0, %0\n2:\n" FIXUP("1b", "2b")
			 : "+r"(err)
			 : "r"(addr)
			 : "memory", "cc");
	return err;
}

int try_read64(uintptr_t addr, uint64_t *value)
{
	int err = -EFAULT;
	uint64_t v = 0;

	__asm__ volatile("1:\tmovq (%2), %1\n\txorl %0, %0\n2:\n" FIXUP("1b", "2b")
			 : "+r"(err), "+&r"(v)
			 : "r"(addr)
			 : "memory", "cc");
	*value = v;
	return err;
}
