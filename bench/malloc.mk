# SPDX-License-Identifier: MIT
#
# Our malloc (build/libspanheap.so) beside the allocators of this machine:
#
#	bench			every case, interleaved; FILTER=globs, ROUNDS=5
#	bench INSN=1		instructions by callgrind as well (slow)
#
# Peers that are not installed are left out and named: `make deps` installs them.

ROUNDS ?= 5
INSN ?= 0
MB := $(O)/malloc-bench
# The compiler must not know what malloc() is, or it takes pairs away.
MB_CFLAGS := $(COMMON_CFLAGS) -Werror -fno-builtin -pthread -I.
mb_src := $(filter-out bench/malloc/measure.c,$(sort $(wildcard bench/malloc/*.c)))
mb_obj := $(mb_src:%=$(MB)/%.o)

.PHONY: bench
bench: $(MB)/malloc-bench $(MB)/measure $(O)/libspanheap.so ## our malloc beside others: time, memory; INSN=1 instructions
	$(Q)$(PYTHON) bench/malloc/bench.py --build $(MB) --ours $(O)/libspanheap.so \
		--filter '$(FILTER)' --rounds $(ROUNDS) $(if $(filter-out 0,$(INSN)),--insn)

$(mb_obj): $(MB)/%.o: % Makefile bench/malloc.mk
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)gcc $(MB_CFLAGS) -MMD -MP -c $< -o $@

$(MB)/malloc-bench: $(mb_obj)
	$(call say,HOSTLD,$@)
	$(Q)gcc -pthread -o $@ $^

$(MB)/measure: bench/malloc/measure.c Makefile bench/malloc.mk
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)gcc $(COMMON_CFLAGS) -Werror -o $@ $<

-include $(mb_obj:.o=.d)

DEPS += libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 valgrind sqlite3 perl git xz-utils \
	redis-server redis-tools stress-ng
