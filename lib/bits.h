/* SPDX-License-Identifier: MIT */
/*
 * Bit and number helpers. A shift by the word's width is undefined in C;
 * what takes a count here accepts the full width.
 */
#ifndef LIB_BITS_H
#define LIB_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* C11 has it in assert.h, which is no freestanding header. */
#ifndef static_assert
#define static_assert _Static_assert
#endif

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define never_inline __attribute__((noinline))
#define force_inline inline __attribute__((__always_inline__))
#define cacheline_aligned __attribute__((aligned(64)))

/* Keeps the compiler from seeing where a value comes from. */
#define HIDE_VALUE(x) ({ __asm__("" : "+r"(x)); })
/* Likewise, and nothing that depends on it is computed before this place is reached. */
#define HIDE_VALUE_HERE(x) ({ __asm__ volatile("" : "+r"(x)); })

/* Likewise, and not before @y is there: then its place is free. */
#define HIDE_VALUE_AFTER(x, y) ({ __asm__("" : "+r"(x) : "r"(y)); })

/*
 * In a function with arguments @a and @b, its first two, before anything that needs @y:
 * they stay in the registers that they came in, for the call with both at its end.
 */
#ifdef __x86_64__
#define KEEP_ARGUMENTS(a, b, y) ({ __asm__("" : "+r"(y) : "D"(a), "S"(b)); })
#else
#define KEEP_ARGUMENTS(a, b, y) ({ (void)(a), (void)(b); })
#endif

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/** multiply_wide() - 128 bits of a product: the lower half, and the upper one in *@high. */
static force_inline uint64_t multiply_wide(uint64_t a, uint64_t b, uint64_t *high)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;

	*high = (uint64_t)(product >> 64);
	return (uint64_t)product;
}

static inline bool is_pow2(uint64_t x)
{
	return x && !(x & (x - 1));
}

/* @align is a power of two. The caller has seen to it that up cannot wrap. */
static inline uint64_t round_down(uint64_t x, uint64_t align)
{
	return x & ~(align - 1);
}

static inline uint64_t round_up(uint64_t x, uint64_t align)
{
	return (x + align - 1) & ~(align - 1);
}

/* The @n lowest bits, n = 0 .. 64. */
static inline uint64_t mask_low(unsigned n)
{
	return n >= 64 ? ~0ULL : (1ULL << n) - 1;
}

/* Bits from .. from + n - 1; from < 64, from + n <= 64. */
static inline uint64_t mask_range(unsigned from, unsigned n)
{
	return mask_low(n) << from;
}

static inline uint64_t rotate_right(uint64_t x, unsigned n)
{
	return x >> n % 64 | x << -n % 64;
}

/* Index of the lowest set bit; 64 for 0. */
static inline unsigned ctz64(uint64_t x)
{
	return x ? (unsigned)__builtin_ctzll(x) : 64;
}

/* Index of the lowest set bit, of 0 any number: one instruction, without the care for old CPUs. */
static inline uint64_t lowest_bit(uint64_t x)
{
#ifdef __x86_64__
	uint64_t bit;

	__asm__("rep bsfq %1, %0" : "=r"(bit) : "r"(x) : "cc");
	return bit;
#else
	return ctz64(x) % 64;
#endif
}

/*
 * Index of the lowest clear bit: adding 1 clears the set ones below and sets it. Of
 * a word without any the index of some bit.
 */
static inline uint64_t lowest_clear_bit(uint64_t x)
{
	return lowest_bit(x + 1);
}

/* One bit of x; only the low six bits of @bit count. */
static inline bool bit_of(uint64_t x, uint64_t bit)
{
#ifdef __x86_64__
	bool set;

	__asm__("btq %2, %1" : "=@ccc"(set) : "r"(x), "r"(bit));
	return set;
#else
	return x >> bit % 64 & 1;
#endif
}

/* Set a bit of *x and say whether it was clear; only the low six bits of @bit count. */
static inline bool give_bit(uint64_t *x, uint64_t bit)
{
	bool was;

#ifdef __x86_64__
	__asm__("btsq %2, %0" : "+r"(*x), "=@ccc"(was) : "r"(bit));
#else
	was = *x >> bit % 64 & 1;
	*x |= 1ULL << bit % 64;
#endif
	return !was;
}

/* All bits but one; only the low six bits of @bit count. */
static inline uint64_t all_but(uint64_t bit)
{
	uint64_t mask = ~0ULL;

#ifdef __x86_64__
	__asm__("btrq %1, %0" : "+r"(mask) : "r"(bit) : "cc");
#else
	mask ^= 1ULL << bit % 64;
#endif
	return mask;
}

/* Zero bits above the highest set bit; 64 for 0. */
static inline unsigned clz64(uint64_t x)
{
	return x ? (unsigned)__builtin_clzll(x) : 64;
}

/* popcnt may be missing on the oldest x86-64, and libgcc on bare metal. */
static inline unsigned popcount64(uint64_t x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (unsigned)(x * 0x0101010101010101ULL >> 56);
}

#endif
