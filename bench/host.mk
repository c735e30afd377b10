# SPDX-License-Identifier: MIT
#
# Benchmarks in a process on this machine:
#
#	make bench-page		frames: ours beside buddy allocators, in one run

BENCH_HOST_CFLAGS := $(COMMON_CFLAGS) -pthread -I. -Iinclude -Iarch/host/include

page_bench_src := $(sort $(wildcard mm/*.c mm/*/*.c arch/host/*.c) \
		  $(filter-out lib/string.c,$(wildcard lib/*.c))) \
		  bench/host/page_bench.c bench/host/buddy.c
page_bench_obj := $(page_bench_src:%=$(O)/bench/%.o)

$(page_bench_obj): $(O)/bench/%.o: % Makefile bench/host.mk
	$(call say,HOSTCC,bench: $<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOST_GCC) $(BENCH_HOST_CFLAGS) -Werror -MMD -MP -c $< -o $@

$(O)/bench/page-bench: $(page_bench_obj)
	$(call say,HOSTLD,$@)
	$(Q)$(HOST_GCC) $(BENCH_HOST_CFLAGS) -o $@ $^

-include $(page_bench_obj:.o=.d)

.PHONY: bench-page
bench-page: $(O)/bench/page-bench ## frames on this machine, beside buddy allocators
	$(Q)$<
