/* SPDX-License-Identifier: MIT */
/*
 * Every atomic access of the project, so that a test build can put a
 * scheduling point at each: ATOMIC_POINT() is empty in all others.
 *
 *	atomic_load, atomic_store		acquire, release
 *	atomic_*_relaxed			no ordering
 *	atomic_or, _and, _fetch_*, _xchg, _cas	acquire and release
 *	cpu_local_*				one instruction on this CPU: an
 *						interrupt cannot split it, another
 *						CPU's access can
 */
#ifndef LIB_ATOMIC_H
#define LIB_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>
#include <spanheap/port.h>

#ifndef ATOMIC_POINT
#define ATOMIC_POINT() ((void)0)
#endif

#define atomic_load(p) (ATOMIC_POINT(), __atomic_load_n(p, __ATOMIC_ACQUIRE))
#define atomic_load_relaxed(p) (ATOMIC_POINT(), __atomic_load_n(p, __ATOMIC_RELAXED))
#define atomic_store(p, v) (ATOMIC_POINT(), __atomic_store_n(p, v, __ATOMIC_RELEASE))
#define atomic_store_relaxed(p, v) (ATOMIC_POINT(), __atomic_store_n(p, v, __ATOMIC_RELAXED))

#define atomic_or(p, m) ((void)atomic_fetch_or(p, m))
#define atomic_and(p, m) ((void)atomic_fetch_and(p, m))
#define atomic_fetch_or(p, m) (ATOMIC_POINT(), __atomic_fetch_or(p, m, __ATOMIC_ACQ_REL))
#define atomic_fetch_and(p, m) (ATOMIC_POINT(), __atomic_fetch_and(p, m, __ATOMIC_ACQ_REL))
#define atomic_fetch_add(p, n) (ATOMIC_POINT(), __atomic_fetch_add(p, n, __ATOMIC_ACQ_REL))
#define atomic_fetch_sub(p, n) (ATOMIC_POINT(), __atomic_fetch_sub(p, n, __ATOMIC_ACQ_REL))
#define atomic_xchg(p, v) (ATOMIC_POINT(), __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL))
/* True if *p was *expected and is now @v; else *expected becomes *p. */
#define atomic_cas(p, expected, v)                                                                 \
	(ATOMIC_POINT(),                                                                           \
	 __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))

/* What was stored before is seen by others before what is loaded after it. */
#define atomic_fence() (ATOMIC_POINT(), __atomic_thread_fence(__ATOMIC_SEQ_CST))

/*
 * Likewise, behind an atomic read-modify-write: of what that wrote. On x86 such an
 * instruction is the fence.
 */
#ifdef __x86_64__
#define atomic_fence_after() compiler_barrier()
#else
#define atomic_fence_after() atomic_fence()
#endif

/*
 * A relaxed load that the compiler may make part of a comparison, which it does not
 * do with atomic_load_relaxed(). For one look at a word that is read whole anyway.
 */
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define SANITIZES_THREADS
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(SANITIZES_THREADS)
#define atomic_peek(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#else
#define atomic_peek(p) (*(p))
#endif

/* Keeps the compiler, not the CPU, from moving accesses across. */
#define compiler_barrier() __asm__ volatile("" ::: "memory")

/* Is any bit of @mask set in *p? A relaxed load that takes no register and no instruction. */
static inline bool atomic_test_relaxed(const uint32_t *p, uint32_t mask)
{
#ifdef __x86_64__
	bool any;

	ATOMIC_POINT();
	__asm__ volatile("testl %2, %1" : "=@ccnz"(any) : "m"(*p), "ir"(mask));
	return any;
#else
	return atomic_load_relaxed(p) & mask;
#endif
}

static inline void cpu_local_or(uint64_t *p, uint64_t mask)
{
#ifdef __x86_64__
	__asm__ volatile("orq %1, %0" : "+m"(*p) : "r"(mask) : "cc");
#else
	unsigned long flags = port_irq_save();

	*p |= mask;
	port_irq_restore(flags);
#endif
}

/* Return: true if nothing is left of *p. */
static inline bool cpu_local_and(uint64_t *p, uint64_t mask)
{
#ifdef __x86_64__
	bool zero;

	__asm__ volatile("andq %2, %0" : "+m"(*p), "=@ccz"(zero) : "r"(mask));
	return zero;
#else
	unsigned long flags = port_irq_save();
	bool zero = !(*p &= mask);

	port_irq_restore(flags);
	return zero;
#endif
}

/* Rotate by one to the right. Return: the bit that was the lowest and is the highest now. */
static inline bool cpu_local_rotate(uint8_t *p)
{
#ifdef __x86_64__
	bool bit;

	__asm__ volatile("rorb %0" : "+m"(*p), "=@ccc"(bit));
	return bit;
#else
	unsigned long flags = port_irq_save();
	bool bit = *p & 1;

	*p = (uint8_t)(*p >> 1 | bit << 7);
	port_irq_restore(flags);
	return bit;
#endif
}

static inline uint64_t cpu_local_xchg(uint64_t *p, uint64_t v)
{
#ifdef __x86_64__
	__asm__ volatile("xchgq %1, %0" : "+m"(*p), "+r"(v));
	return v;
#else
	unsigned long flags = port_irq_save();
	uint64_t old = *p;

	*p = v;
	port_irq_restore(flags);
	return old;
#endif
}

static inline void cpu_local_add(uint64_t *p, uint64_t n)
{
#ifdef __x86_64__
	__asm__ volatile("addq %1, %0" : "+m"(*p) : "er"(n) : "cc");
#else
	unsigned long flags = port_irq_save();

	*p += n;
	port_irq_restore(flags);
#endif
}

#endif
