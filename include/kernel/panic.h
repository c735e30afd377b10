/* SPDX-License-Identifier: MIT */
/*
 * The end of a run that cannot go on.
 *
 * On the console, for a runner to read:
 *
 *	panic: page fault at 0x10 (write, not present) ip 0xffffffff80201234 cpu 1 context task
 *	  task "name"
 *	  rax ... (registers, where they are known)
 *	  at 0xffffffff80201234		backtrace, innermost first, one line each
 *	  at 0xffffffff80200f00
 *
 * then the machine exits with EXIT_PANIC.
 */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include <stddef.h>
#include <stdint.h>

/** panic() - stop the other CPUs, say why, exit. Any context. */
__attribute__((noreturn, format(printf, 1, 2))) void panic(const char *fmt, ...);

/**
 * backtrace() - return addresses of the callers, innermost first.
 * @fp: frame pointer to start from; __builtin_frame_address(0)
 *
 * Any context; stops at the first frame that cannot be read.
 *
 * Return: how many of @ips were filled.
 */
size_t backtrace(uintptr_t fp, uintptr_t *ips, size_t max);

/** backtrace_print() - the "at 0x..." lines of the caller's stack. */
void backtrace_print(uintptr_t fp);

#endif
