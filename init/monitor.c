// SPDX-License-Identifier: MIT
/*
 * The monitor: a prompt on the serial console.
 *
 * One table holds the commands; each gets the rest of its line. The byte 0x04
 * (end of input) powers off, so that a script may feed the prompt and stop.
 */
#include <kernel/arch.h>
#include <kernel/cmdline.h>
#include <kernel/console.h>
#include <kernel/image.h>
#include <kernel/startup.h>
#include <kernel/task.h>
#include <kunit/run.h>
#include <spanheap/page.h>
#include <spanheap/scavenge.h>
#include <spanheap/state.h>
#include <spanheap/stats.h>
#include "lib/bits.h"
#include "lib/string.h"

#define LINE_SIZE 128
#define MAX_HELD 64

#define KEY_INTERRUPT 0x03
#define KEY_END 0x04
#define KEY_BACKSPACE 0x08
#define KEY_DELETE 0x7f

/* What `alloc` gave and `free` has not taken back. */
static struct {
	void *addr;
	size_t size;
} held[MAX_HELD];

static unsigned exit_code;

static void print_line(const char *line)
{
	console_printf("%s\n", line);
}

/* ---- Commands ---- */

static void cmd_help(char *rest);

static void cmd_mem(char *rest)
{
	(void)rest;
	mm_show(print_line);
	console_printf("kernel image: %llu KiB: text %lu, read-only data %lu, data %lu\n",
		       (unsigned long long)arch_image_size() >> 10,
		       (unsigned long)(__text_end - __text_start) >> 10,
		       (unsigned long)(__rodata_end - __rodata_start) >> 10,
		       (unsigned long)(__data_end - __data_start) >> 10);
}

static void cmd_map(char *rest)
{
	(void)rest;
	show_firmware_map();
}

static const char *state_text(enum mem_state s)
{
	static const char *const name[] = { "None", "Reserved", "Prepared", "Ready" };

	return name[s];
}

static int show_run(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	(void)arg;
	console_printf("  %014llx-%014llx  %s\n", (unsigned long long)base,
		       (unsigned long long)(base + size - 1), state_text(s));
	return 0;
}

static void cmd_states(char *rest)
{
	uint64_t addr;

	if (!*rest)
		mem_walk(show_run, NULL);
	else if (!parse_number(rest, &addr))
		console_printf("states takes a physical address, as 0x100000\n");
	else
		console_printf("%s\n", state_text(mem_state(addr)));
}

static void cmd_alloc(char *rest)
{
	uint64_t size;
	unsigned i;

	if (!parse_number(rest, &size) || !size) {
		console_printf("alloc takes a number of bytes, as 4096, 64K or 1M\n");
		return;
	}
	for (i = 0; i < MAX_HELD && held[i].addr; i++)
		;
	if (i == MAX_HELD) {
		console_printf("%u allocations are held: free one first\n", MAX_HELD);
		return;
	}
	held[i].addr = alloc_pages_exact(size, GFP_KERNEL);
	held[i].size = size;
	if (held[i].addr)
		console_printf("%p (physical 0x%llx)\n", held[i].addr,
			       (unsigned long long)virt_to_phys(held[i].addr));
	else
		console_printf("no memory\n");
}

static void cmd_free(char *rest)
{
	uint64_t addr;
	unsigned i = MAX_HELD;

	if (parse_number(rest, &addr))
		for (i = 0; i < MAX_HELD && (!addr || (uintptr_t)held[i].addr != addr); i++)
			;
	if (i == MAX_HELD) {
		console_printf("free takes an address that alloc gave\n");
		return;
	}
	free_pages_exact(held[i].addr, held[i].size);
	held[i].addr = NULL;
}

/* Write every frame of what alloc gave, so that the memory behind it exists. */
static void cmd_fill(char *rest)
{
	(void)rest;
	for (unsigned i = 0; i < MAX_HELD; i++)
		for (size_t at = 0; held[i].addr && at < held[i].size; at += FRAME_SIZE)
			((volatile char *)held[i].addr)[at] = 1;
}

