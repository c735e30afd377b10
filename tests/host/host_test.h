/* SPDX-License-Identifier: MIT */
/* Between the files of tests/host. */
#ifndef TESTS_HOST_HOST_TEST_H
#define TESTS_HOST_HOST_TEST_H

#include <host_port.h>
#include <spanheap/boot.h>

/** host_start_cpus() - CPUs 0 .. n - 1 for task_start(); the caller is CPU 0. Return: 0 or -errno.
 */
int host_start_cpus(unsigned n);

/**
 * host_ram_parse() - a machine's RAM from text: SIZE[@BASE][:NODE],...
 * @text: sizes and bases with K, M, G or T behind; a range without a base
 *	follows the one before
 * @fn: called for each range
 *
 * Return: end of the highest range; 0 if the text is wrong.
 */
uint64_t host_ram_parse(const char *text, void (*fn)(phys_addr_t base, uint64_t size, int node));

#endif
