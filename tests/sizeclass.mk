# SPDX-License-Identifier: MIT
# The generated size-class headers: `make sizeclass` writes them anew, and
# test-sizeclass fails if they are not what the generator prints.

HOSTCC ?= gcc
SIZECLASS := $(O)/tools/sizeclass
SIZECLASS_TABLE := mm/sizeclass_table.h
SIZECLASS_CONSTANT := include/spanheap/kmalloc_class.h

.PHONY: sizeclass test-sizeclass

sizeclass: $(SIZECLASS) ## write the generated size-class headers anew
	$(Q)$(SIZECLASS) table > $(SIZECLASS_TABLE)
	$(Q)$(SIZECLASS) constant > $(SIZECLASS_CONSTANT)

test-sizeclass: $(SIZECLASS)
	$(Q)$(SIZECLASS) table | cmp - $(SIZECLASS_TABLE)
	$(Q)$(SIZECLASS) constant | cmp - $(SIZECLASS_CONSTANT)

$(SIZECLASS): tools/sizeclass.c
	$(call say,HOSTCC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu11 -O2 -Wall -Wextra -Werror -o $@ $<

TEST_TARGETS += test-sizeclass
