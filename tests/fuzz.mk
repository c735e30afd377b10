# SPDX-License-Identifier: MIT
#
# Fuzzers (libFuzzer, under ASan and UBSan):
#
#	fuzz		each for FUZZ_TIME seconds, going on from the inputs found before
#	test-fuzz	each for a fixed number of inputs from a fixed seed
#
# Inputs are kept in $(O)/fuzz/<name>.corpus; one that fails is left in $(O)/fuzz/
# as <name>-crash-..., to be run by `$(O)/fuzz/<name> <file>`.

HOST_CLANG ?= clang
FUZZ_TIME ?= 300
FUZZ := $(O)/fuzz
FUZZ_CFLAGS := $(COMMON_CFLAGS) -Werror -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_FLAGS := -verbosity=0 -timeout=20

FUZZERS := memblock memblock-flat acpi malloc
FUZZ_PROGRAMS := $(FUZZERS:%=$(FUZZ)/%)

# $(1) name, $(2) sources, $(3) compiler flags, $(4) libFuzzer's flags, $(5) inputs in a
# bounded run
define fuzzer
$$(FUZZ)/$(1): $(2) Makefile tests/fuzz.mk
	$$(call say,FUZZ,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(HOST_CLANG) $$(FUZZ_CFLAGS) $(3) -I. -Iinclude -Itests/fuzz/include \
		-MMD -MP -MF $$@.d $(2) -o $$@

-include $$(FUZZ)/$(1).d

fuzz_flags_$(1) := $$(FUZZ_FLAGS) -artifact_prefix=$$(FUZZ)/$(1)- $(4)
fuzz_runs_$(1) := $(5)
endef

memblock_src := mm/memblock.c tests/fuzz/memblock_fuzz.c
acpi_src := arch/x86_64/acpi.c tests/fuzz/acpi_fuzz.c
# Another port than the other fuzzers', and names apart from the sanitizer's.
malloc_fuzz_src := $(malloc_src) tests/fuzz/malloc_fuzz.c

$(eval $(call fuzzer,memblock,$(memblock_src),,-max_len=256,15000))
$(eval $(call fuzzer,memblock-flat,$(memblock_src),-DCONFIG_FLAT_ARENAS=1,-max_len=256,4000))
$(eval $(call fuzzer,acpi,$(acpi_src),,-max_len=1024 -dict=tests/fuzz/acpi.dict,200000))
$(eval $(call fuzzer,malloc,$(malloc_fuzz_src),-Iarch/malloc/include -include \
	tests/malloc/renamed.h -fno-builtin -pthread,-max_len=512,4000))

.PHONY: fuzz test-fuzz

fuzz: $(FUZZ_PROGRAMS) ## run the fuzzers, FUZZ_TIME= seconds (300) each
	$(Q)$(foreach f,$(FUZZERS),echo '$(f): $(FUZZ_TIME) s' && mkdir -p $(FUZZ)/$(f).corpus && \
		$(FUZZ)/$(f) $(fuzz_flags_$(f)) -max_total_time=$(FUZZ_TIME) \
			$(FUZZ)/$(f).corpus &&) true

test-fuzz: $(FUZZ_PROGRAMS) ## the fuzzers on a fixed number of inputs each
	$(Q)passed=0; failed=0; $(foreach f,$(FUZZERS), \
		if $(FUZZ)/$(f) $(fuzz_flags_$(f)) -seed=1 -runs=$(fuzz_runs_$(f)) \
				> $(FUZZ)/$(f).log 2>&1; then \
			echo 'ok $(f): $(fuzz_runs_$(f)) inputs'; passed=$$((passed + 1)); \
		else \
			cat $(FUZZ)/$(f).log; echo 'not ok $(f)'; failed=$$((failed + 1)); \
		fi;) \
	echo "$$passed passed, $$failed failed"; [ $$failed = 0 ]

DEPS += libclang-rt-dev
TEST_TARGETS += test-fuzz
