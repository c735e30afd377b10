// SPDX-License-Identifier: MIT
/*
 * Memory and string functions for a machine without a C library.
 *
 * The compiler calls the mem* functions on its own account, so they must exist
 * under these names, and must not be compiled into calls of themselves.
 */
#include <stdint.h>

#include "lib/string.h"

void *memset(void *dst, int byte, size_t n)
{
#ifdef __x86_64__
	void *d = dst;
	uint64_t pattern = (uint8_t)byte * 0x0101010101010101ULL;
	size_t words = n / 8;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
	n %= 8;
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
#else
	for (volatile uint8_t *d = dst; n; n--)
		*d++ = (uint8_t)byte;
#endif
	return dst;
}

/* Both of the calls below: one in terms of the other is made into a call of itself. */
static inline __attribute__((always_inline)) void *copy_bytes(void *dst, const void *src, size_t n)
{
	volatile uint8_t *d = dst;
	const volatile uint8_t *s = src;

	if ((uintptr_t)d - (uintptr_t)s < n) {
		while (n--)
			d[n] = s[n];
		return dst;
	}
#ifdef __x86_64__
	void *to = dst;
	size_t words = n / 8;

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(src), "+c"(words) : : "memory");
	n %= 8;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(n) : : "memory");
#else
	for (size_t i = 0; i < n; i++)
		d[i] = s[i];
#endif
	return dst;
}

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	return copy_bytes(dst, src, n);
}

void *memmove(void *dst, const void *src, size_t n)
{
	return copy_bytes(dst, src, n);
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	const volatile char *p = s;

	while (*p)
		p++;
	return (size_t)(p - s);
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++)
		if (*a != *b || !*a)
			return (unsigned char)*a - (unsigned char)*b;
	return 0;
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)s;
}

char *strstr(const char *s, const char *part)
{
	size_t n = strlen(part);

	for (;; s++) {
		if (!strncmp(s, part, n))
			return (char *)s;
		if (!*s)
			return NULL;
	}
}
