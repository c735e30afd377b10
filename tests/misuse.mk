# SPDX-License-Identifier: MIT
#
#	misuse		one program per class of misuse, each with its exact report
#
# The programs run in a process, on the back end that enforces the states; the class
# that needs the kernel's stacks in a boot.

MISUSE_CFLAGS := $(COMMON_CFLAGS) -pthread -Werror -fno-builtin -I. -Iinclude -Iarch/host/include
misuse_src := $(sort $(wildcard mm/*.c mm/*/*.c arch/host/*.c tests/misuse/*.c) \
		$(filter-out lib/string.c,$(wildcard lib/*.c)) tests/host/task.c)
misuse_obj := $(misuse_src:%=$(O)/misuse/%.o)

$(misuse_obj): $(O)/misuse/%.o: % Makefile tests/misuse.mk
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOST_GCC) $(MISUSE_CFLAGS) -MMD -MP -c $< -o $@

$(O)/misuse/spanheap-misuse: $(misuse_obj)
	$(call say,HOSTLD,$@)
	$(Q)$(HOST_GCC) -pthread -o $@ $(misuse_obj)

-include $(misuse_obj:.o=.d)

.PHONY: misuse
misuse: $(O)/misuse/spanheap-misuse $(I)/kernel.elf ## one program per class of misuse
	$(Q)$(PYTHON) tests/misuse/run.py $(O)/misuse/spanheap-misuse $(I)/kernel.elf

TEST_TARGETS += misuse
