// SPDX-License-Identifier: MIT
/* Text from numbers; see fmt.h for what is understood. */
#include <stdbool.h>
#include <stdint.h>

#include "lib/fmt.h"
#include "lib/string.h"

struct out {
	char *buf;
	size_t size, len;
};

struct spec {
	bool left, zero;
	int width, precision;
	int longs;	/* 0 int, 1 long, 2 long long */
};

static void put(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void put_padded(struct out *o, const char *s, size_t n, const struct spec *sp)
{
	int pad = sp->width - (int)n;

	if (!sp->left)
		for (; pad > 0; pad--)
			put(o, ' ');
	while (n--)
		put(o, *s++);
	for (; pad > 0; pad--)
		put(o, ' ');
}

static void put_number(struct out *o, uint64_t v, unsigned base, bool negative, bool upper,
		       struct spec *sp)
{
	char digits[24];
	size_t at = sizeof(digits);
	const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";

	do
		digits[--at] = set[v % base];
	while (v /= base);
	if (sp->zero && !sp->left) {
		if (negative)
			put(o, '-');
		for (int pad = sp->width - negative - (int)(sizeof(digits) - at); pad > 0; pad--)
			put(o, '0');
		sp->width = 0;
	} else if (negative) {
		digits[--at] = '-';
	}
	put_padded(o, digits + at, sizeof(digits) - at, sp);
}

static const char *parse_spec(const char *f, struct spec *sp, va_list *args)
{
	*sp = (struct spec){ .precision = -1 };
	for (;; f++) {
		if (*f == '-')
			sp->left = true;
		else if (*f == '0')
			sp->zero = true;
		else
			break;
	}
	if (*f == '*') {
		sp->width = va_arg(*args, int);
		f++;
	}
	for (; *f >= '0' && *f <= '9'; f++)
		sp->width = sp->width * 10 + (*f - '0');
	if (*f == '.') {
		sp->precision = 0;
		if (*++f == '*') {
			sp->precision = va_arg(*args, int);
			f++;
		}
		for (; *f >= '0' && *f <= '9'; f++)
			sp->precision = sp->precision * 10 + (*f - '0');
	}
	for (; *f == 'h'; f++)
		;
	for (; *f == 'l' || *f == 'z'; f++)
		sp->longs++;
	return f;
}

static int64_t take_signed(const struct spec *sp, va_list *args)
{
	return sp->longs > 1 ? va_arg(*args, long long)
			     : (sp->longs ? va_arg(*args, long) : va_arg(*args, int));
}

static uint64_t take_unsigned(const struct spec *sp, va_list *args)
{
	return sp->longs > 1 ? va_arg(*args, unsigned long long)
			     : (sp->longs ? va_arg(*args, unsigned long) : va_arg(*args, unsigned));
}

static void put_string(struct out *o, const char *s, const struct spec *sp)
{
	size_t n = 0;

	if (!s)
		s = "(null)";
	while ((sp->precision < 0 || n < (size_t)sp->precision) && s[n])
		n++;
	put_padded(o, s, n, sp);
}

static void put_conversion(struct out *o, char c, struct spec *sp, va_list *args)
{
	int64_t i;
	char ch;

	switch (c) {
	case 'd':
	case 'i':
		i = take_signed(sp, args);
		put_number(o, i < 0 ? -(uint64_t)i : (uint64_t)i, 10, i < 0, false, sp);
		break;
	case 'u':
		put_number(o, take_unsigned(sp, args), 10, false, false, sp);
		break;
	case 'x':
	case 'X':
		put_number(o, take_unsigned(sp, args), 16, false, c == 'X', sp);
		break;
	case 'p':
		put(o, '0');
		put(o, 'x');
		put_number(o, (uintptr_t)va_arg(*args, void *), 16, false, false, sp);
		break;
	case 's':
		put_string(o, va_arg(*args, const char *), sp);
		break;
	case 'c':
		ch = (char)va_arg(*args, int);
		put_padded(o, &ch, 1, sp);
		break;
	default:
		put(o, c);
	}
}

size_t fmt_vprint(char *buf, size_t size, const char *fmt, va_list args)
{
	struct out o = { .buf = buf, .size = size };
	va_list ap;

	va_copy(ap, args);
	for (const char *f = fmt; *f; f++) {
		struct spec sp;

		if (*f != '%') {
			put(&o, *f);
			continue;
		}
		f = parse_spec(f + 1, &sp, &ap);
		if (!*f)
			break;
		put_conversion(&o, *f, &sp, &ap);
	}
	va_end(ap);
	if (size)
		buf[o.len < size ? o.len : size - 1] = 0;
	return o.len;
}

size_t fmt_print(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t len;

	va_start(args, fmt);
	len = fmt_vprint(buf, size, fmt, args);
	va_end(args);
	return len;
}
