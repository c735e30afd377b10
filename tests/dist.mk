# SPDX-License-Identifier: MIT
# The one-file version and what is made of it: see tests/dist/check.py.

.PHONY: test-dist
test-dist: dist ## the one-file version: both compilers, other machines, samples/minimal
	$(Q)$(PYTHON) tests/dist/check.py $(O)/dist $(O)/dist-check

DEPS += g++ llvm
TEST_TARGETS += test-dist
