// SPDX-License-Identifier: MIT
/*
 * Does a byte's page fault? Asked of Linux, which looks at the page tables on
 * its own account: no signal handler, so that a probe works in any context and
 * under every sanitizer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <kernel/task.h>

/* Reads eight bytes at the address before it finds that no such action exists. */
int probe_read(const void *addr)
{
	uintptr_t word = (uintptr_t)addr & ~(uintptr_t)7;
	int saved = errno, err;

	err = syscall(SYS_rt_sigprocmask, ~0, word, NULL, 8) ? errno : 0;
	errno = saved;
	return err == EFAULT ? -EFAULT : 0;
}

/* An atomic "or 0" of the word, done by the kernel for a futex that nobody waits on. */
int probe_write(void *addr)
{
	uintptr_t word = (uintptr_t)addr & ~(uintptr_t)3;
	uint32_t nobody = 0;
	int saved = errno, err;

	err = syscall(SYS_futex, &nobody, FUTEX_WAKE_OP_PRIVATE, 0, 0, word,
		      FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0)) < 0
		      ? errno
		      : 0;
	errno = saved;
	return err == EFAULT ? -EFAULT : 0;
}
