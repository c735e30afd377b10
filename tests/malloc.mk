# SPDX-License-Identifier: MIT
#
# Tests of the malloc library:
#
#	test-malloc		the calls, preloaded and linked statically (under valgrind);
#				the same under ASan and UBSan, threads under TSan; a
#				state machine on the shared library; programs nobody
#				here wrote, beside the same without it; the benchmarks,
#				for a moment
#	test-malloc-tsan	all of the calls under TSan, of which test-malloc does the threads
#
# A fuzzer of sequences of calls is among the others, in tests/fuzz.mk.

MT := $(O)/malloc-test
MT_CFLAGS := $(COMMON_CFLAGS) -O1 -fno-builtin -pthread -I. -Iinclude -Iarch/malloc/include \
	     -Wno-use-after-free -Wno-free-nonheap-object -Wno-stringop-overflow
mt_src := $(wildcard tests/malloc/*.c)

# $(1) name, $(2) what it is linked with, $(3) flags
define malloc_test
$(MT)/$(1): $$(mt_src) tests/malloc/test.h $(2) tests/malloc.mk
	$$(call say,HOSTLD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(HOST_GCC) $$(MT_CFLAGS) -Werror $$(mt_src) $(2) $(3) -o $$@
endef

$(eval $(call malloc_test,dynamic,$(O)/libspanheap.so,-Wl$(comma)-rpath$(comma)$(abspath $(O))))
$(eval $(call malloc_test,static,$(O)/libspanheap.a,))

# $(1) name, $(2) compiler, $(3) flags: the library's sources as well
define malloc_sanitized
mt_$(1)_obj := $$(patsubst %,$(MT)/$(1).o/%.o,$$(malloc_src) $$(mt_src))

$$(mt_$(1)_obj): $(MT)/$(1).o/%.o: % Makefile tests/malloc.mk
	$$(call say,HOSTCC,$(1): $$<)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(2) $$(MT_CFLAGS) $(3) -DTEST_SANITIZED -include tests/malloc/renamed.h \
		-Werror -MMD -MP -c $$< -o $$@

$(MT)/$(1): $$(mt_$(1)_obj)
	$$(call say,HOSTLD,$$@)
	$$(Q)$(2) $$(MT_CFLAGS) $(3) $$^ -o $$@

-include $$(mt_$(1)_obj:.o=.d)
endef

$(eval $(call malloc_sanitized,asan,$(HOST_GCC),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all))
$(eval $(call malloc_sanitized,tsan,$(HOST_CLANG),-fsanitize=thread -Wno-unknown-warning-option))

.PHONY: test-malloc test-malloc-tsan
test-malloc: host-library $(MB)/malloc-bench $(MB)/measure $(addprefix $(MT)/,dynamic static asan tsan) ## the malloc library: its calls, and real programs on it
	$(Q)$(PYTHON) tests/malloc/run.py --build $(O) --cc '$(HOST_GCC)'

test-malloc-tsan: $(MT)/tsan
	$(MT)/tsan

DEPS += valgrind python3-hypothesis libpython3.11-testsuite sqlite3 perl stress-ng redis-server \
	redis-tools git xz-utils pkg-config
TEST_TARGETS += test-malloc
