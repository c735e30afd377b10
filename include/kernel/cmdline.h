/* SPDX-License-Identifier: MIT */
/*
 * The kernel's command line: words "key=value" or "key" between spaces. Where a
 * key is given twice the later word wins, so that what is appended overrides.
 *
 *	mode=run|selftest|kbench|list	what to do once everything is up (run)
 *	filter=GLOBS			suites and cases, or benchmark cases
 *	dies				selftest: the cases that must end in a panic
 *	quick				selftest: leave out slow cases, and those that die
 *	cpus=N				start at most so many CPUs
 */
#ifndef KERNEL_CMDLINE_H
#define KERNEL_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** cmdline_add() - append words; what does not fit is left out. @text needs no zero at its end. */
void cmdline_add(const char *text, size_t len);

/** cmdline() - all of it, for messages. */
const char *cmdline(void);

/**
 * cmdline_get() - the value of a key.
 * @buf: gets the value, cut to @size - 1 characters; "" for a key without one
 *
 * Return: was the key there?
 */
bool cmdline_get(const char *key, char *buf, size_t size);

/** cmdline_flag() - is there such a key, and its value not 0? */
bool cmdline_flag(const char *key);

/** cmdline_number() - the value of a key, or @otherwise if it is missing or no number. */
uint64_t cmdline_number(const char *key, uint64_t otherwise);

/**
 * parse_number() - decimal, or hexadecimal after 0x, with a suffix K, M, G or T.
 *
 * Return: true if all of @text is one number that fits.
 */
bool parse_number(const char *text, uint64_t *value);

#endif
