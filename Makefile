# SPDX-License-Identifier: MIT
#
# Builds and runs everything; `make help` lists the targets and the variables.
#
#	build/			the default kernel: gcc, cooperative, sparse arenas
#	build/<variant>/	each other combination of CC, LD, PREEMPT, FLAT_ARENAS
#	.../extra-<name>/	an image with the suites of EXTRA=<dir> linked in
#
# Sources are found by wildcards. The makefile fragments malloc/*.mk, tests/*.mk, bench/*.mk
# and tools/*.mk add targets, and names to ALL_TARGETS (built by `make`),
# TEST_TARGETS (run by `make test`) and DEPS (Debian packages).

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin LD),default)
LD := ld
endif
O ?= build
PREEMPT ?= 0
FLAT_ARENAS ?= 0
IRQ_TRACE ?= 0
EXTRA ?=

# Read by tests/run.py from the environment, so that no shell takes them apart.
export BOOT ?=
export SMP ?= 4
export MEM ?= 1G
export FILTER ?=
export TIMEOUT ?= 300
export ACCEL ?= tcg
export QEMU_ARGS ?=

PYTHON := python3 -B
RUN := $(PYTHON) tests/run.py
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

# ---- Variants ----

empty :=
space := $(empty) $(empty)
variant := $(filter-out gcc,$(notdir $(firstword $(CC)))) $(filter-out ld,$(notdir $(LD))) \
	   $(if $(filter-out 0,$(PREEMPT)),preempt) $(if $(filter-out 0,$(FLAT_ARENAS)),flat) \
	   $(if $(filter-out 0,$(IRQ_TRACE)),irqtrace)
variant := $(subst $(space),-,$(strip $(variant)))

