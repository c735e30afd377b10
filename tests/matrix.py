#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make test`: everything, on a matrix of machines.

    tree          rules of the source tree (check_tree.py)
    builds        every variant, both compilers; in another folder, byte for byte the same
    targets       what makefile fragments add (host tests, generated files)
    boots         the in-kernel suites on machines of many shapes, both boot paths
    run           `make run` without input, and a session at its prompt
    hotplug       memory modules that come and go; balloon: memory given back to the host
    failures      machines that cannot work, kernels that cannot be loaded, suites
                  that go wrong: each must be reported as what it is

Goes on after a failure. One line for each configuration, details below it if it
failed; logs are in <build>/test/. The last line counts single test cases, as the
programs reported them, and each build or other step as one.
"""
import argparse
import concurrent.futures
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import balloon
import hotplug
import ktap
import qemu
import run as runner

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOBS = str(os.cpu_count() or 1)
IMAGES = ["kernel.elf", "BOOTX64.EFI", "esp.img"]
CLANG = ["CC=clang", "LD=ld.lld"]
BOOT_TIMEOUT, BUILD_TIMEOUT, TARGET_TIMEOUT = 600, 600, 600

# Name, variables of make, folder below the build folder.
VARIANTS = [
    ("gcc", [], ""),
    ("clang", CLANG, "clang-ld.lld"),
    ("preempt", ["PREEMPT=1"], "preempt"),
    ("flat", ["FLAT_ARENAS=1"], "flat"),
    ("clang-preempt", CLANG + ["PREEMPT=1"], "clang-ld.lld-preempt"),
]

NUMA = ("-object memory-backend-ram,id=n0,size=512M -object memory-backend-ram,id=n1,size=512M "
        "-numa node,memdev=n0,cpus=0-1 -numa node,memdev=n1,cpus=2-3")

# One node without CPUs, and distances that are not symmetric to the numbers.
NUMA3 = ("-object memory-backend-ram,id=n0,size=256M -object memory-backend-ram,id=n1,size=512M "
         "-object memory-backend-ram,id=n2,size=256M "
         "-numa node,nodeid=0,memdev=n0,cpus=0-1 -numa node,nodeid=1,memdev=n1 "
         "-numa node,nodeid=2,memdev=n2,cpus=2-3 -numa dist,src=0,dst=1,val=40 "
         "-numa dist,src=0,dst=2,val=20 -numa dist,src=1,dst=2,val=15")
# A module that is there at the start, at an odd place; node 1 so has a hole.
COLD = (NUMA + " -m 1G,slots=4,maxmem=8G -object memory-backend-ram,id=d,size=480M "
        "-device pc-dimm,memdev=d,addr=0x152000000,node=1")
NAMES = {NUMA: "NUMA", NUMA3: "three nodes", COLD: "NUMA and a cold-plugged module"}

# Variant, and what differs from PVH with 4 CPUs, 1 GiB and all suites. "quick" leaves out
# the slow cases, which are mostly random, and those that die, which take a boot each;
# `make test-shapes` runs all of them everywhere.
BOOTS = [
    ("gcc", {}),
    ("gcc", dict(smp=1)),
    ("gcc", dict(smp=8, quick=True)),
    ("preempt", {}),
    ("preempt", dict(smp=1)),
    ("preempt", dict(smp=8, quick=True)),
    ("gcc", dict(mem="64M", quick=True)),
    ("gcc", dict(mem="3G", smp=2, quick=True)),
    ("gcc", dict(args="-machine max-ram-below-4g=256M", smp=2, quick=True)),
    ("gcc", dict(args="-bios /usr/share/qemu/qboot.rom", smp=2, quick=True)),
    ("gcc", dict(args=NUMA, quick=True)),
    ("gcc", dict(mem="512G", smp=2, quick=True)),
    ("gcc", dict(mem="1T", quick=True)),
    ("gcc", dict(mem="4T", filter="scavenge,numa*,hotplug,memmap,page,fault_dies")),
    # By itself: guarded objects want memory that no suite has claimed.
    ("gcc", dict(smp=2, filter="object_fail,guard")),
    ("gcc", dict(args=NUMA3, filter="numa*,page,pressure,scavenge,mcentral,medium")),
    ("gcc", dict(args=COLD, filter="numa*,dimm,page,pressure,scavenge")),
    ("preempt", dict(args=COLD, boot="uefi", filter="numa*,dimm,hotplug,scavenge")),
    ("flat", dict(smp=2, quick=True)),
    ("flat", dict(mem="3G", smp=3, quick=True)),
    ("flat", dict(smp=2, filter="fault_dies")),
    ("clang", dict(quick=True)),
    ("clang-preempt", dict(mem="3G", smp=2, quick=True)),
    ("gcc", dict(boot="uefi", quick=True)),
    ("gcc", dict(boot="uefi", mem="64M", smp=1, quick=True)),
    ("gcc", dict(boot="uefi", smp=2, filter="trap,task")),
    ("preempt", dict(boot="uefi", mem="1T", smp=2, quick=True)),
    ("clang", dict(boot="uefi", mem="3G", smp=2, quick=True)),
]

# What --shapes boots: each of these with each of the others.
SHAPES = [(variant, dict(boot=boot, smp=smp, mem=mem))
          for boot, smp, variant, mem in itertools.product(
              ("pvh", "uefi"), (1, 4, 8), ("gcc", "preempt"),
              ("64M", "1G", "3G", "512G", "1T"))]

SESSION = """help
mem
map
states
states 0
cpus
alloc 64K
alloc
free 1
states 1 2
nonsense
test kunit.strings
poweroff
"""
SESSION_ANSWERS = [
    r"poweroff .*end of input", r"kernel image: \d+ KiB", r"^None$", r"CPUs: 4 running",
    r"physical 0x[0-9a-f]+000", r"alloc takes a number", r"free takes an address",
    r"nonsense: no such command", r"ok 1 strings", r"^power off$",
]

# A kernel.elf that is damaged: how, and what the loader must say.
DAMAGES = [
    ("missing", None, "cannot be read"),
    ("empty", lambda elf: b"", "too short"),
    ("text", lambda elf: b"no kernel\n" * 1000, "not an ELF file"),
    ("truncated", lambda elf: elf[:0x3000], "truncated"),
    ("machine", lambda elf: elf[:18] + b"\xb7\0" + elf[20:], "another machine"),
    ("segments", lambda elf: elf[:56] + b"\0\0" + elf[58:], "no segments"),
]

# Suites of tests/harness: the lines that must come, besides a failing verdict.
MISBEHAVIOUR = [
    ("harness_fails", [r"EXPECTATION FAILED at tests/harness/misbehave\.c:\d+",
                       r"Expected answer == 42, but", r"answer == 41 \(0x29\)",
                       r"^# harness_fails\.wrong_value$", r"1 passed, 1 failed"]),
    ("harness_crashes", [r"^panic: page fault at 0x10 .*  write_to_nowhere at "
                         r"tests/harness/misbehave\.c:\d+$",
                         r"^  at 0x[0-9a-f]{16}  kunit_run_once at tests/kunit/kunit\.c:",
                         r"the plan was not carried out"]),
    ("harness_hangs", [r"time-out after 5 s", r"it was in harness_hangs, after .*fine",
                       r"cpu 0 at 0x[0-9a-f]{16}  never_ends at tests/harness/misbehave\.c"]),
    ("harness_resets", [r"triple fault", r"the plan was not carried out"]),
    ("harness_refuses", [r"suite_init gave -1", r"^not ok 1 harness_refuses"]),
    ("harness_survives", [r"expected a panic with: a panic that never comes",
                          r"^not ok 2 dies"]),
    ("no_such_suite", [r"nothing to run"]),
]


class Matrix:
    def __init__(self, build, targets, only):
        self.build, self.targets, self.only = build, targets, only
        self.logs = os.path.join(build, "test")
        self.passed = self.failed = 0
        self.bad, self.broken = [], set()
        self.reporting = threading.Lock()
        os.makedirs(self.logs, exist_ok=True)
        # What make handed to us is not meant for the makes we start.
        self.env = {k: v for k, v in os.environ.items()
                    if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "BOOT",
                                 "SMP", "MEM", "FILTER", "TIMEOUT", "ACCEL", "QEMU_ARGS")}

    # ---- Steps and their results ----

    def wanted(self, name):
        return not self.only or re.search(self.only, name)

    def record(self, name, passed, failed, detail, seconds, text):
        with self.reporting:
            self.passed += passed
            self.failed += failed
            mark = "FAIL" if failed else "ok"
            print(f"{mark:4} {name}: {text} ({seconds:.1f} s)", flush=True)
            if failed:
                self.bad.append(name)
                for line in detail:
                    print(f"       {line}", flush=True)

    @staticmethod
    def together(jobs):
        """Run what builds nothing that another needs, as many as there are processors."""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for job in [pool.submit(fn, *args) for fn, *args in jobs]:
                job.result()

    def step(self, name, fn, *args):
        """A step that is one test. fn gives the lines that say what is wrong."""
        if not self.wanted(name):
            return True
        begin = time.monotonic()
        wrong = fn(*args)
        self.record(name, not wrong, bool(wrong), wrong, time.monotonic() - begin,
                    "failed" if wrong else "passed")
        return not wrong

    def command(self, name, command, timeout, stdin=None, env=None, cwd=ROOT):
        """Return: status (None after a time-out) and output, which is also in the log."""
        log = os.path.join(self.logs, re.sub(r"[^\w.=-]+", "-", name) + ".log")
        with open(log, "w+b") as f:
            child = subprocess.Popen(command, cwd=cwd, env=env or self.env, stdout=f,
                                     stderr=subprocess.STDOUT, start_new_session=True,
                                     stdin=subprocess.DEVNULL if stdin is None
                                     else subprocess.PIPE)
            try:
                child.communicate(stdin, timeout=timeout)
                status = child.returncode
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, 9)
                child.wait()
                status = None
            f.seek(0)
            return status, f.read().decode(errors="replace")

    def make(self, name, args, timeout, **more):
        return self.command(name, ["make", "--no-print-directory", f"O={self.build}"] + args,
                            timeout, **more)

    @staticmethod
    def tail(status, output, n=25):
        how = "time-out" if status is None else f"exit status {status}"
        return output.splitlines()[-n:] + [how]

    # ---- Programs that print KTAP ----

    def program(self, name, status, output, seconds):
        """Count what a program reported; one that reported nothing is one test."""
        parser = ktap.Parser()
        for line in output.splitlines():
            parser.feed(line)
        parser.finish()
        passed, failed = parser.count("passed"), parser.count("failed")
        totals = re.findall(r"^(\d+) passed, (\d+) failed$", output, re.M)
        if totals:
            passed, failed = (sum(int(n) for n in column) for column in zip(*totals))
        detail = [f"{c.name}: {n}" for c in parser.cases if c.outcome == "failed"
                  for n in c.notes or ["failed"]] + parser.errors
        if not parser.started and not totals:
            passed, failed = int(status == 0), int(status != 0)
        elif (status != 0 or parser.errors) and not failed:
            failed = 1
        if status != 0:
            detail += self.tail(status, output)
        self.record(name, passed, failed, detail, seconds, f"{passed} passed, {failed} failed")

    def tree(self):
        if self.wanted("tree"):
            begin = time.monotonic()
            status, output = self.command("tree", [sys.executable, "-B", "tests/check_tree.py"],
                                          60)
            self.program("tree", status, output, time.monotonic() - begin)

    def fragment(self, target):
        if self.wanted(target):
            begin = time.monotonic()
            status, output = self.make(target, ["-j", JOBS, target], TARGET_TIMEOUT)
            self.program(target, status, output, time.monotonic() - begin)

    # ---- Builds ----

    def image(self, variant, name="kernel.elf"):
        folder = next(f for n, _, f in VARIANTS if n == variant)
        return os.path.join(self.build, folder, name)

    def build_variant(self, name, variables):
        paths = [self.image(name, i) for i in IMAGES]
        status, output = self.make(f"build-{name}", ["-j", JOBS] + variables + paths,
                                   BUILD_TIMEOUT)
        if status == 0 and "warning" not in output.lower():
            return []
        self.broken.add(name)
        return self.tail(status, output)

    def build_all(self):
        """What several targets of fragments share, before they run at once."""
        status, output = self.make("build-all", ["-j", JOBS, "all"], BUILD_TIMEOUT)
        return self.tail(status, output) if status != 0 or "warning" in output.lower() else []

    def builds(self, chosen=None):
        for name, variables, _ in VARIANTS:
            if not chosen or name in chosen:
                self.step(f"build {name}", self.build_variant, name, variables)

    def reproducible(self, variant, variables, folder):
        """A copy in a folder of another depth must give the same bytes as we have here."""
        skip = shutil.ignore_patterns(".git", "build", "__pycache__")
        with tempfile.TemporaryDirectory() as top:
            copy = os.path.join(top, "another", "place")
            shutil.copytree(ROOT, copy, ignore=skip)
            images = [os.path.join("out", folder, image) for image in IMAGES]
            status, output = self.command(
                "reproducible", ["make", "-j", JOBS, "O=out"] + variables + images,
                BUILD_TIMEOUT, cwd=copy)
            if status != 0:
                return self.tail(status, output)
            return [f"{image} differs" for image in IMAGES
                    if self.content(copy, "out", folder, image) !=
                    self.content(self.image(variant, image))]

    @staticmethod
    def content(*path):
        with open(os.path.join(*path), "rb") as f:
            return f.read()

    # ---- Boots ----

    def machine(self, variant, **shape):
        return qemu.Machine(self.image(variant), self.image(variant, "esp.img"), **shape)

    def boot(self, variant, shape):
        shape = dict(shape)
        chosen = shape.pop("filter", "")
        quick = shape.pop("quick", False)
        args = shape.get("args", "")
        extra = f" {NAMES.get(args, args)}" if args else ""
        machine = self.machine(variant, **shape)
        name = f"selftest {variant}, {machine}{extra}" + ", quick" * quick
        if not self.wanted(name):
            return
        lines = []
        test = runner.Selftest(machine, chosen, timeout=BOOT_TIMEOUT, quick=quick,
                               out=lines.append)
        if variant in self.broken:
            self.record(name, 0, 1, [], 0, "not built")
            return
        good = test.run()
        log = re.sub(r"[^\w.=-]+", "-", name)
        with open(os.path.join(self.logs, log + ".log"), "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        failed = test.count("failed") or int(not good)
        text = f"{test.count('passed')} passed, {failed} failed"
        if test.count("skipped"):
            text += f", {test.count('skipped')} skipped"
        self.record(name, test.count("passed"), failed, test.failures(), test.seconds, text)

    # ---- make run ----

    def run_without_input(self, boot):
        status, output = self.make(f"run-{boot}", ["run", f"BOOT={boot}"], 120)
        wrong = self.missing(output, [r"^memory map: \d+ entries", r"^CPUs: 4 running",
                                      r"^self-check: passed", r"^spanheap> "])
        if status != 0:
            wrong += [f"exit status {status}"]
        return wrong + self.tail(status, output) if wrong else []

    def session(self):
        status, output = self.make("session", ["run", "BOOT=pvh"], 120, stdin=SESSION.encode())
        wrong = self.missing(output, SESSION_ANSWERS)
        if status != 0:
            wrong.append(f"exit status {status}")
        return wrong + self.tail(status, output, 60) if wrong else []

    @staticmethod
    def missing(output, patterns):
        return [f"missing: {p}" for p in patterns if not re.search(p, output, re.M)]

    def many_cpus(self):
        boot = qemu.Run(self.machine("gcc", smp=64), "mode=run", 120, keyboard=self.nothing())
        status = boot.run()
        wrong = self.missing(boot.output.decode(errors="replace"),
                             [r"^CPUs: 64 running", r"^self-check: passed"])
        return wrong + [boot.how()] + boot.tail() if wrong or status != qemu.PASSED else []

    @staticmethod
    def nothing():
        return os.open(os.devnull, os.O_RDONLY)

    def too_small(self, mem, message):
        status, output = self.make(f"selftest-{mem}", ["selftest", f"MEM={mem}"], 60)
        wrong = self.missing(output, [message])
        wrong += ["the verdict is no failure"] * (status == 0)
        return wrong + self.tail(status, output) if wrong else []

    def cmdline_file(self):
        """The loader takes a command line from the volume; the emulator's comes after it."""
        with tempfile.TemporaryDirectory() as top:
            subprocess.run(["sh", "boot/efi/mkesp.sh", f"{top}/esp.img",
                            self.image("gcc", "BOOTX64.EFI"), self.image("gcc"),
                            "mode=list filter=none"], cwd=ROOT, check=True)
            boot = qemu.Run(qemu.Machine(self.image("gcc"), f"{top}/esp.img", boot="uefi"),
                            "filter=kunit", 60)
            good = boot.run() == qemu.PASSED and b"\nkunit.strings\n" in boot.output
            return [] if good else [boot.how()] + boot.tail()

    # ---- What must fail ----

    def damaged(self, how, damage, message):
        with tempfile.TemporaryDirectory() as top:
            command = ["sh", "boot/efi/mkesp.sh", f"{top}/esp.img",
                       self.image("gcc", "BOOTX64.EFI")]
            if damage:
                with open(f"{top}/kernel.elf", "wb") as f:
                    f.write(damage(self.content(self.image("gcc"))))
                command.append(f"{top}/kernel.elf")
            subprocess.run(command, cwd=ROOT, check=True)
            boot = qemu.Run(qemu.Machine(self.image("gcc"), f"{top}/esp.img", boot="uefi"),
                            "mode=selftest", 60)
            if boot.run() == qemu.LOADER and re.search(rb"spanheap loader: .*" + message.encode(),
                                                       boot.output):
                return []
            return [boot.how()] + boot.tail()

    def misbehaves(self, suite, patterns):
        limit = "5" if "hangs" in suite else "60"
        status, output = self.make(suite, ["selftest", "EXTRA=tests/harness", f"FILTER={suite}",
                                           f"TIMEOUT={limit}", "SMP=2"], 120)
        wrong = self.missing(output, patterns)
        if status in (0, None):
            wrong.append("the verdict is no failure")
        return wrong + self.tail(status, output) if wrong else []

    def mm_init_cost(self):
        """Start-up must not grow with the RAM: within a factor of two."""
        status, output = self.make("kbench-mm_init", ["kbench", "FILTER=mm_init/64M,mm_init/1T"],
                                   300)
        cost = {m[1]: float(m[2]) for m in
                re.finditer(r"^kbench\tmm_init/(\w+)\tinsn/op\t([\d.]+)$", output, re.M)}
        if status == 0 and {"64M", "1T"} <= set(cost) and \
                max(cost.values()) <= 2 * min(cost.values()):
            return []
        return [f"{m}: {n:.0f} instructions" for m, n in cost.items()] + self.tail(status, output)

    def machines(self):
        """Steps that start machines from images that stand."""
        steps = [
            ("run 64 CPUs", self.many_cpus),
            ("run cmdline.txt", self.cmdline_file),
            ("hotplug", hotplug.hotplug, self.image("gcc")),
            ("hotplug preempt", hotplug.hotplug, self.image("preempt"), 20),
            ("hotplug 1 CPU", functools.partial(hotplug.hotplug, smp=1), self.image("gcc"), 20),
            ("balloon", balloon.balloon, self.image("gcc")),
            ("mm_init cost", self.mm_init_cost),
        ]
        steps += [(f"kernel.elf {how}", self.damaged, how, *what) for how, *what in DAMAGES]
        return [(self.boot, *boot) for boot in BOOTS] + [(self.step, *step) for step in steps]

    def run(self):
        self.tree()
        self.builds()
        self.step("build all", self.build_all)
        self.together([(self.fragment, target) for target in self.targets] + self.machines())
        self.step("run pvh", self.run_without_input, "pvh")
        self.step("run uefi", self.run_without_input, "uefi")
        self.step("run session", self.session)
        self.step("selftest 8M", self.too_small, "8M", r"^not enough memory: \d+ KiB")
        self.step("selftest 4M", self.too_small, "4M",
                  r"^not enough memory: it ends before the kernel image does")
        for suite, patterns in MISBEHAVIOUR:
            self.step(f"runner {suite}", self.misbehaves, suite, patterns)
        for variant in VARIANTS[:2]:
            self.step(f"reproducible {variant[0]}", self.reproducible, *variant)

    def shapes(self):
        self.builds(["gcc", "preempt"])
        self.together([(self.boot, *shape) for shape in SHAPES])

    def verdict(self, seconds):
        if self.bad:
            print("failed:\n" + "\n".join(f"  {name}" for name in self.bad))
        print(f"{seconds / 60:.1f} minutes, logs in {self.logs}")
        print(f"{self.passed} passed, {self.failed} failed")
        return self.passed > 0 and not self.failed


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="build folder")
    parser.add_argument("--target", action="append", default=[], help="a target of make to run")
    parser.add_argument("--only", help="regular expression: steps whose name matches")
    parser.add_argument("--shapes", action="store_true", help="only boot, on every shape")
    opts = parser.parse_args()
    os.chdir(ROOT)
    matrix = Matrix(os.path.abspath(opts.build), opts.target, opts.only)
    begin = time.monotonic()
    if opts.shapes:
        matrix.shapes()
    else:
        matrix.run()
    sys.exit(not matrix.verdict(time.monotonic() - begin))


if __name__ == "__main__":
    main()
