// SPDX-License-Identifier: MIT
/*
 * BOOTX64.EFI: takes the kernel from the volume it was started from to its entry
 * point.
 *
 *	\kernel.elf    the kernel; checked before anything of it is used
 *	\cmdline.txt   its command line; may be missing
 *
 *	read and check the file -> place it below 4 GiB, on a large page
 *	-> RSDP, a page to start other CPUs from
 *	-> memory map, leave boot services -> page tables on, jump
 *
 * The kernel gets a struct boot_info. The loader's block (that structure, the
 * stack and the page tables) and the image are BOOT_MEM_LOADER in its map, all
 * else that belonged to boot services is usable. Whatever fails says so on the
 * console and ends a virtual machine with status LOADER_FAILED.
 */
#include <stdbool.h>

#include <efi.h>
#include <efilib.h>

#include <kernel/boot_info.h>
#include "boot/efi/image.h"

#define BELOW_4G 0xffffffffULL
#define CR4_LA57 (1ULL << 12)
#define BELOW_640K 0x9ffffULL
#define STACK_PAGES 4
#define EXIT_TRIES 8
#define MAP_SLACK 16 /* descriptors that may appear between two looks */

#define DEBUG_EXIT_PORT 0xf4
#define LOADER_FAILED 0x7f

/* Memory that must outlive the loader: boot_info, stack, page tables, in this order. */
struct block {
	uint64_t base, npages;
	struct boot_info *info;
	uint64_t stack_top;
	void *tables;
};

struct memory_map {
	void *buffer;
	UINTN room, size, step, key;
	UINT32 version;
};

static void debug_exit(uint32_t code)
{
	__asm__ volatile("outl %0, %w1" : : "a"(code), "Nd"(DEBUG_EXIT_PORT));
}

static EFI_STATUS fail(const char *what, const char *why)
{
	Print(L"\r\nspanheap loader: %a: %a\r\n", what, why);
	debug_exit(LOADER_FAILED);
	return EFI_LOAD_ERROR;
}

/* ---- Files ---- */

static EFI_FILE_HANDLE open_volume(EFI_HANDLE self)
{
	EFI_LOADED_IMAGE *us;
	EFI_FILE_IO_INTERFACE *fs;
	EFI_FILE_HANDLE root;

	if (EFI_ERROR(BS->HandleProtocol(self, &LoadedImageProtocol, (void **)&us)) ||
	    EFI_ERROR(BS->HandleProtocol(us->DeviceHandle, &FileSystemProtocol, (void **)&fs)) ||
	    EFI_ERROR(fs->OpenVolume(fs, &root)))
		return NULL;
	return root;
}

/* The whole of a file in pool memory, and a zero behind it; NULL if it cannot be read. */
static char *read_file(EFI_FILE_HANDLE root, CHAR16 *name, UINTN *size)
{
	EFI_FILE_HANDLE file;
	EFI_FILE_INFO *info;
	char *data = NULL;

	if (EFI_ERROR(root->Open(root, &file, name, EFI_FILE_MODE_READ, 0)))
		return NULL;
	info = LibFileInfo(file);
	if (info) {
		*size = info->FileSize;
		data = AllocatePool(*size + 1);
		FreePool(info);
	}
	if (data && EFI_ERROR(file->Read(file, size, data))) {
		FreePool(data);
		data = NULL;
	}
	if (data)
		data[*size] = 0;
	file->Close(file);
	return data;
}

static void read_cmdline(EFI_FILE_HANDLE root, struct boot_info *bi)
{
	UINTN size, n = 0;
	char *text = read_file(root, L"\\cmdline.txt", &size);

	if (!text)
		return;
	for (; n < size && n < BOOT_CMDLINE_MAX - 1 && text[n] >= ' '; n++)
		bi->cmdline[n] = text[n];
	FreePool(text);
}

/* ---- What the firmware knows ---- */

static uint64_t alloc_below(uint64_t limit, uint64_t npages)
{
	EFI_PHYSICAL_ADDRESS at = limit;

	if (EFI_ERROR(BS->AllocatePages(AllocateMaxAddress, EfiLoaderData, npages, &at)))
		return 0;
	return at;
}

