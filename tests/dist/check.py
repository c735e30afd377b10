#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the one-file version that `make dist` wrote.

    check.py <dist folder> <scratch folder>

Compiled freestanding by both compilers it must need nothing but the port, define
nothing but the public API, all of it with the prefix if there is one; it must
compile for other machines; samples/minimal must run on it, under sanitizers too.
"""
import concurrent.futures
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SAMPLE = os.path.join(ROOT, "samples/minimal/main.c")
PREFIX_USER = os.path.join(ROOT, "tests/dist/prefix.c")
START = os.path.join(ROOT, "tests/dist/start.c")
TOP = os.path.join(ROOT, "tests/dist/top.c")
TOP_PORT = os.path.join(ROOT, "tests/dist/top_port")
HALF_PORT = os.path.join(ROOT, "tests/dist/half_port")
SAMPLE_MAX_LINES = 149

WARN = ["-Wall", "-Wextra", "-Werror"]
BARE = ["-std=gnu11", "-ffreestanding", "-nostdlib"] + WARN
PREFIX = "xyz_"
TARGETS = {"aarch64": ["--target=aarch64-none-elf"],
           "riscv64": ["--target=riscv64-unknown-elf", "-march=rv64imac", "-mabi=lp64"]}


# Ports that make no sense, as changes of arch/none, and what the compiler has to say of each.
NONSENSE = [
    (["-m32"], "a machine of 64 bits"),
    (["-UPORT_ONE_CPU"], "how many CPUs?"),
    (["-DPORT_MAX_CPUS=2"], "PORT_MAX_CPUS is too much"),
    (["-UPORT_DIRECT_BASE"], "where is the direct map?"),
    (["-DPORT_DIRECT_BASE=0x1000"], "a multiple of CHUNK_SIZE"),
    (["-DPORT_DIRECT_BASE=0xffff900000000000"], "passes the last address"),
    (["-DPORT_PHYS_BITS=35"], "36 .. 52"),
    (["-DPORT_PHYS_BITS=53"], "36 .. 52"),
    (["-DPORT_MAX_NODES=0"], "1 .. 64"),
    (["-DPORT_MAX_NODES=65"], "1 .. 64"),
    (["-DPORT_HAS_MMU=1", "-DPORT_MAP_MIN=8192"], "FRAME_SIZE or CHUNK_SIZE"),
    (["-DPORT_HAS_MMU=1", "-DPORT_WINDOW_BASE=0xffffd00000000000", "-DPORT_WINDOW_SIZE=100"],
     "multiples of FRAME_SIZE"),
]


class Wrong(Exception):
    pass


def run(command, good=True, timeout=120):
    """Return: what it printed; raises Wrong if it ended otherwise than expected."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout)
    text = done.stdout.decode(errors="replace")
    if (done.returncode == 0) != good:
        raise Wrong(f"status {done.returncode}: {' '.join(command)}\n{text[-3000:]}")
    return text


def symbols(obj):
    """Return: names the object needs, names that it shows to others."""
    needs, shows = set(), set()
    for line in run(["llvm-nm", obj]).splitlines():
        kind, name = line.split()[-2:]
        if kind in "Uv":
            needs.add(name)
        elif kind.isupper():
            shows.add(name)
    return needs, shows


