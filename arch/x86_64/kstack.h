/* SPDX-License-Identifier: MIT */
/*
 * Stacks in a window of their own; see <kernel/sched.h> for how to get one.
 */
#ifndef ARCH_X86_64_KSTACK_H
#define ARCH_X86_64_KSTACK_H

#include <stdbool.h>
#include <stdint.h>

/** kstack_is_guard() - is this in a guard page, or in what lies between stacks? */
bool kstack_is_guard(uintptr_t va);

#endif
