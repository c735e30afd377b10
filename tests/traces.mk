# SPDX-License-Identifier: MIT
#
# Traces of real programs (tests/traces): the recorder, and who links them in.
#
#	traces			record them anew
#	test-record		the recorder, on a program whose calls are known

RECORDER := $(O)/librecord.so

$(RECORDER): tools/record.c tests/traces/trace.h Makefile tests/traces.mk
	$(call say,HOSTLD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)gcc $(COMMON_CFLAGS) -Werror -fPIC -shared -fno-builtin -fvisibility=hidden -I. \
		-o $@ tools/record.c

.PHONY: traces
traces: $(RECORDER) ## record the traces of tests/traces anew
	$(Q)sh tests/traces/make.sh $(abspath $(RECORDER))

RECORD_CALLS := $(O)/record-calls

$(RECORD_CALLS): tests/traces/calls.c Makefile tests/traces.mk
	$(call say,HOSTLD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)gcc $(COMMON_CFLAGS) -Werror -fno-builtin -pthread -o $@ $<

.PHONY: test-record
test-record: $(RECORDER) $(RECORD_CALLS)
	$(Q)$(PYTHON) tests/record.py $(RECORDER) $(RECORD_CALLS)

# The compiler does not say that .incbin reads them.
$(patsubst %,%/tests/suites/traces.c.o,$(B) $(wildcard $(O)/host/*)): \
	$(wildcard tests/traces/*.trace)

ALL_TARGETS += $(RECORDER)
TEST_TARGETS += test-record