# B: objects; I: images. Suites from outside change the images only.
B := $(O)$(addprefix /,$(variant))
I := $(B)
ifneq ($(EXTRA),)
extra_dir := $(patsubst %/,%,$(EXTRA))
extra_src := $(sort $(wildcard $(extra_dir)/*.c))
I := $(B)/extra-$(notdir $(extra_dir))-$(firstword $(shell printf %s '$(abspath $(EXTRA))' | cksum))
ifeq ($(wildcard $(extra_dir)/.),)
$(error EXTRA=$(EXTRA): no such folder)
endif
endif
extra_obj := $(patsubst $(extra_dir)/%,$(I)/%.o,$(extra_src))

# ---- Flags ----

# What the C code of the whole project is compiled with, on the host as well.
COMMON_CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Wno-missing-field-initializers -fno-strict-aliasing -fno-omit-frame-pointer \
		 -ffile-prefix-map=$(CURDIR)=.
CONFIG := $(if $(filter-out 0,$(PREEMPT)),-DCONFIG_PREEMPT=1) \
	  $(if $(filter-out 0,$(FLAT_ARENAS)),-DCONFIG_FLAT_ARENAS=1) \
	  $(if $(filter-out 0,$(IRQ_TRACE)),-DCONFIG_IRQ_TRACE=1)
KERNEL_CFLAGS := $(COMMON_CFLAGS) -ffreestanding -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
		 -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
		 -fno-asynchronous-unwind-tables -fno-builtin-printf \
		 $(CONFIG) -I. -Iinclude -Iarch/x86_64/include
KERNEL_LDFLAGS := -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none

kernel_src := $(sort $(wildcard mm/*.c mm/*/*.c lib/*.c arch/x86_64/*.c arch/x86_64/*.S \
		boot/pvh/*.c boot/pvh/*.S init/*.c \
		tests/kunit/*.c tests/suites/*.c tests/kernel/*.c bench/kernel/*.c))
kernel_obj := $(kernel_src:%=$(B)/%.o)
# In one piece, so that their code lies together: linker.ld.
core_obj := $(filter $(B)/mm/% $(B)/lib/% $(B)/arch/%,$(kernel_obj))
image_obj := $(B)/core.o $(filter-out $(core_obj),$(kernel_obj)) $(extra_obj)

efi_obj := $(patsubst %,$(B)/%.o,$(sort $(wildcard boot/efi/*.c)))
EFI_CFLAGS := $(COMMON_CFLAGS) -ffreestanding -fpic -fshort-wchar -fno-stack-protector \
	      -fcf-protection=none -mno-red-zone -DGNU_EFI_USE_MS_ABI \
	      -I. -Iinclude -isystem /usr/include/efi -isystem /usr/include/efi/x86_64
ifeq ($(findstring clang,$(CC)),)
EFI_CFLAGS += -fno-stack-check -maccumulate-outgoing-args
else
# Its assembler does not know -ffile-prefix-map. gcc makes no frame where a leaf needs none.
KERNEL_CFLAGS += -momit-leaf-frame-pointer -fdebug-compilation-dir=. -Wno-unused-command-line-argument
endif

ALL_TARGETS :=
TEST_TARGETS :=
DEPS := make gcc binutils libc6-dev clang lld python3 qemu-system-x86 ovmf gnu-efi mtools

# ---- What people type ----

# Packages first, then what needs them.
ifneq ($(filter deps,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif

.PHONY: all deps run selftest test test-shapes kbench clean help FORCE

all: $(I)/kernel.elf $(B)/BOOTX64.EFI $(I)/esp.img ## kernel image, UEFI application, ESP image, malloc library

deps: ## install the Debian packages that are missing
	$(Q)missing=; \
	for p in $(DEPS); do \
		dpkg -s $$p 2>/dev/null | grep -q '^Status: .* installed$$' || missing="$$missing $$p"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update && \
	$$sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends $$missing

run: $(I)/kernel.elf $(I)/esp.img ## boot in QEMU (UEFI): memory map, self-check, monitor prompt
	$(Q)$(RUN) run --kernel $(I)/kernel.elf --esp $(I)/esp.img

selftest: $(I)/kernel.elf $(I)/esp.img ## boot once and run the in-kernel suites; prints KTAP
	$(Q)$(RUN) selftest --kernel $(I)/kernel.elf --esp $(I)/esp.img

test: ## everything: host tests, kernel suites on a matrix of machines, both boot paths
	$(Q)$(PYTHON) tests/matrix.py --build $(O) $(TEST_TARGETS:%=--target %) $(if $(ONLY),--only '$(ONLY)')

test-shapes: ## the kernel suites on every boot path, CPUs, preemption and memory size (60 boots)
	$(Q)$(PYTHON) tests/matrix.py --build $(O) --shapes $(if $(ONLY),--only '$(ONLY)')

kbench: $(I)/kernel.elf ## instructions per operation in the kernel, exact under -icount
	$(Q)$(MAKE) --no-print-directory IRQ_TRACE=1 image
	$(Q)$(RUN) kbench --kernel $(I)/kernel.elf \
		--irqtrace $(patsubst $(B)%,$(B)$(if $(variant),-,/)irqtrace%,$(I))/kernel.elf

.PHONY: image
image: $(I)/kernel.elf

clean: ## remove the build folder
	rm -rf $(O)

help: ## this list
	@echo 'Targets:'
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(filter Makefile %.mk,$(MAKEFILE_LIST)) | expand -t 18
	@echo 'Variables:'
	@echo '  BOOT=uefi|pvh     boot path (run: uefi, selftest: pvh)'
	@echo '  SMP=N  MEM=SIZE   processors (4) and memory (1G; up to 1T costs nothing)'
	@echo '  FILTER=GLOBS      suites, or suite.case; several separated by commas'
	@echo '  EXTRA=DIR         compile and run the suites of that folder as well'
	@echo '  ONLY=REGEX        test: only the steps whose name matches'
	@echo '  PREEMPT=1         tasks are preempted by the timer'
	@echo '  FLAT_ARENAS=1     one flat arena table, for machines up to 4 GiB'
	@echo '  TIMEOUT=SECONDS   limit for a boot (300)'
	@echo '  ACCEL=tcg|kvm     QEMU accelerator (tcg)'
	@echo '  QEMU_ARGS=...     further arguments for QEMU'
	@echo '  CC=clang LD=ld.lld   the other compiler'
	@echo '  O=DIR             build folder (build);  V=1 shows the commands'

-include $(sort $(wildcard malloc/*.mk tests/*.mk bench/*.mk tools/*.mk))

all: $(ALL_TARGETS)

# ---- Kernel image ----

$(B)/%.c.o: %.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CFLAGS) -Werror -MMD -MP -c $< -o $@

$(B)/%.S.o: %.S Makefile
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CFLAGS) -D__ASSEMBLY__ -MMD -MP -c $< -o $@

# Suites of others may have warnings.
$(extra_obj): $(I)/%.o: $(extra_dir)/% Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CFLAGS) -MMD -MP -c $< -o $@

# Changes when a source comes or goes, so that the image is linked again.
$(I)/kernel.list: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(image_obj) $(core_obj) | cmp -s - $@ || \
		printf '%s\n' $(image_obj) $(core_obj) > $@

$(B)/core.o: $(core_obj) $(I)/kernel.list
	$(call say,LD,$@)
	$(Q)$(LD) -r -o $@ $(core_obj)

$(I)/kernel.elf: $(image_obj) linker.ld Makefile
	$(call say,LD,$@)
	$(Q)$(LD) $(KERNEL_LDFLAGS) -T linker.ld -o $@ $(image_obj)

# ---- UEFI application and its file system ----

$(efi_obj): $(B)/%.c.o: %.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(EFI_CFLAGS) -Werror -MMD -MP -c $< -o $@

# GNU ld whatever LD says: gnu-efi's linker script is written for it.
$(B)/boot/efi/loader.so: $(efi_obj)
	$(call say,LD,$@)
	$(Q)ld -nostdlib -znocombreloc -z noexecstack -shared -Bsymbolic --build-id=none \
		-T /usr/lib/elf_x86_64_efi.lds /usr/lib/crt0-efi-x86_64.o $(efi_obj) \
		-L/usr/lib -lefi -lgnuefi -o $@
	$(Q)if nm -u $@ | grep .; then echo '$@: undefined symbols' >&2; exit 1; fi

$(B)/BOOTX64.EFI: $(B)/boot/efi/loader.so
	$(call say,EFI,$@)
	$(Q)SOURCE_DATE_EPOCH=0 objcopy $(foreach s,.text .sdata .data .rodata .dynamic .dynsym .rel \
		.rela '.rel.*' '.rela.*' .reloc,-j $(s)) \
		--target=efi-app-x86_64 --subsystem=10 $< $@

$(I)/esp.img: $(B)/BOOTX64.EFI $(I)/kernel.elf boot/efi/mkesp.sh
	$(call say,ESP,$@)
	$(Q)sh boot/efi/mkesp.sh $@ $(B)/BOOTX64.EFI $(I)/kernel.elf

-include $(kernel_obj:.o=.d) $(extra_obj:.o=.d) $(efi_obj:.o=.d)
