/* SPDX-License-Identifier: MIT */
/*
 * Text from numbers: the part of printf that the project needs.
 *
 * %d %i %u %x %X %c %s %p %%, lengths hh h l ll z, flags - and 0, a width
 * (also *), a precision for %s. No floating point.
 */
#ifndef LIB_FMT_H
#define LIB_FMT_H

#include <stdarg.h>
#include <stddef.h>

/**
 * fmt_print() - write at most @size bytes, always ended by a zero if size > 0.
 *
 * Return: length the whole text would have.
 */
__attribute__((format(printf, 3, 4))) size_t fmt_print(char *buf, size_t size, const char *fmt,
						       ...);
__attribute__((format(printf, 3, 0))) size_t fmt_vprint(char *buf, size_t size, const char *fmt,
							va_list args);

#endif
