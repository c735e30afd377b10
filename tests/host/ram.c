// SPDX-License-Identifier: MIT
/* The text of --ram. */
#include <stdlib.h>

#include "tests/host/host_test.h"

static uint64_t parse_bytes(const char **at)
{
	char *end;
	uint64_t n = strtoull(*at, &end, 0);

	if (end == *at)
		*at = "?";
	else
		*at = end;
	switch (**at) {
	case 'T':
		n <<= 10; /* fall through */
	case 'G':
		n <<= 10; /* fall through */
	case 'M':
		n <<= 10; /* fall through */
	case 'K':
		n <<= 10;
		++*at;
	}
	return n;
}

uint64_t host_ram_parse(const char *text, void (*fn)(phys_addr_t base, uint64_t size, int node))
{
	uint64_t next = 0, highest = 0;

	for (;; text++) {
		uint64_t size = parse_bytes(&text), base = next;
		int node = NUMA_NO_NODE;

		if (*text == '@') {
			text++;
			base = parse_bytes(&text);
		}
		if (*text == ':') {
			text++;
			node = (int)parse_bytes(&text);
		}
		next = base + size;
		if ((*text && *text != ',') || !size || next < base)
			return 0;
		if (next > highest)
			highest = next;
		if (fn)
			fn(base, size, node);
		if (!*text)
			return highest;
	}
}
