/* SPDX-License-Identifier: MIT */
/* What a panic needs of the console besides <kernel/console.h>. */
#ifndef ARCH_X86_64_CONSOLE_H
#define ARCH_X86_64_CONSOLE_H

/** console_seize() - from now on output waits for nobody. For a panic. */
void console_seize(void);

#endif
