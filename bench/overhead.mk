# SPDX-License-Identifier: MIT
#
# Memory beside the objects, as lines overhead<TAB>case<TAB>unit<TAB>value:
#
#	make overhead	RAM per live object of each size class, at 1, 1,000 and
#			1,000,000; what idle CPUs keep, with 4 and with 64
#
# Each size in a process of its own, so that it finds nothing used before.

overhead_src := $(sort $(wildcard mm/*.c mm/*/*.c arch/host/*.c) \
		$(filter-out lib/string.c,$(wildcard lib/*.c)) bench/host/overhead.c)
overhead_obj := $(overhead_src:%=$(O)/host/release/%.o)

$(overhead_obj): $(O)/host/release/%.o: % Makefile bench/overhead.mk
	$(call say,HOSTCC,release: $<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOST_GCC) $(HOST_CFLAGS) -O2 -Werror -MMD -MP -c $< -o $@

$(O)/host/release/spanheap-overhead: $(overhead_obj)
	$(call say,HOSTLD,$@)
	$(Q)$(HOST_GCC) $(HOST_CFLAGS) -O2 -o $@ $^

-include $(overhead_obj:.o=.d)

.PHONY: overhead
overhead: $(O)/host/release/spanheap-overhead ## bytes of RAM per live object, and what idle caches keep
	@for size in `$< classes`; do $< object $$size || exit 1; done
	@for cpus in 4 64; do $< idle $$cpus || exit 1; done
