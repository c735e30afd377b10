/* SPDX-License-Identifier: MIT */
/*
 * Spin locks, held with interrupts off and for bounded work only.
 *
 * Test and test-and-set: where there are more CPUs than processors (a guest, a
 * process) a ticket lock hands over to a CPU that is not running; this one is
 * taken by whoever runs. An NMI only tries: the CPU it interrupted may hold it.
 */
#ifndef LIB_SPINLOCK_H
#define LIB_SPINLOCK_H

#include "lib/atomic.h"

/**
 * struct spinlock
 * @held: 1 while somebody has it
 * @waits: how often somebody found it taken; written by the holder
 */
struct spinlock {
	uint32_t held;
	uint32_t waits;
};

static inline bool spin_trylock(struct spinlock *lock)
{
	return !atomic_load_relaxed(&lock->held) && !atomic_xchg(&lock->held, 1);
}

/* Interrupts are off already. */
static inline void spin_lock(struct spinlock *lock)
{
	if (spin_trylock(lock))
		return;
	do {
		while (atomic_load_relaxed(&lock->held))
			port_relax();
	} while (!spin_trylock(lock));
	lock->waits++;
}

static inline void spin_unlock(struct spinlock *lock)
{
	atomic_store(&lock->held, 0);
}

static inline unsigned long spin_lock_irqsave(struct spinlock *lock)
{
	unsigned long flags = port_irq_save();

	spin_lock(lock);
	return flags;
}

static inline void spin_unlock_irqrestore(struct spinlock *lock, unsigned long flags)
{
	spin_unlock(lock);
	port_irq_restore(flags);
}

/**
 * spin_lock_context() - lock, or in an NMI only try to.
 *
 * Return: true if the lock is held now; *flags goes to spin_unlock_irqrestore().
 */
static inline bool spin_lock_context(struct spinlock *lock, unsigned long *flags)
{
	*flags = port_irq_save();
	if (port_context() != MM_NMI) {
		spin_lock(lock);
		return true;
	}
	if (spin_trylock(lock))
		return true;
	port_irq_restore(*flags);
	return false;
}

#endif