static void cmd_scavenge(char *rest)
{
	uint64_t bytes = ~0ULL;

	if (*rest && !parse_number(rest, &bytes))
		console_printf("scavenge takes a number of bytes, as 64M\n");
	else
		console_printf("%llu KiB given back\n",
			       (unsigned long long)mm_scavenge(bytes) >> 10);
}

static void cmd_test(char *rest)
{
	struct kunit_options options = { .filter = rest };
	struct kunit_results results;

	/* Suites look closely at states and counts. */
	background_pause(true);
	if (!kunit_run(&options, &results) && !results.passed && !results.skipped)
		console_printf("no suite matches; try: test, test page*, test kunit.strings\n");
	background_pause(false);
}

static void cmd_cpus(char *rest)
{
	(void)rest;
	show_cpus();
}

static void cmd_reboot(char *rest)
{
	(void)rest;
	console_printf("reboot\n");
	machine_reboot();
}

static void cmd_poweroff(char *rest)
{
	(void)rest;
	console_printf("power off\n");
	machine_exit(exit_code);
}

static const struct command {
	const char *name, *args, *what;
	void (*run)(char *rest);
} commands[] = {
	{ "help", "", "this list", cmd_help },
	{ "mem", "", "what the memory manager holds, and the size of the image", cmd_mem },
	{ "map", "", "the firmware's memory map, entry by entry", cmd_map },
	{ "states", "[ADDR]", "states of all memory, or of one physical address", cmd_states },
	{ "alloc", "N", "allocate N bytes of frames (suffixes K, M, G)", cmd_alloc },
	{ "free", "ADDR", "free what alloc gave", cmd_free },
	{ "fill", "", "write every frame that alloc gave", cmd_fill },
	{ "scavenge", "[N]", "give free memory back, N bytes or all", cmd_scavenge },
	{ "test", "[GLOB]", "run the suites, or those that match", cmd_test },
	{ "cpus", "", "processors", cmd_cpus },
	{ "reboot", "", "start anew", cmd_reboot },
	{ "poweroff", "", "end; so does end of input", cmd_poweroff },
};

static void cmd_help(char *rest)
{
	(void)rest;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		console_printf("  %-9s%-7s %s\n", commands[i].name, commands[i].args,
			       commands[i].what);
}

/* ---- The prompt ---- */

/* A line with echo and backspace; the end of input gives "poweroff". */
static void read_line(char line[LINE_SIZE])
{
	size_t n = 0;

	for (;;) {
		int c = console_wait();

		if (c == '\r' || c == '\n')
			break;
		if (c == KEY_END) {
			memcpy(line, "poweroff", sizeof("poweroff"));
			console_putc('\n');
			return;
		}
		if (c == KEY_INTERRUPT) {
			n = 0;
			break;
		}
		if ((c == KEY_BACKSPACE || c == KEY_DELETE) && n) {
			n--;
			console_write("\b \b", 3);
		} else if (c >= ' ' && c < KEY_DELETE && n + 1 < LINE_SIZE) {
			line[n++] = (char)c;
			console_putc((char)c);
		}
	}
	line[n] = 0;
	console_putc('\n');
}

/* Cut the line after its first word. Return: the second word, cut likewise, or "". */
static char *split(char *line)
{
	char *rest = strchr(line, ' ');

	if (!rest)
		return line + strlen(line);
	while (*rest == ' ')
		*rest++ = 0;
	for (char *end = rest; *end; end++)
		if (*end == ' ')
			*end = 0;
	return rest;
}

static void run_line(char *line)
{
	char *rest;

	while (*line == ' ')
		line++;
	if (!*line)
		return;
	rest = split(line);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(line, commands[i].name)) {
			commands[i].run(rest);
			return;
		}
	}
	console_printf("%s: no such command; help lists them\n", line);
}

void monitor(bool healthy)
{
	char line[LINE_SIZE];

	exit_code = healthy ? EXIT_PASSED : EXIT_FAILED;
	console_printf("monitor: help lists the commands\n");
	for (;;) {
		console_printf("spanheap> ");
		read_line(line);
		run_line(line);
	}
}
