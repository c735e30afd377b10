# SPDX-License-Identifier: MIT
#
# Linux as a peer: Debian's own kernel in the same QEMU, counted the same way.
#
#	make deps-linux		installs what the two others need from Debian
#	make kbench-linux	lines like those of `make kbench`, with linux/ in them
#	make kbench-compare	both, side by side
#
# The kernel and the rest of its user space (busybox) are unpacked into the
# build directory, never installed. The module is GPL-2.0 and linked into
# nothing else.

LINUX_DEPS := make gcc-12 libelf1 libssl3 python3 qemu-system-x86
LINUX := $(O)/linux
LINUX_TIMEOUT ?= 300

# Security measures and zeroing are off: neither is measured, and Debian's
# default of zeroing every allocation would swamp the rest.
LINUX_CMDLINE := console=ttyS0 quiet loglevel=2 printk.time=0 mitigations=off nokaslr \
		 tsc=reliable clocksource=tsc init_on_alloc=0 init_on_free=0 panic=-1

# With a fixed seed and a clock of its own every run is the same to the instruction.
# One CPU: under -icount Linux never gets through bringing up a second one, so the
# cases that need two (kmalloc_remote_*) have no figure of Linux's.
LINUX_QEMU := qemu-system-x86_64 -accel tcg -icount shift=0,sleep=off -seed 1 \
	      -rtc base=2026-01-01,clock=vm -cpu qemu64 -m 2G -smp 1 -nodefaults -no-user-config \
	      -display none -serial stdio -no-reboot

.PHONY: deps-linux kbench-linux kbench-compare

deps-linux: ## install what kbench-linux needs, and see what Debian's current kernel is
	$(Q)sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update && \
	$$sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends $(LINUX_DEPS)

kbench-linux: $(LINUX)/kbench.txt ## the cases of kbench on Debian's kernel, same QEMU, same count
	@cat $<

kbench-compare: $(LINUX)/kbench.txt ## kbench beside kbench-linux, with ratios
	$(Q)$(MAKE) --no-print-directory kbench > $(LINUX)/kbench-ours.txt
	@$(PYTHON) bench/compare.py $(LINUX)/kbench-ours.txt $< --version $(LINUX)/version

$(LINUX)/version: bench/linux/fetch.sh
	$(call say,FETCH,$(LINUX)/tree)
	$(Q)sh bench/linux/fetch.sh $(LINUX)

# kbuild writes beside the sources, so it gets copies; our flags are not for it.
$(LINUX)/module/kbench.ko: bench/linux/kbench.c bench/linux/Kbuild bench/shuffle.h $(LINUX)/version
	$(call say,KBUILD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)cp bench/linux/kbench.c bench/linux/Kbuild bench/shuffle.h $(@D)
	$(Q)env -u MAKEFLAGS -u MAKEOVERRIDES $(MAKE) -s -C $(LINUX)/headers \
		M=$(abspath $(@D)) modules 2> $(@D)/stderr || { cat $(@D)/stderr >&2; exit 1; }

# No dates, owners or paths: where the guest's memory lies would depend on them.
$(LINUX)/initramfs: bench/linux/init $(LINUX)/module/kbench.ko bench/linux.mk
	$(call say,CPIO,$@)
	$(Q)rm -rf $(LINUX)/files
	$(Q)mkdir -p $(LINUX)/files/bin $(LINUX)/files/dev
	$(Q)cp bench/linux/init $(LINUX)/files
	$(Q)strip --strip-debug -R .note.gnu.build-id -o $(LINUX)/files/kbench.ko $(LINUX)/module/kbench.ko
	$(Q)cp $(LINUX)/tree/bin/busybox $(LINUX)/files/bin
	$(Q)chmod 755 $(LINUX)/files/init
	$(Q)find $(LINUX)/files -exec touch -d @0 {} +
	$(Q)cd $(LINUX)/files && find . | LC_ALL=C sort | \
		../tree/bin/cpio --quiet --reproducible -R 0:0 -o -H newc > ../initramfs

# QEMU ends with status 0 whatever became of the guest: the last line tells.
$(LINUX)/kbench.txt: $(LINUX)/initramfs bench/linux.mk
	$(call say,QEMU,$@)
	$(Q)timeout -k 1 $(LINUX_TIMEOUT) $(LINUX_QEMU) -kernel $(LINUX)/vmlinuz \
		-initrd $(LINUX)/initramfs -append "$(LINUX_CMDLINE)" \
		< /dev/null | tr -d '\r' > $(LINUX)/serial.log
	$(Q)grep -q '^kbench-linux: .* done$$' $(LINUX)/serial.log || { cat $(LINUX)/serial.log >&2; \
		echo 'kbench-linux: the benchmark did not finish' >&2; exit 1; }
	$(Q)grep '^kbench	' $(LINUX)/serial.log > $@