static uint64_t find_rsdp(void)
{
	EFI_GUID acpi2 = ACPI_20_TABLE_GUID, acpi1 = ACPI_TABLE_GUID;
	void *rsdp = NULL;

	if (EFI_ERROR(LibGetSystemConfigurationTable(&acpi2, &rsdp)))
		LibGetSystemConfigurationTable(&acpi1, &rsdp);
	return (uintptr_t)rsdp;
}

/* Room for the map as it is now, and for what allocating the room may add. */
static bool prepare_map(struct memory_map *map)
{
	map->size = 0;
	BS->GetMemoryMap(&map->size, NULL, &map->key, &map->step, &map->version);
	map->room = map->size + MAP_SLACK * map->step;
	map->buffer = AllocatePool(map->room);
	return map->buffer != NULL;
}

/*
 * Any call to the firmware may change the map, and ExitBootServices() takes only
 * the key of the latest: so these two follow each other, until it works.
 */
static bool leave_boot_services(EFI_HANDLE self, struct memory_map *map)
{
	for (int i = 0; i < EXIT_TRIES; i++) {
		map->size = map->room;
		if (EFI_ERROR(BS->GetMemoryMap(&map->size, map->buffer, &map->key, &map->step,
					       &map->version)))
			return false;
		if (!EFI_ERROR(BS->ExitBootServices(self, map->key)))
			return true;
	}
	return false;
}

/* ---- From the firmware's map to ours ---- */

static enum boot_mem_type type_of(uint32_t firmware_type)
{
	switch (firmware_type) {
	case EfiLoaderCode:
	case EfiLoaderData:
	case EfiBootServicesCode:
	case EfiBootServicesData:
	case EfiConventionalMemory:
		return BOOT_MEM_USABLE;
	case EfiRuntimeServicesCode:
	case EfiRuntimeServicesData:
		return BOOT_MEM_RUNTIME;
	case EfiUnusableMemory:
		return BOOT_MEM_BAD;
	case EfiACPIReclaimMemory:
		return BOOT_MEM_ACPI;
	case EfiACPIMemoryNVS:
		return BOOT_MEM_NVS;
	case EfiMemoryMappedIO:
	case EfiMemoryMappedIOPortSpace:
		return BOOT_MEM_MMIO;
	case 14: /* EfiPersistentMemory; older headers lack it */
		return BOOT_MEM_PERSISTENT;
	default:
		return BOOT_MEM_RESERVED;
	}
}

/* A map that is too long loses its last ranges: less RAM, but none that is not ours. */
static void add_range(struct boot_info *bi, uint64_t base, uint64_t end, enum boot_mem_type type,
		      uint32_t firmware_type)
{
	if (base < end && bi->nranges < BOOT_MAX_RANGES)
		bi->range[bi->nranges++] = (struct boot_range){ base, end - base, type,
								firmware_type };
}

/* Add a range of the firmware, cut where one of @keep, ascending and disjoint, lies in it. */
static void add_cut(struct boot_info *bi, const EFI_MEMORY_DESCRIPTOR *d,
		    const struct boot_range *keep, unsigned nkeep)
{
	uint64_t at = d->PhysicalStart, end = at + d->NumberOfPages * PAGE_SIZE;

	for (unsigned i = 0; i < nkeep; i++) {
		uint64_t lo = keep[i].base > at ? keep[i].base : at;
		uint64_t hi = keep[i].base + keep[i].size < end ? keep[i].base + keep[i].size : end;

		if (lo >= hi)
			continue;
		add_range(bi, at, lo, type_of(d->Type), d->Type);
		add_range(bi, lo, hi, BOOT_MEM_LOADER, d->Type);
		at = hi;
	}
	add_range(bi, at, end, type_of(d->Type), d->Type);
}

static void fill_map(struct boot_info *bi, const struct memory_map *map, const struct block *block,
		     uint64_t load_at)
{
	struct boot_range keep[2] = {
		{ .base = load_at, .size = bi->kernel_size },
		{ .base = block->base, .size = block->npages * PAGE_SIZE },
	};

	if (keep[0].base > keep[1].base) {
		struct boot_range swap = keep[0];

		keep[0] = keep[1];
		keep[1] = swap;
	}
	/* The firmware's step may be more than the structure we know. */
	for (UINTN at = 0; at + map->step <= map->size; at += map->step)
		add_cut(bi, (const void *)((const char *)map->buffer + at), keep, 2);
}

/* ---- The way over ---- */

