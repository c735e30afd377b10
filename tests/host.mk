# SPDX-License-Identifier: MIT
#
# The suites in a process on this machine, under sanitizers:
#
#	test-host		all of the below
#	test-host-asan		gcc, ASan and UBSan, the three back ends, tasks preempted
#	test-host-clang		clang, ASan and UBSan, the three back ends
#	test-host-flat		gcc, ASan and UBSan, FLAT_ARENAS=1
#	test-host-tsan		clang, TSan
#
# The slow cases, mostly random ones, run on the back end that enforces the states.
#
# The program is $(O)/host/<variant>/spanheap-test; `spanheap-test --help` shows
# how to describe a machine to it. FILTER= chooses suites.

comma := ,
HOST_GCC ?= gcc
HOST_CLANG ?= clang
HOST_CFLAGS := $(COMMON_CFLAGS) -O1 -pthread -I. -Iinclude -Iarch/host/include
HOST_ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_TSAN := -fsanitize=thread

host_src := $(sort $(wildcard mm/*.c mm/*/*.c arch/host/*.c tests/kunit/*.c tests/suites/*.c \
		tests/host/*.c) $(filter-out lib/string.c,$(wildcard lib/*.c)) \
		$(wildcard arch/x86_64/acpi.c))

host_run = $(O)/host/$(1)/spanheap-test --filter='$(FILTER)' $(2)

# $(1) name, $(2) compiler, $(3) flags
define host_variant
$(1)_obj := $$(host_src:%=$$(O)/host/$(1)/%.o)

$$($(1)_obj): $$(O)/host/$(1)/%.o: % Makefile tests/host.mk
	$$(call say,HOSTCC,$(1): $$<)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(2) $$(HOST_CFLAGS) $(3) -Werror -MMD -MP -c $$< -o $$@

$$(O)/host/$(1)/list: FORCE
	@mkdir -p $$(@D)
	@printf '%s\n' $$($(1)_obj) | cmp -s - $$@ || printf '%s\n' $$($(1)_obj) > $$@

$$(O)/host/$(1)/spanheap-test: $$($(1)_obj) $$(O)/host/$(1)/list
	$$(call say,HOSTLD,$$@)
	$$(Q)$(2) $$(HOST_CFLAGS) $(3) -o $$@ $$($(1)_obj)

-include $$($(1)_obj:.o=.d)
endef

$(eval $(call host_variant,asan,$(HOST_GCC),$(HOST_ASAN) -DCONFIG_PREEMPT=1))
$(eval $(call host_variant,clang,$(HOST_CLANG),$(HOST_ASAN)))
$(eval $(call host_variant,flat,$(HOST_GCC),$(HOST_ASAN) -DCONFIG_FLAT_ARENAS=1))
$(eval $(call host_variant,tsan,$(HOST_CLANG),$(HOST_TSAN) -DCONFIG_PREEMPT=1))

.PHONY: test-host test-host-asan test-host-clang test-host-flat test-host-tsan
test-host: test-host-asan test-host-clang test-host-flat test-host-tsan ## the suites in a process, under sanitizers

test-host-asan: $(O)/host/asan/spanheap-test
	$(call host_run,asan,--backend=enforced)
	$(call host_run,asan,--backend=preload --quick)
	$(call host_run,asan,--backend=flat --quick)

test-host-clang: $(O)/host/clang/spanheap-test
	$(call host_run,clang,--backend=enforced --ram=640K@0$(comma)255M@1M$(comma)256M@4G:1)
	$(call host_run,clang,--backend=preload --quick --ram=640K@0$(comma)255M@1M$(comma)256M@1T:1)
	$(call host_run,clang,--backend=flat --quick --ram=512M)

test-host-flat: $(O)/host/flat/spanheap-test
	$(call host_run,flat,--backend=enforced)

test-host-tsan: $(O)/host/tsan/spanheap-test
	$(call host_run,tsan,--backend=enforced)

DEPS += libclang-rt-dev
TEST_TARGETS += test-host-asan test-host-clang test-host-flat test-host-tsan
