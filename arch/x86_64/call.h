/* SPDX-License-Identifier: MIT */
/*
 * Running a function on another CPU, or on this one in another context.
 */
#ifndef ARCH_X86_64_CALL_H
#define ARCH_X86_64_CALL_H

#include <spanheap/port.h>

/**
 * call_others() - run fn(arg) in an interrupt on every other running CPU.
 *
 * Task context, interrupts on. Returns when all have. Two CPUs may call each
 * other at once.
 */
void call_others(void (*fn)(void *), void *arg);

/** call_run() - on the called CPU, in @context: do what was asked for. */
void call_run(enum mm_context context);

/** call_pending() - has somebody asked this CPU for something in @context? */
bool call_pending(enum mm_context context);

#endif