static bool alloc_block(struct block *block, const struct image *image)
{
	uint64_t info_pages = (sizeof(struct boot_info) + PAGE_SIZE - 1) / PAGE_SIZE;

	block->npages = info_pages + STACK_PAGES + image_tables(image);
	block->base = alloc_below(BELOW_4G, block->npages);
	if (!block->base)
		return false;
	block->info = (void *)(uintptr_t)block->base;
	block->stack_top = block->base + (info_pages + STACK_PAGES) * PAGE_SIZE;
	block->tables = (void *)(uintptr_t)block->stack_top;
	ZeroMem(block->info, sizeof(*block->info));
	return true;
}

/* A large page's alignment, out of an allocation that is one large page too long. */
static uint64_t alloc_image(const struct image *image)
{
	uint64_t at = alloc_below(BELOW_4G, (image->size + LARGE_PAGE_SIZE) / PAGE_SIZE);

	return at ? (at + LARGE_PAGE_SIZE - 1) & ~(LARGE_PAGE_SIZE - 1) : 0;
}

/* No-execute, write-protect also for the kernel, global pages; then the kernel. */
static __attribute__((noreturn)) void enter(uint64_t root, uint64_t stack, uint64_t entry,
					    const struct boot_info *bi)
{
	__asm__ volatile("cli\n\t"
			 "movl $0xc0000080, %%ecx\n\t"
			 "rdmsr\n\t"
			 "btsl $11, %%eax\n\t"
			 "wrmsr\n\t"
			 "movq %%cr4, %%rax\n\t"
			 "btsq $7, %%rax\n\t"
			 "movq %%rax, %%cr4\n\t"
			 "movq %0, %%cr3\n\t"
			 "movq %%cr0, %%rax\n\t"
			 "btsq $16, %%rax\n\t"
			 "movq %%rax, %%cr0\n\t"
			 "movq %1, %%rsp\n\t"
			 "xorl %%ebp, %%ebp\n\t"
			 "pushq %%rbp\n\t"
			 "jmp *%2"
			 :
			 : "r"(root), "r"(stack), "r"(entry), "D"(bi)
			 : "rax", "rcx", "rdx", "memory");
	__builtin_unreachable();
}

/* Why the way over would end in a fault that nobody could tell of; NULL if it does not. */
static const char *cannot_enter(void)
{
	uint64_t cr4;

	__asm__("movq %%cr4, %0" : "=r"(cr4));
	if (cr4 & CR4_LA57)
		return "the firmware uses five levels of page tables";
	if ((uintptr_t)&enter > BELOW_4G)
		return "the firmware put the loader above 4 GiB";
	return NULL;
}

EFI_STATUS efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
	struct image image;
	struct block block;
	struct memory_map map;
	EFI_FILE_HANDLE root;
	const char *wrong;
	uint64_t load_at;
	UINTN size;
	char *file;

	InitializeLib(self, system);
	BS->SetWatchdogTimer(0, 0, 0, NULL);

	wrong = cannot_enter();
	if (wrong)
		return fail("machine", wrong);
	root = open_volume(self);
	if (!root)
		return fail("boot volume", "cannot be opened");
	file = read_file(root, L"\\kernel.elf", &size);
	if (!file)
		return fail("kernel.elf", "cannot be read from the boot volume");
	wrong = image_check(&image, file, size);
	if (wrong)
		return fail("kernel.elf", wrong);

	load_at = alloc_image(&image);
	if (!load_at || load_at < image.first - KERNEL_VMA || !alloc_block(&block, &image))
		return fail("memory", "not enough below 4 GiB");
	image_load(&image, (void *)(uintptr_t)load_at);

	block.info->magic = BOOT_INFO_MAGIC;
	block.info->path = BOOT_UEFI;
	block.info->kernel_phys = load_at - (image.first - KERNEL_VMA);
	block.info->kernel_size = image.size;
	block.info->rsdp = find_rsdp();
	block.info->trampoline = alloc_below(BELOW_640K, 1);
	read_cmdline(root, block.info);
	if (!prepare_map(&map))
		return fail("memory", "no room for the memory map");

	/* From here on the firmware's console is not to be used. */
	if (!leave_boot_services(self, &map)) {
		debug_exit(LOADER_FAILED);
		return EFI_LOAD_ERROR;
	}
	fill_map(block.info, &map, &block, load_at);
	enter(image_map(&image, load_at, block.tables), block.stack_top, image.entry, block.info);
}
