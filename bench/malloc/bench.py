#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Our malloc beside the allocators installed on this machine.

    bench.py --build DIR --ours LIBRARY [--filter GLOBS] [--rounds N] [--insn]

For each case: N rounds, in each of them one process for each allocator, in turn, so
that a machine that slows down slows all of them down. The figure of a case is the
median of the rounds. Lines

    bench<TAB>case<TAB>allocator<TAB>unit<TAB>value

come as soon as a case is done; lower is better in every unit. A summary follows, in
lines that begin with #: of each allocator the geometric mean over the cases of its
figure over the best of the others'. --insn counts instructions (callgrind) of the
cases with one thread as well.

Exits with 1 if a run failed, ours or a peer's, and says which.
"""
import argparse
import collections
import fnmatch
import glob
import math
import os
import re
import shutil
import statistics
import subprocess
import sys

import programs

OURS = "spanheap"
PEERS = {"glibc": "libc.so.6", "mimalloc": "libmimalloc.so.2", "jemalloc": "libjemalloc.so.2",
         "tcmalloc": "libtcmalloc_minimal.so.4"}
TIMEOUT = 60
INSN_SCALE = 20
MEMORY_UNITS = ("KiB", "resident/live")
# A start costs less than the clock can tell; its memory is a figure.
TIMELESS = ("start",)


def libraries():
    """soname: path, of what the loader would find."""
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    text = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        if m := re.match(r"\s+(\S+) \(libc6,x86-64.*=> (.+)$", line):
            found.setdefault(m[1], m[2])
    return found


class Bench:
    def __init__(self, options):
        build = os.path.abspath(options.build)
        self.program = os.path.join(build, "malloc-bench")
        self.measure = os.path.join(build, "measure")
        self.scratch = os.path.join(build, "scratch")
        self.rounds, self.filter = options.rounds, options.filter.split(",")
        self.ours = os.path.abspath(options.ours)
        self.allocators, self.failures = {}, []
        # case, allocator, unit: value
        self.figures = collections.defaultdict(dict)
        self.memory_cases = set()
        shutil.rmtree(self.scratch, ignore_errors=True)
        os.makedirs(self.scratch)

    def find_allocators(self):
        found = libraries()
        wanted = {OURS: self.ours} | {name: found.get(so) for name, so in PEERS.items()}
        for name, path in wanted.items():
            if not path or not os.path.exists(path):
                print(f"# {name}: not installed")
                continue
            who = self.run([self.program, "--who"], path).strip()
            if os.path.realpath(who) != os.path.realpath(path):
                sys.exit(f"bench.py: {name}: {path} was not preloaded; malloc is {who}'s")
            self.allocators[name] = path
        if not self.allocators:
            sys.exit("bench.py: no allocator to measure")

    @staticmethod
    def run(argv, preload, timeout=TIMEOUT):
        done = subprocess.run(argv, env=dict(os.environ, LD_PRELOAD=preload), text=True,
                              capture_output=True, timeout=timeout)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise programs.Failed(f"status {done.returncode}: {lines[-1] if lines else ''}")
        return done.stdout

    def chosen(self, case):
        return any(fnmatch.fnmatchcase(case, glob_) for glob_ in self.filter)

    def micro_cases(self):
        """case, arguments, threads, whether its memory is a figure."""
        text = subprocess.run([self.program, "--list"], capture_output=True, text=True,
                              check=True).stdout
        for line in text.splitlines():
            name, threads, holds = line.split("\t")
            if name != "replay":
                yield name, [name], int(threads), holds == "holds"
                continue
            for trace in sorted(glob.glob(os.path.join(programs.ROOT, "tests/traces/*.trace"))):
                short = os.path.splitext(os.path.basename(trace))[0]
                yield f"replay/{short}", ["--trace=" + trace, name], 1, True

    # ---- Measuring ----

    def interleave(self, case, measure, rounds):
        """measure(path) gives [(part, unit, value)]; medians go into the books, and out."""
        values = collections.defaultdict(list)
        names = list(self.allocators)
        for turn in range(rounds):
            for name in names[turn % len(names):] + names[:turn % len(names)]:
                try:
                    for part, unit, value in measure(self.allocators[name]):
                        values[case + part, name, unit].append(value)
                except (programs.Failed, subprocess.TimeoutExpired) as error:
                    self.failures.append(f"{case} {name}: {error}")
        for key in sorted(values, key=lambda k: (k[0], k[2], names.index(k[1]))):
            part, name, unit = key
            self.figures[part, unit][name] = statistics.median(values[key])
            print(f"bench\t{part}\t{name}\t{unit}\t{self.figures[part, unit][name]:.2f}",
                  flush=True)

    def micro(self, args):
        def measure(path):
            for line in self.run([self.program, *args], path).splitlines():
                part, unit, value = line.split("\t")
                yield part, unit, float(value)
        return measure

    def counted(self, args):
        def measure(path):
            out = os.path.join(self.scratch, "callgrind.out")
            argv = ["valgrind", "--tool=callgrind", "--toggle-collect=bench_counted",
                    f"--callgrind-out-file={out}", self.program, f"--scale={INSN_SCALE}", *args]
            text = self.run(argv, path, 10 * TIMEOUT)
            ops = next(float(line.split("\t")[2]) for line in text.splitlines()
                       if "\tops\t" in line)
            with open(out, encoding="ascii") as file:
                total = next(int(line.split()[1]) for line in file if line.startswith("totals:"))
            yield "", "insn/op", total / ops
        return measure

    def whole(self, function):
        def measure(path):
            run = programs.Run(self.measure, path, self.scratch)
            function(run)
            return run.figures()
        return measure

    def all(self, insn):
        any_case = False
        for case, args, threads, holds in self.micro_cases():
            if not self.chosen(case):
                continue
            any_case = True
            if holds:
                self.memory_cases.add(case)
            self.interleave(case, self.micro(args), self.rounds)
            if insn and threads == 1 and not case.startswith("resident"):
                self.interleave(case, self.counted(args), 1)
        for name, function in programs.PROGRAMS.items():
            case = "program/" + name
            if not self.chosen(case):
                continue
            any_case = True
            if lacks := programs.missing(name):
                print(f"# {case}: {lacks} is not installed")
                continue
            self.memory_cases.add(case)
            self.interleave(case, self.whole(function), self.rounds)
        return any_case

    # ---- Summary ----

    def ratios(self, name, units, cases=None):
        """case: (figure of name over the best of the others', who is best)."""
        out = {}
        for (case, unit), values in self.figures.items():
            others = {n: v for n, v in values.items() if n not in (name, OURS)}
            if unit not in units or name not in values or not others:
                continue
            if cases is not None and case.split(".")[0] not in cases:
                continue
            best = min(others, key=others.get)
            if others[best] > 0:
                out[f"{case} {unit}"] = (values[name] / others[best], best)
        return out

    def summary(self):
        print("#\n# Each over the best of the other peers: geometric mean, worst case")
        groups = [("time", ("ns/op", "ms"), None), ("instructions", ("insn/op",), None),
                  ("memory", MEMORY_UNITS, self.memory_cases)]
        for title, units, cases in groups:
            for name in self.allocators:
                ratios = self.ratios(name, units, cases)
                for timeless in TIMELESS:
                    ratios.pop(f"{timeless} ns/op", None)
                    ratios.pop(f"{timeless} insn/op", None)
                if not ratios:
                    continue
                mean = math.exp(sum(math.log(r) for r, _ in ratios.values()) / len(ratios))
                case = max(ratios, key=lambda c: ratios[c][0])
                print(f"# {title:12s} {name:9s} {mean:6.3f} over {len(ratios)} cases; worst "
                      f"{ratios[case][0]:.2f}: {case} (best: {ratios[case][1]})")
                if name == OURS:
                    self.worst(title, ratios)
        for failure in self.failures:
            print(f"# FAILED {failure}")

    @staticmethod
    def worst(title, ratios):
        bad = sorted((c for c in ratios if ratios[c][0] > 1.15), key=lambda c: -ratios[c][0])
        for case in bad:
            print(f"#   {title} {ratios[case][0]:6.2f}  {case} (best: {ratios[case][1]})")


def main():
    parser = argparse.ArgumentParser(description="malloc benchmarks, ours beside the others")
    parser.add_argument("--build", required=True, help="folder with malloc-bench and measure")
    parser.add_argument("--ours", required=True, help="our library")
    parser.add_argument("--filter", default="*", help="globs, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--insn", action="store_true", help="count instructions as well")
    options = parser.parse_args()
    options.filter = options.filter or "*"

    bench = Bench(options)
    bench.find_allocators()
    if not bench.all(options.insn):
        sys.exit(f"bench.py: no case matches {options.filter}")
    bench.summary()
    sys.exit(1 if bench.failures else 0)


if __name__ == "__main__":
    main()