class Dist:
    def __init__(self, dist, scratch):
        self.dist, self.scratch = dist, scratch
        os.makedirs(scratch, exist_ok=True)
        with open(os.path.join(dist, "public.txt"), encoding="utf-8") as f:
            self.public = set(f.read().split())

    def path(self, name):
        return os.path.join(self.scratch, re.sub(r"\W+", "-", name))

    def compile(self, name, compiler, flags, include=None):
        obj = self.path(name) + ".o"
        run([compiler] + flags + (["-I", include] if include else []) +
            ["-I", self.dist, "-c", os.path.join(self.dist, "spanheap.c"), "-o", obj])
        return obj

    def link(self, name, compiler, flags, source, obj):
        run([compiler] + WARN + flags + ["-I", self.dist, source, "-x", "none", obj,
                                         "-o", self.path(name)])
        return self.path(name)

    # ---- Each returns nothing, or raises Wrong ----

    def needs_nothing(self, obj, prefix=""):
        needs, shows = symbols(obj)
        if needs != {f"{prefix}port_panic"}:
            raise Wrong(f"needs {sorted(needs)}")
        # gcc leaves out the copy of an inline function that nobody calls; all others exist.
        wanted = {prefix + n for n in self.public}
        extra = {n for n in shows - wanted if not n.startswith(f"{prefix}spanheap_")}
        if extra:
            raise Wrong(f"shows {sorted(extra)}")
        if len(shows & wanted) < 80:
            raise Wrong(f"shows no more than {len(shows & wanted)} public names")

    def bare(self, compiler, level):
        name = f"{compiler} {level}"
        obj = self.compile(name, compiler, BARE + [level])
        self.needs_nothing(obj)
        program = self.link(f"minimal {name}", compiler, [level], SAMPLE, obj)
        self.minimal(program)

    @staticmethod
    def minimal(program):
        lines = run([program], timeout=30).splitlines()
        if lines[-2:] != ["double free", "ok"]:
            raise Wrong("\n".join(lines))

    def prefixed(self, compiler, cxx):
        define = [f"-DSPANHEAP_PREFIX={PREFIX}"]
        name = f"{compiler} prefix"
        obj = self.compile(name, compiler, BARE + ["-O2"] + define)
        self.needs_nothing(obj, PREFIX)
        run([self.link(f"{name} C", compiler, define, PREFIX_USER, obj)])
        run([self.link(f"{name} C++", cxx, define + ["-x", "c++", "-std=c++17"], PREFIX_USER,
                       obj)])

    def strict_c11(self):
        self.compile("c11", "gcc", ["-std=c11", "-O2", "-ffreestanding"] + WARN)

    def other_machine(self, machine):
        self.needs_nothing(self.compile(machine, "clang", BARE + ["-Os"] + TARGETS[machine]))

    def sanitized(self):
        flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        self.minimal(self.link("minimal sanitized", "clang", flags, SAMPLE,
                               self.compile("sanitized", "clang", flags)))

    def forgotten(self, define, text):
        name = f"half {define}"
        obj = self.compile(name, "gcc", BARE + ["-O0"] + define, HALF_PORT)
        program = self.link(name, "gcc", ["-I", HALF_PORT] + define, SAMPLE, obj)
        if text not in run([program], good=False):
            raise Wrong(f"its end says nothing of: {text}")

    def starts(self, compiler):
        """Good and bad starts, with a pattern in variables that nobody has set."""
        flags = ["-O1", "-ftrivial-auto-var-init=pattern"]
        program = self.link(f"start {compiler}", compiler, flags, START,
                            self.compile(f"start {compiler}", compiler, flags))
        too_early = "a CPU allocates before its mm_init_cpu()\n"
        for what, good, text in (("joins", True, "ok\n"), ("early", False, too_early),
                                 ("nocpu", False, too_early)):
            said = run([program, what], good)
            if said != text:
                raise Wrong(f"{what}: {said}")

    def at_the_top(self, bits):
        flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
                 f"-DBITS={bits}"]
        name = f"top {bits}"
        obj = self.compile(name, "gcc", flags, TOP_PORT)
        said = run([self.link(name, "gcc", ["-I", TOP_PORT] + flags, TOP, obj)])
        if said != "ok\n":
            raise Wrong(said)

    def hosted(self, compiler, level):
        """Not told that there is no C library, compilers know what memmove() is."""
        name = f"{compiler} {level} hosted"
        obj = self.compile(name, compiler, [level])
        self.needs_nothing(obj)
        self.minimal(self.link(f"minimal {name}", compiler, [level], SAMPLE, obj))
        for function in ("memset", "memcpy", "memmove", "memcmp", "strlen"):
            code = run(["objdump", "-dr", f"--disassemble={function}", obj])
            if re.search(rf"R_\w+\s+{function}\b|\b(?:call|jmp)\s.*<{function}>", code):
                raise Wrong(f"{function}() calls itself:\n{code}")

    def refused(self, compiler, changes, text):
        """A port of constants alone: those of arch/none, but for the changes."""
        flags = [c for c in changes if c[:2] not in ("-D", "-U")]
        constants = {"PORT_ONE_CPU": "1", "PORT_NO_INTERRUPTS": "1", "PORT_NO_PREEMPTION": "1",
                     "PORT_PHYS_BITS": "48", "PORT_DIRECT_BASE": "0"}
        for change in [c for c in changes if c not in flags]:
            name, _, value = change[2:].partition("=")
            if change.startswith("-U"):
                del constants[name]
            else:
                constants[name] = value
        folder = self.path("port " + " ".join(changes))
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "spanheap_port.h"), "w", encoding="utf-8") as f:
            f.writelines(f"#define {n} {v}\n" for n, v in constants.items())
        said = run([compiler] + BARE + flags + ["-I", folder, "-I", self.dist, "-fsyntax-only",
                                                "-x", "c",
                                                os.path.join(self.dist, "spanheap.h")], good=False)
        if text not in said:
            raise Wrong(f"the compiler says nothing of: {text}\n{said[-1000:]}")

    def short(self):
        with open(SAMPLE, encoding="utf-8") as f:
            nlines = len(f.readlines())
        if nlines > SAMPLE_MAX_LINES:
            raise Wrong(f"samples/minimal: {nlines} lines")

    def checks(self):
        for compiler in ("gcc", "clang"):
            for level in ("-O0", "-O2", "-Os"):
                yield f"{compiler} {level}", lambda c=compiler, l=level: self.bare(c, l)
        for compiler, level in (("gcc", "-O3"), ("clang", "-O1"), ("clang", "-O2")):
            yield f"{compiler} {level} hosted", lambda c=compiler, l=level: self.hosted(c, l)
        yield "gcc prefix", lambda: self.prefixed("gcc", "g++")
        yield "clang prefix", lambda: self.prefixed("clang", "clang++")
        for compiler in ("gcc", "clang"):
            yield f"{compiler} start", lambda c=compiler: self.starts(c)
        yield "c11", self.strict_c11
        for machine in TARGETS:
            yield machine, lambda m=machine: self.other_machine(m)
        yield "sanitizers", self.sanitized
        for bits in (36, 52):
            yield f"addresses of {bits} bits", lambda b=bits: self.at_the_top(b)
        yield "no port_map", lambda: self.forgotten(
            ["-DFORGETS_MMU"], "the port has an MMU but no port_map()")
        yield "no port_run_on", lambda: self.forgotten(
            [], "the port has several CPUs but no port_run_on()")
        for changes, text in NONSENSE:
            for compiler in ("gcc", "clang"):
                yield (f"{compiler} refuses {' '.join(changes)}",
                       lambda c=compiler, h=changes, t=text: self.refused(c, h, t))
        yield "minimal is short", self.short


def verdict(check):
    try:
        check()
        return None
    except (Wrong, OSError, subprocess.TimeoutExpired) as e:
        return str(e)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    names, checks = zip(*Dist(sys.argv[1], sys.argv[2]).checks())
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = list(pool.map(verdict, checks))
    for name, why in zip(names, wrong):
        print(f"{'not ok' if why else 'ok'} {name}" + (f"\n{why}" if why else ""))
    failed = sum(w is not None for w in wrong)
    print(f"{len(names) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
