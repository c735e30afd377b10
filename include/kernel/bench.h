/* SPDX-License-Identifier: MIT */
/*
 * Benchmarks inside the kernel. Under `make kbench` port_clock() counts executed
 * instructions exactly, so a figure repeats to the instruction.
 *
 *	static void pair(struct kbench *b)
 *	{
 *		KBENCH_LOOP(b, 2000, 20000, free_page(alloc_page()));
 *	}
 *	KBENCH_CASE("page_pair/order0", pair);
 *
 * prints	kbench<TAB>page_pair/order0<TAB>insn/op<TAB>57.02
 *
 * Nothing is subtracted: the loop itself costs what the case loop/empty shows.
 * An image built with CONFIG_IRQ_TRACE runs the same cases and prints one
 * figure, irqoff_max: its own figures would contain the tracing.
 */
#ifndef KERNEL_BENCH_H
#define KERNEL_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <spanheap/port.h>
#include "lib/atomic.h"

/**
 * struct kbench - a case, and what its function gets.
 * @name: as printed and as chosen by a filter
 * @arg: for functions that serve several cases
 */
struct kbench {
	const char *name;
	void (*fn)(struct kbench *b);
	uint64_t arg;
};

/* gcc turns the order of variables round; figures should come in the order of the source. */
#if __has_attribute(no_reorder)
#define KBENCH_IN_ORDER __attribute__((no_reorder))
#else
#define KBENCH_IN_ORDER
#endif

#define KBENCH_GLUE2(a, b) a##b
#define KBENCH_GLUE(a, b) KBENCH_GLUE2(a, b)

#define KBENCH_CASE_ARG(case_name, function, value)                                                \
	static struct kbench KBENCH_GLUE(kbench_, __LINE__) = { .name = (case_name),               \
								.fn = (function),                  \
								.arg = (value) };                  \
	static struct kbench *KBENCH_GLUE(kbench_registered_, __LINE__) KBENCH_IN_ORDER            \
		__attribute__((used, section("kbench_cases"))) = &KBENCH_GLUE(kbench_, __LINE__)
#define KBENCH_CASE(case_name, function) KBENCH_CASE_ARG(case_name, function, 0)

/** kbench_report() - print what @cycles for @nops operations come to, under the case's name. */
void kbench_report(const struct kbench *b, uint64_t cycles, uint64_t nops);

/** kbench_value() - print a figure of another name or unit. */
void kbench_value(const char *name, const char *unit, uint64_t value);

/* KBENCH_LOOP() - run a statement @warmup times, then @n times counted, and report. */
#define KBENCH_LOOP(b, warmup, n, ...)                                                             \
	do {                                                                                       \
		uint64_t kbench_start_;                                                            \
                                                                                                   \
		for (uint64_t kbench_i_ = (warmup); kbench_i_; kbench_i_--) {                      \
			compiler_barrier();                                                        \
			__VA_ARGS__;                                                               \
		}                                                                                  \
		kbench_start_ = port_clock();                                                      \
		for (uint64_t kbench_i_ = (n); kbench_i_; kbench_i_--) {                           \
			compiler_barrier();                                                        \
			__VA_ARGS__;                                                               \
		}                                                                                  \
		kbench_report(b, port_clock() - kbench_start_, n);                                 \
	} while (0)

/** kbench_run() - run the cases that the filter chooses. Return: was there any? */
bool kbench_run(const char *filter);

#endif
