# SPDX-License-Identifier: MIT
#
# The one-file version: $(O)/dist/spanheap.c, spanheap.h, and a spanheap_port.h to
# start a port from. samples/minimal is a program made of it.

.PHONY: dist
dist: ## the one-file version, for dropping into another project
	$(Q)$(PYTHON) tools/dist.py $(O)/dist
	@wc -l $(O)/dist/spanheap.c $(O)/dist/spanheap.h $(O)/dist/spanheap_port.h | sed '$$d'

.PHONY: stack
stack: dist ## bytes of stack that each public call needs at worst
	$(Q)gcc -O2 -ffreestanding -mgeneral-regs-only -mno-red-zone -fcallgraph-info=su \
		-I$(O)/dist -c $(O)/dist/spanheap.c -o $(O)/stack.o
	$(Q)$(PYTHON) tools/stack.py $(O)/stack.ci $(O)/dist/public.txt $(CALLS)
