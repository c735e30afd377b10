#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the programs of misuse, each in a process or a boot of its own.

    run.py <spanheap-misuse> [<kernel.elf>]

Each runs twice where that makes a difference: with what is always on, and with every
object guarded (<spanheap/guard.h>). What counts is the report: a program says which
it expects before it does anything wrong. The table in the program says of each class
whether it is found; a class that is not found although the table says so, or is found
although it does not, is a failure, as is any word about a legal use. Without a kernel
its classes are left out.
"""
import concurrent.futures
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import qemu  # noqa: E402

CLASSES = 30
REPORT = re.compile(r"^(?:panic|log|refused): .*")
ORDER = {"found": 0, "kernel": 0, "harmless": 1, "unseen": 2, "legal": 3}


class Program:
    def __init__(self, line, binary, kernel, guarded):
        number, always, with_guard, self.what, self.case = line.rstrip("\n").split("\t")
        self.fate = with_guard if guarded else always
        self.number, self.binary, self.kernel, self.guarded = int(number), binary, kernel, guarded
        self.report = self.problem = None

    def _boot(self):
        text = b"panic: stack overflow at 0xffffe"
        boot = qemu.Run(qemu.Machine(self.kernel, smp=2, mem="256M"),
                        f"mode=selftest filter={self.case} dies", 120)
        if boot.run() == qemu.PANIC and text in boot.output:
            self.report = next(l for l in boot.output.decode(errors="replace").splitlines()
                               if l.startswith("panic:"))
            return "found"
        self.problem = "\n".join([boot.how()] + boot.tail())
        return "broken"

    def _process(self):
        done = subprocess.run([self.binary] + ["guard"] * self.guarded + [str(self.number)],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120)
        lines = done.stdout.decode(errors="replace").splitlines()
        expected = [l.removeprefix("expect: ") for l in lines if l.startswith("expect: ")]
        reports = [l for l in lines if REPORT.match(l)]
        harmless = [l for l in lines if l.startswith("harmless: ")]
        wrong = [l for l in lines if l.startswith("broken: ")]
        died = done.returncode < 0
        self.problem = "\n".join(lines[-20:] + [f"status {done.returncode}"])
        if wrong or done.returncode > 0:
            return "broken"
        if len(expected) == 1 and reports and reports[0].startswith(expected[0]) and \
                died == expected[0].startswith("panic: "):
            self.report = reports[0]
            return "found"
        if reports or died:
            return "broken"
        if harmless:
            self.report = harmless[0]
            return "harmless"
        return "unseen" if lines[-1:] == ["the end"] else "broken"

    def run(self):
        try:
            got = self._boot() if self.fate == "kernel" else self._process()
        except (subprocess.TimeoutExpired, OSError) as e:
            self.problem, got = str(e), "broken"
        wanted = {"kernel": "found", "legal": "unseen"}.get(self.fate, self.fate)
        self.good = got == wanted
        if not self.good:
            self.problem = f"expected {wanted}, but {got}\n{self.problem}"
        return self

    def line(self):
        name = {"found": "found", "kernel": "found", "harmless": "harmless",
                "unseen": "not found", "legal": "silent"}[self.fate]
        if not self.good:
            return f"not ok {self.number} {self.what}\n{self.problem}"
        return f"{name}\t{self.number}\t{self.what}" + (f"\t{self.report}" if self.report else "")


def caught(programs):
    """Classes that were reported, or had no effect."""
    return {p.number for p in programs if p.good and p.fate in ("found", "kernel", "harmless")}


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    binary, kernel = sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else None
    table = subprocess.run([binary, "--list"], stdout=subprocess.PIPE, check=True, text=True)
    lines = table.stdout.splitlines()
    programs = [Program(l, binary, kernel, guarded) for guarded in (False, True) for l in lines]
    if sorted(p.number for p in programs[:len(lines)] if p.number <= 100) != \
            list(range(1, CLASSES + 1)):
        sys.exit(f"misuse: the table does not have the classes 1 to {CLASSES}, each once")
    programs = [p for p in programs if p.fate in ORDER and (kernel or p.fate != "kernel")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(Program.run, programs))
    for guarded in (False, True):
        print(f"--- {'every object guarded' if guarded else 'always on'}")
        for p in sorted(programs, key=lambda p: (ORDER[p.fate], p.number)):
            if p.guarded == guarded:
                print(p.line())
    bad = sum(not p.good for p in programs)
    print(f"legal uses: {sum(p.fate == 'legal' and p.good for p in programs)} of "
          f"{sum(p.fate == 'legal' for p in programs)} silent; "
          f"programs that did not end as the table says: {bad}")
    always = caught(p for p in programs if not p.guarded)
    print(f"with what is always on: {len(always)} of {CLASSES}")
    print(f"classes found: {len(always | caught(programs))} of {CLASSES}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
