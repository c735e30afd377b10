# SPDX-License-Identifier: MIT
#
# The one-file version: $(O)/dist/spanheap.c, spanheap.h, and a spanheap_port.h to
# start a port from. samples/minimal is a program made of it.

.PHONY: dist
dist: ## the one-file version, for dropping into another project
	$(Q)$(PYTHON) tools/dist.py $(O)/dist
	@wc -l $(O)/dist/spanheap.c $(O)/dist/spanheap.h $(O)/dist/spanheap_port.h | sed '$$d'
