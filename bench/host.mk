# SPDX-License-Identifier: MIT
#
# Benchmarks in a process on this machine:
#
#	make bench-page		frames: ours beside buddy allocators, in one run
#	make overhead		memory beside the objects: RAM per live object of each
#				size class, at 1, 1,000 and 1,000,000; what idle CPUs
#				keep, with 4 and with 64. Lines
#				overhead<TAB>case<TAB>unit<TAB>value
#
# `overhead` runs each size in a process of its own, so that it finds nothing used.

BENCH_HOST_CFLAGS := $(COMMON_CFLAGS) -pthread -I. -Iinclude -Iarch/host/include

bench_host_src := $(sort $(wildcard mm/*.c mm/*/*.c arch/host/*.c) \
		  $(filter-out lib/string.c,$(wildcard lib/*.c)))
page_bench_src := bench/host/page_bench.c bench/host/buddy.c
overhead_src := bench/host/overhead.c
bench_host_obj := $(bench_host_src:%=$(O)/bench/%.o)
page_bench_obj := $(page_bench_src:%=$(O)/bench/%.o)
overhead_obj := $(overhead_src:%=$(O)/bench/%.o)

$(bench_host_obj) $(page_bench_obj) $(overhead_obj): $(O)/bench/%.o: % Makefile bench/host.mk
	$(call say,HOSTCC,bench: $<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOST_GCC) $(BENCH_HOST_CFLAGS) -Werror -MMD -MP -c $< -o $@

$(O)/bench/page-bench: $(bench_host_obj) $(page_bench_obj)
$(O)/bench/overhead: $(bench_host_obj) $(overhead_obj)
$(O)/bench/page-bench $(O)/bench/overhead:
	$(call say,HOSTLD,$@)
	$(Q)$(HOST_GCC) $(BENCH_HOST_CFLAGS) -o $@ $^

-include $(bench_host_obj:.o=.d) $(page_bench_obj:.o=.d) $(overhead_obj:.o=.d)

.PHONY: bench-page overhead
bench-page: $(O)/bench/page-bench ## frames on this machine, beside buddy allocators
	$(Q)$<

overhead: $(O)/bench/overhead ## bytes of RAM per live object, and what idle caches keep
	@for size in `$< classes`; do $< object $$size || exit 1; done
	@for cpus in 4 64; do $< idle $$cpus || exit 1; done
