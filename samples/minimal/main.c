// SPDX-License-Identifier: MIT
/*
 * The smallest use of Spanheap: a page heap and kmalloc() on a static array.
 *
 *	cc -I<dist> main.c <dist>/spanheap.c
 *
 * The port is the one that comes with the one-file version (one CPU, no MMU,
 * nothing that interrupts), so that all there is to supply is port_panic(), and
 * port_log() if somebody is to read what mm_show() or mm_validate() say. The C
 * library is here to print; on a machine without one, print() is what changes.
 *
 * The array may be small, and lie anywhere: 192 KiB are enough for an object and a
 * frame, of which 128 are for metadata.
 */
#include <stdio.h>
#include <stdlib.h>

#include "spanheap.h"

#define NOBJECTS 20000
#define NFRAMES 256

static unsigned char ram[16 << 20];

struct note {
	unsigned number;
	char text[];
};

static struct note *note[NOBJECTS];
static void *frame[NFRAMES];

static void print(const char *line)
{
	puts(line);
}

void port_log(const char *line)
{
	print(line);
}

void port_panic(const char *why)
{
	print(why);
	exit(1);
}

static void expect(bool good, const char *what)
{
	if (!good)
		port_panic(what);
}

static void start(void)
{
	expect(!memblock_add(virt_to_phys(ram), sizeof(ram), NUMA_NO_NODE), "no RAM");
	expect(!mm_init(), "no memory manager");
	expect(!mm_init_cpu(), "no caches");
}

static size_t size_of(unsigned i)
{
	return sizeof(struct note) + 1 + i % 500;
}

/* Objects of many sizes, each filled, so that one in another's place is seen. */
static void use_objects(void)
{
	for (unsigned i = 0; i < NOBJECTS; i++) {
		size_t ntext = size_of(i) - sizeof(struct note);

		note[i] = kmalloc(size_of(i), GFP_KERNEL);
		expect(note[i], "kmalloc() gave nothing");
		expect(ksize(note[i]) >= size_of(i), "an object is too small");
		note[i]->number = i;
		for (size_t c = 0; c < ntext; c++)
			note[i]->text[c] = (char)i;
	}
	for (unsigned i = 0; i < NOBJECTS; i++) {
		size_t ntext = size_of(i) - sizeof(struct note);

		expect(note[i]->number == i, "a note has another's number");
		for (size_t c = 0; c < ntext; c++)
			expect(note[i]->text[c] == (char)i, "a note has another's text");
	}
}

static void use_frames(void)
{
	for (unsigned i = 0; i < NFRAMES; i++) {
		frame[i] = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL | __GFP_ZERO);
		expect(frame[i], "no frame");
		expect(virt_to_phys(frame[i]) % FRAME_SIZE == 0, "a frame is askew");
	}
}

static void free_all(void)
{
	for (unsigned i = 0; i < NOBJECTS; i++)
		kfree(note[i]);
	for (unsigned i = 0; i < NFRAMES; i++)
		free_pages_exact(frame[i], FRAME_SIZE);
}

/* A wrong free changes nothing, and whoever wants to know is told. */
static void on_misuse(const struct mm_misuse_report *report)
{
	print(mm_misuse_name(report->kind));
}

int main(void)
{
	struct mm_stats s;

	start();
	use_objects();
	use_frames();
	mm_show(print);
	free_all();

	mm_set_misuse_handler(on_misuse);
	kfree(note[7]);
	expect(mm_misuse_count(MM_DOUBLE_FREE) == 1, "a double free went unseen");

	mm_drain();
	mm_stats(&s);
	expect(!s.objects_live && !s.frames_used, "something was not given back");
	expect(!mm_validate(), "an invariant is broken");
	print("ok");
	return 0;
}
