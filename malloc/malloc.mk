# SPDX-License-Identifier: MIT
#
# The memory manager as the malloc of Linux programs:
#
#	$(O)/libspanheap.so	LD_PRELOAD=... program, or -lspanheap
#	$(O)/libspanheap.a	one object, of which only the calls of malloc.h are visible
#	$(O)/spanheap.pc	for pkg-config
#	install			the three, under $(DESTDIR)$(PREFIX)
#
# COMMON_CFLAGS keeps frame pointers for the kernel's backtraces; a malloc does
# without. -fno-builtin: see malloc/malloc.c.

HOST_GCC ?= gcc
PREFIX ?= /usr/local
DESTDIR ?=
LIBDIR ?= $(PREFIX)/lib
SPANHEAP_VERSION := 0.1

MALLOC_CFLAGS := $(COMMON_CFLAGS) -O2 -fomit-frame-pointer -fPIC -fvisibility=hidden \
		 -ftls-model=initial-exec -fno-builtin -fno-plt -fno-stack-protector \
		 -fcf-protection=none -fno-asynchronous-unwind-tables -ffunction-sections \
		 -fdata-sections -pthread -I. -Iinclude -Iarch/malloc/include
MALLOC_LDFLAGS := -shared -Wl,-Bsymbolic -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete \
		  -Wl,-z,defs -Wl,--gc-sections -Wl,--build-id=none \
		  -Wl,-soname,libspanheap.so.0

malloc_src := $(sort $(wildcard mm/*.c mm/*/*.c arch/malloc/*.c malloc/*.c) \
		$(filter-out lib/string.c,$(wildcard lib/*.c)))
malloc_obj := $(malloc_src:%=$(O)/malloc/%.o)

$(malloc_obj): $(O)/malloc/%.o: % Makefile malloc/malloc.mk
	$(call say,LIBCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOST_GCC) $(MALLOC_CFLAGS) -Werror -MMD -MP -c $< -o $@

$(O)/malloc/list: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(malloc_obj) | cmp -s - $@ || printf '%s\n' $(malloc_obj) > $@

$(O)/libspanheap.so: $(malloc_obj) $(O)/malloc/list
	$(call say,LIBLD,$@)
	$(Q)$(HOST_GCC) $(MALLOC_CFLAGS) $(MALLOC_LDFLAGS) -o $@ $(malloc_obj)

# Names that others may have as well are made local.
$(O)/libspanheap.a: $(malloc_obj) $(O)/malloc/list
	$(call say,AR,$@)
	$(Q)ld -r --gc-sections \
		$$(sed -n 's/^PUBLIC .*[ *]\([a-z_0-9]*\)(.*/-u \1/p' malloc/*.c) \
		-o $(O)/malloc/spanheap.o $(malloc_obj)
	$(Q)objcopy --localize-hidden $(O)/malloc/spanheap.o
	$(Q)rm -f $@
	$(Q)ar rcsD $@ $(O)/malloc/spanheap.o

$(O)/spanheap.pc: malloc/malloc.mk
	$(Q)mkdir -p $(@D)
	$(Q)printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' '' 'Name: spanheap' \
		'Description: memory manager on spans: malloc for a whole process' \
		'Version: $(SPANHEAP_VERSION)' 'Libs: -L$${libdir} -lspanheap' \
		'Libs.private: -pthread' > $@

.PHONY: install host-library
host-library: $(O)/libspanheap.so $(O)/libspanheap.a $(O)/spanheap.pc

install: host-library ## the malloc library and its pkg-config file, under PREFIX= (/usr/local), DESTDIR=
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 755 $(O)/libspanheap.so $(DESTDIR)$(LIBDIR)/libspanheap.so.0
	ln -sf libspanheap.so.0 $(DESTDIR)$(LIBDIR)/libspanheap.so
	install -m 644 $(O)/libspanheap.a $(DESTDIR)$(LIBDIR)/libspanheap.a
	install -m 644 $(O)/spanheap.pc $(DESTDIR)$(LIBDIR)/pkgconfig/spanheap.pc

-include $(malloc_obj:.o=.d)

ALL_TARGETS += host-library
