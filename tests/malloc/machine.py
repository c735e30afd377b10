#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Hypothesis state machine over libspanheap.so, loaded beside the process's own malloc.

Objects are filled with a pattern of their own when they are made and looked at before they
are changed or freed: one that overlaps another, or moved without its content, shows. What is
freed is not read again; addresses that come back while they are held show as well.
"""
import ctypes
import errno
import sys

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from hypothesis.stateful import run_state_machine_as_test

EXAMPLES, STEPS = 60, 80
SIZES = st.one_of(st.integers(0, 64), st.integers(0, 2100), st.integers(0, 70000),
                  st.sampled_from([1 << 20, (1 << 20) + 1, 3 << 20]))
ALIGNS = st.integers(3, 22).map(lambda shift: 1 << shift)
TOO_LARGE = st.integers(1 << 62, (1 << 64) - 1)

lib = ctypes.CDLL(sys.argv.pop(1), use_errno=True)
P, Z = ctypes.c_void_p, ctypes.c_size_t
for name, result, arguments in [
        ("malloc", P, [Z]), ("calloc", P, [Z, Z]), ("realloc", P, [P, Z]), ("free", None, [P]),
        ("reallocarray", P, [P, Z, Z]), ("aligned_alloc", P, [Z, Z]), ("memalign", P, [Z, Z]),
        ("posix_memalign", ctypes.c_int, [ctypes.POINTER(P), Z, Z]), ("valloc", P, [Z]),
        ("pvalloc", P, [Z]), ("malloc_usable_size", Z, [P]), ("free_sized", None, [P, Z]),
        ("free_aligned_sized", None, [P, Z, Z]), ("malloc_trim", ctypes.c_int, [Z])]:
    getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments


class Object:
    count = 0

    def __init__(self, address, size, align=0):
        Object.count += 1
        self.address, self.size, self.align = address, size, align
        self.fill(Object.count % 251 + 1)

    def fill(self, byte):
        self.byte = byte
        ctypes.memset(self.address, byte, self.size)

    def check(self, size=None):
        size = self.size if size is None else size
        assert ctypes.string_at(self.address, size) == bytes([self.byte]) * size


class Malloc(RuleBasedStateMachine):
    objects = Bundle("objects")

    def __init__(self):
        super().__init__()
        self.held = {}

    def take(self, address, size, align=8):
        assert address, "no memory"
        assert address % (align if size < 16 else max(align, 16)) == 0
        usable = lib.malloc_usable_size(address)
        assert usable >= size
        for other in self.held.values():
            assert address + usable <= other.address or \
                other.address + other.size <= address, "two objects overlap"
        made = Object(address, size, align)
        self.held[address] = made
        return made

    def drop(self, made):
        made.check()
        del self.held[made.address]

    @rule(target=objects, size=SIZES)
    def malloc(self, size):
        return self.take(lib.malloc(size), size)

    @rule(target=objects, n=st.integers(0, 40), size=st.integers(0, 5000))
    def calloc(self, n, size):
        address = lib.calloc(n, size)
        assert ctypes.string_at(address, n * size) == bytes(n * size)
        return self.take(address, n * size)

    @rule(target=objects, align=ALIGNS, size=SIZES, way=st.integers(0, 2))
    def aligned(self, align, size, way):
        if way == 0:
            out = P()
            assert lib.posix_memalign(ctypes.byref(out), align, size) == 0
            return self.take(out.value, size, align)
        call = lib.aligned_alloc if way == 1 else lib.memalign
        return self.take(call(align, size), size, align)

    @rule(target=objects, size=SIZES, whole=st.booleans())
    def pages(self, size, whole):
        made = self.take((lib.pvalloc if whole else lib.valloc)(size), size, 4096)
        assert not whole or lib.malloc_usable_size(made.address) >= (size + 4095) // 4096 * 4096
        return made

    @rule(target=objects, made=consumes(objects), size=SIZES.filter(bool), n=st.integers(1, 3))
    def realloc(self, made, size, n):
        both, byte = min(made.size, size * n), made.byte
        self.drop(made)
        address = lib.reallocarray(made.address, size, n)
        assert ctypes.string_at(address, both) == bytes([byte]) * both
        return self.take(address, size * n)

    @rule(made=consumes(objects))
    def realloc_to_nothing(self, made):
        self.drop(made)
        assert lib.realloc(made.address, 0) is None

    @rule(made=consumes(objects), way=st.integers(0, 2))
    def free(self, made, way):
        self.drop(made)
        ctypes.set_errno(77)
        if way == 0:
            lib.free(made.address)
        elif way == 1:
            lib.free_sized(made.address, made.size)
        else:
            lib.free_aligned_sized(made.address, made.align, made.size)
        assert ctypes.get_errno() == 77

    @rule(made=objects, size=TOO_LARGE)
    def realloc_too_large(self, made, size):
        ctypes.set_errno(0)
        assert lib.realloc(made.address, size) is None
        assert ctypes.get_errno() == errno.ENOMEM
        made.check()

    @rule(size=TOO_LARGE, n=st.integers(1, 1 << 20))
    def too_large(self, size, n):
        ctypes.set_errno(0)
        assert lib.calloc(size, n) is None and ctypes.get_errno() == errno.ENOMEM
        ctypes.set_errno(0)
        assert lib.malloc(size) is None and ctypes.get_errno() == errno.ENOMEM

    @rule()
    def trim(self):
        lib.malloc_trim(0)

    @invariant()
    def nothing_was_touched(self):
        for made in list(self.held.values())[-8:]:
            made.check()

    def teardown(self):
        for made in self.held.values():
            made.check()
            lib.free(made.address)


run_state_machine_as_test(Malloc, settings=settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None,
    derandomize=True, suppress_health_check=list(HealthCheck)))
print("1 passed, 0 failed")
