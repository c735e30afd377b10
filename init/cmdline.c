// SPDX-License-Identifier: MIT
/* The command line and the numbers in it; see <kernel/cmdline.h>. */
#include <kernel/boot_info.h>
#include <kernel/cmdline.h>
#include "lib/string.h"

static char line[2 * BOOT_CMDLINE_MAX];

void cmdline_add(const char *text, size_t len)
{
	size_t at = strlen(line);

	if (at && at + 1 < sizeof(line))
		line[at++] = ' ';
	for (size_t i = 0; i < len && text[i] && at + 1 < sizeof(line); i++)
		line[at++] = text[i] < ' ' ? ' ' : text[i];
	line[at] = 0;
}

const char *cmdline(void)
{
	return line;
}

static bool key_is(const char *word, size_t len, const char *key)
{
	size_t n = strlen(key);

	return len >= n && !strncmp(word, key, n) && (len == n || word[n] == '=');
}

bool cmdline_get(const char *key, char *buf, size_t size)
{
	const char *found = NULL;
	size_t found_len = 0, n = 0;

	for (const char *word = line; *word;) {
		const char *end = strchr(word, ' ');
		size_t len = end ? (size_t)(end - word) : strlen(word);

		if (key_is(word, len, key)) {
			found = word;
			found_len = len;
		}
		word += len + (end != NULL);
	}
	if (!found)
		return false;
	for (size_t i = strlen(key) + 1; i < found_len && n + 1 < size; i++)
		buf[n++] = found[i];
	buf[n] = 0;
	return true;
}

bool cmdline_flag(const char *key)
{
	char value[4];

	return cmdline_get(key, value, sizeof(value)) && strcmp(value, "0");
}

uint64_t cmdline_number(const char *key, uint64_t otherwise)
{
	char value[32];
	uint64_t number;

	if (cmdline_get(key, value, sizeof(value)) && parse_number(value, &number))
		return number;
	return otherwise;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

static unsigned suffix_shift(char c)
{
	const char *suffixes = "kmgt", *at = strchr(suffixes, c | 0x20);

	return c && at ? 10 * (unsigned)(at - suffixes + 1) : 0;
}

bool parse_number(const char *text, uint64_t *value)
{
	int base = 10;
	uint64_t v = 0;
	unsigned shift;

	if (text[0] == '0' && (text[1] | 0x20) == 'x') {
		base = 16;
		text += 2;
	}
	if (digit(*text) >= base)
		return false;
	for (; digit(*text) < base; text++)
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit(*text), &v))
			return false;
	shift = suffix_shift(*text);
	if (shift)
		text++;
	if (*text || v << shift >> shift != v)
		return false;
	*value = v << shift;
	return true;
}
