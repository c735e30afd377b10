#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots the kernel in QEMU and turns what happens into one verdict.

    run.py run        memory map, self-check, monitor; standard input is the keyboard
    run.py selftest   the suites; KTAP comes through, cases that must end in a panic
                      get a boot each and appear as one more suite, "dies"
    run.py kbench     benchmarks, counted in instructions

The machine comes from the variables of `make`: BOOT SMP MEM ACCEL QEMU_ARGS
FILTER TIMEOUT.
"""
import argparse
import concurrent.futures
import fnmatch
import os
import re
import sys
import termios
import time

import ktap
import qemu

NO_LIMIT = 0


def env(name, default):
    return os.environ.get(name) or default


def machine_of(opts, **more):
    shape = dict(kernel=opts.kernel, esp=opts.esp, boot=env("BOOT", opts.default_boot),
                 smp=int(env("SMP", "4")), mem=env("MEM", "1G"), accel=env("ACCEL", "tcg"),
                 args=env("QEMU_ARGS", ""))
    shape.update(more)
    return qemu.Machine(**shape)


def words(**pairs):
    """A command line for the kernel; values cannot hold spaces."""
    return " ".join(k if v is True else f"{k}={','.join(str(v).split())}"
                    for k, v in pairs.items() if v not in ("", None, False))


def to_stdout(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


# ---- selftest ----

class Selftest:
    """One boot of the suites, and the further boots of the cases that die."""

    def __init__(self, machine, filter_="", timeout=300, quick=False, out=None):
        self.machine, self.filter, self.timeout, self.quick = machine, filter_, timeout, quick
        self.out = out or (lambda line: None)
        self.ktap, self.problems, self.partial = ktap.Parser(), [], b""
        self.dies_planned = False

    def _line(self, line):
        self.ktap.feed(line)
        top = self.ktap.blocks[0] if self.ktap.blocks else None
        if self.ktap.deaths and not self.dies_planned and top and top.plan is not None:
            # The suite "dies" will follow the kernel's own.
            self.dies_planned = True
            line = f"1..{top.plan + 1}"
        self.out(line)

    def _sink(self, data):
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            self._line(line.decode(errors="replace"))

    def _die(self, name, text):
        """Boot for one case. Return: None, or what was wrong and the end of its output."""
        boot = qemu.Run(self.machine, words(mode="selftest", filter=name, dies=True), self.timeout)
        status = boot.run()
        if status == qemu.PANIC and text.encode() in boot.output:
            return None
        what = "the panic's report lacks the text" if status == qemu.PANIC else boot.how()
        return [f"expected a panic with: {text}", what] + boot.tail()

    def _die_all(self):
        deaths = self.ktap.deaths
        number = self.ktap.blocks[0].seen + 1
        bad = 0
        for line in ("KTAP version 1", "# Subtest: dies", f"1..{len(deaths)}"):
            self.out("  " + line)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            verdicts = list(pool.map(lambda death: self._die(*death), deaths))
        for i, ((name, _), wrong) in enumerate(zip(deaths, verdicts), 1):
            for line in wrong or []:
                self.out(f"  # {line}")
            self.out(f"  {'not ok' if wrong else 'ok'} {i} {name}")
            self.ktap.cases.append(ktap.Case(name, "failed" if wrong else "passed",
                                             [f"# {l}" for l in wrong or []]))
            bad += bool(wrong)
        self.out(f"{'not ok' if bad else 'ok'} {number} dies")

    def _judge(self, boot, status):
        """The status must agree with the results, and these with the plan."""
        if status != (qemu.FAILED if self.count("failed") else qemu.PASSED):
            self.problems.append(boot.how())
            if self.ktap.started and status != qemu.NOTHING:
                self.problems.append(f"it was in {self.ktap.where()}")
            self.problems += [f"  {l}" for l in boot.report()]
        if not self.ktap.started:
            self.problems += ["no KTAP came"] + boot.tail(1)
        elif not self.ktap.complete:
            self.problems.append("the plan was not carried out")

    def run(self):
        """Return: did all go well?"""
        begin = time.monotonic()
        boot = qemu.Run(self.machine, words(mode="selftest", filter=self.filter, quick=self.quick),
                        self.timeout, sink=self._sink)
        status = boot.run()
        if self.partial:
            self._line(self.partial.decode(errors="replace"))
        self._judge(boot, status)
        if self.ktap.complete and self.ktap.deaths:
            self._die_all()
        if not self.problems:
            self.ktap.finish()
            self.problems += self.ktap.errors
        self.seconds = time.monotonic() - begin
        self.boot = boot
        return not self.problems and not self.count("failed")

    def count(self, outcome):
        return self.ktap.count(outcome)

    def failures(self):
        """Lines that say what failed, with file, line and values."""
        lines = []
        for case in self.ktap.cases:
            if case.outcome == "failed":
                lines += [case.name] + [f"  {n.removeprefix('# ')}" for n in case.notes]
        return lines + self.problems

    def summary(self):
        skipped = self.count("skipped")
        broken = f", {self.problems[0]}" if self.problems else ""
        return (f"{self.count('passed')} passed, {self.count('failed')} failed" +
                (f", {skipped} skipped" if skipped else "") + broken +
                f" ({self.machine}, {self.seconds:.1f} s)")


def selftest(opts):
    test = Selftest(machine_of(opts), env("FILTER", ""), float(env("TIMEOUT", "300")),
                    out=lambda line: print(line, flush=True))
    good = test.run()
    for line in test.failures():
        print(f"# {line}")
    print(f"# selftest: {test.summary()}")
    return 0 if good else 1


# ---- run ----

class Keyboard:
    """Standard input; a terminal hands over each key at once and leaves echo to the guest."""

    def __enter__(self):
        self.fd, self.saved = sys.stdin.fileno(), None
        if os.isatty(self.fd):
            self.saved = termios.tcgetattr(self.fd)
            mode = termios.tcgetattr(self.fd)
            mode[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(self.fd, termios.TCSADRAIN, mode)
        return self

    def __exit__(self, *_):
        if self.saved:
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self.saved)


def run(opts):
    with Keyboard() as keyboard:
        # A person may sit at the prompt for as long as they like.
        limit = NO_LIMIT if keyboard.saved else float(env("TIMEOUT", "300"))
        boot = qemu.Run(machine_of(opts), words(mode="run"), limit, sink=to_stdout,
                        keyboard=keyboard.fd)
        status = boot.run()
    asked = re.search(rb"^reboot$", boot.output, re.M)
    if status == qemu.PASSED or (status == 0 and asked):
        return 0
    print(f"\nrun: {boot.how()}", *(boot.report() if boot.timed_out else []), sep="\n  ")
    return 1


# ---- kbench ----

def bench(machine, filter_, timeout):
    """Return: did the boot end well, with figures?"""
    boot = qemu.Run(machine, words(mode="kbench", filter=filter_), timeout)
    status = boot.run()
    lines = [l for l in boot.output.decode(errors="replace").splitlines()
             if l.startswith(("kbench\t", "#"))]
    print("\n".join(lines), flush=True)
    if status == qemu.PASSED and lines:
        return True
    print("\n".join(boot.tail()))
    print(f"kbench: {boot.how()} ({machine})")
    return False


def kbench(opts):
    """The cases; mm_init again with little and with much RAM; what needs several CPUs;
    interrupts-off time."""
    filter_, timeout = env("FILTER", ""), float(env("TIMEOUT", "300"))
    shape = dict(boot="pvh", smp=1, accel="tcg", icount=True)

    def wanted(*names):
        return not filter_ or any(fnmatch.fnmatchcase(n, f) for f in re.split(r"[,\s]+", filter_)
                                  for n in names)

    good, ran = True, False
    if not filter_ or not all(f.startswith(("irqoff_max", "mm_init/", "kmalloc_remote"))
                              for f in re.split(r"[,\s]+", filter_)):
        good &= bench(machine_of(opts, **shape), filter_, timeout)
        ran = True
    for mem in "64M", "1T":
        if wanted("mm_init", f"mm_init/{mem}"):
            good &= bench(machine_of(opts, mem=mem, **shape), "mm_init", timeout)
            ran = True
    if wanted("kmalloc_remote_alloc/64", "kmalloc_remote_free/64"):
        good &= bench(machine_of(opts, **{**shape, "smp": 2}), "kmalloc_remote*", timeout)
        ran = True
    if wanted("llfree/order0", "llfree/order9"):
        good &= bench(machine_of(opts, **{**shape, "smp": 4}), "llfree*", timeout)
        ran = True
    if wanted("irqoff_max"):
        good &= bench(machine_of(opts, kernel=opts.irqtrace, **shape), "", timeout)
        ran = True
    return 0 if good and ran else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["run", "selftest", "kbench"])
    parser.add_argument("--kernel", required=True, help="kernel.elf")
    parser.add_argument("--esp", help="file system image to boot by UEFI")
    parser.add_argument("--irqtrace", help="kernel.elf built with IRQ_TRACE=1")
    opts = parser.parse_args()
    opts.default_boot = "uefi" if opts.mode == "run" else "pvh"
    sys.exit({"run": run, "selftest": selftest, "kbench": kbench}[opts.mode](opts))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away; nothing is left to be said to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
