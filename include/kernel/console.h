/* SPDX-License-Identifier: MIT */
/*
 * The serial console. Output of one call is not mixed with that of another CPU.
 */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include <stddef.h>

/** serial_init() - find and set up the first serial port. Needs nothing else. */
void serial_init(void);

/** console_putc() - one character. Any context. */
void console_putc(char c);

/** console_write() - @n characters, unmixed. Any context. */
void console_write(const char *s, size_t n);

/** console_printf() - formatted as fmt_print() does, at most 511 characters. Any context. */
__attribute__((format(printf, 1, 2))) void console_printf(const char *fmt, ...);

/** console_getc() - a character that has arrived, or -1. */
int console_getc(void);

/** console_wait() - wait for a character; other tasks run meanwhile, else the CPU sleeps. */
int console_wait(void);

#endif
