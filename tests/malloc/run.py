#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make test-malloc`: the malloc library under its own tests and under programs.

    calls      tests/malloc/*.c: shared, static, static under valgrind, sanitized
    machine    tests/malloc/machine.py: random sequences against a model
    install    what `make install` puts where, used through pkg-config
    programs   each twice, with the library preloaded and without: the same output
    benchmarks every case of bench/malloc for a moment, and of its runner what needs no peer

As many steps at a time as there are CPUs, at most two. One line for each as it ends; the
last one says `N passed, N failed`.
"""
import argparse
import concurrent.futures
import functools
import glob
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

import programs

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
VALGRIND = ["valgrind", "-q", "--error-exitcode=99", "--fair-sched=yes",
            "--soname-synonyms=somalloc=nouserintercepts"]
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)

INSTALLED = r"""
#include <stdio.h>
#include <stdlib.h>
#include <malloc.h>
int main(void)
{
	char *p = malloc(100);
	snprintf(p, 100, "%zu", malloc_usable_size(p));
	puts(p);
	free(p);
	return 0;
}
"""


class Steps:
    def __init__(self, only):
        self.only, self.passed, self.failed = only, 0, 0
        self.lock = threading.Lock()

    def wanted(self, name):
        return not self.only or re.search(self.only, name)

    def record(self, name, passed, failed, text, begin):
        with self.lock:
            self.passed += passed
            self.failed += failed
            print(f"{'not ok' if failed else 'ok'} {name}: {text} "
                  f"({time.monotonic() - begin:.1f} s)", flush=True)

    def command(self, name, command, env=None, timeout=200):
        """A program that prints `N passed, N failed`, or else counts as one."""
        if not self.wanted(name):
            return
        begin = time.monotonic()
        try:
            done = subprocess.run(command, env=env, timeout=timeout, text=True, errors="replace",
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as e:
            status, output = "time-out", (e.stdout or b"").decode(errors="replace")
        found = SUMMARY.findall(output)
        passed, failed = map(int, found[-1]) if found else (int(status == 0), 0)
        if status != 0 and not failed:
            failed = 1
        self.record(name, passed, failed, f"{passed} passed, {failed} failed", begin)
        if failed:
            print(f"    status {status}")
            print("    " + output[-4000:].replace("\n", "\n    "))

    def compare(self, name, run, library):
        """The outcome of @run without and with the library."""
        if not self.wanted(name):
            return
        begin = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="spanheap-") as folder:
                plain = run(os.path.join(folder, "plain"), {})
                ours = run(os.path.join(folder, "ours"), {"LD_PRELOAD": library})
        except (OSError, subprocess.SubprocessError, programs.Missing) as e:
            self.record(name, 0, 1, str(e), begin)
            return
        same = plain == ours and plain
        self.record(name, int(bool(same)), int(not same),
                    f"{len(plain)} bytes alike" if same else "not the same", begin)
        if not same:
            print(f"    plain: {plain[-1500:]!r}\n    ours:  {ours[-1500:]!r}")


def check_install(steps, opts):
    if not steps.wanted("install"):
        return
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="spanheap-") as folder:
        def sh(command):
            return subprocess.run(command, shell=True, text=True, cwd=folder, timeout=100,
                                  capture_output=True)
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        done = subprocess.run(["make", "--no-print-directory", f"O={opts.build}", "install",
                               "PREFIX=/opt/it", f"DESTDIR={folder}"], cwd=ROOT, env=env,
                              capture_output=True, text=True, timeout=200)
        with open(os.path.join(folder, "it.c"), "w", encoding="ascii") as f:
            f.write(INSTALLED)
        lib = f"{folder}/opt/it/lib"
        pc = (f"PKG_CONFIG_LIBDIR={lib}/pkgconfig pkg-config --define-variable=libdir={lib} "
              "spanheap")
        checks = [
            sh(f"{opts.cc} it.c -o shared $({pc} --libs) && LD_LIBRARY_PATH={lib} ./shared && "
               f"LD_LIBRARY_PATH={lib} ldd ./shared | grep -q libspanheap.so.0"),
            sh(f"{opts.cc} it.c -o static {lib}/libspanheap.a $({pc} --libs --static | "
               "sed 's/-L[^ ]* -lspanheap//') && ./static && ! ldd ./static | grep spanheap"),
        ]
        good = done.returncode == 0 and all(c.returncode == 0 and c.stdout == "112\n"
                                            for c in checks)
        steps.record("install", int(good), int(not good), "shared and static, by pkg-config",
                     begin)
        if not good:
            print(done.stdout, done.stderr, *(c.stdout + c.stderr for c in checks))


FIGURE = re.compile(r"^[.\w]*\t(ns/op|ops|KiB|resident/live)\t\d+\.\d\d$")
BENCH_LINE = re.compile(r"^bench\t(start|replay/\w+)\tspanheap\t(ns/op|KiB)\t\d+\.\d\d$")


def bench_case(program, library, args):
    """What is wrong with a case that runs a thousandth of its operations, or ""."""
    done = subprocess.run([program, "--scale=1000", *args], text=True, capture_output=True,
                          timeout=100, env=dict(os.environ, LD_PRELOAD=library))
    figures = done.stdout.splitlines()
    if done.returncode or not all(map(FIGURE.match, figures)):
        return f"status {done.returncode}: {done.stdout}{done.stderr}"
    units = [line.split("\t")[1] for line in figures if line.startswith("\t")]
    return "" if units == ["ns/op", "ops", "KiB"] else f"figures: {units}"


def check_bench(steps, opts, library):
    if not steps.wanted("bench"):
        return
    begin = time.monotonic()
    folder = os.path.join(opts.build, "malloc-bench")
    program = os.path.join(folder, "malloc-bench")
    names = [line.split("\t")[0] for line in subprocess.run(
        [program, "--list"], text=True, capture_output=True, check=True).stdout.splitlines()]
    traces = sorted(glob.glob(os.path.join(ROOT, "tests/traces/*.trace")))
    cases = [[name] for name in names if name != "replay"]
    cases += [["--trace=" + trace, "replay"] for trace in traces]
    wrong = {" ".join(args): text for args in cases
             if (text := bench_case(program, library, args))}
    runner = subprocess.run(
        ["python3", os.path.join(ROOT, "bench/malloc/bench.py"), "--build", folder, "--ours",
         library, "--rounds", "1", "--filter", "start,replay/*"], text=True,
        capture_output=True, timeout=200, check=False)
    lines = [line for line in runner.stdout.splitlines() if BENCH_LINE.match(line)]
    if runner.returncode or len(lines) != 2 * (1 + len(traces)):
        wrong["bench.py"] = runner.stdout + runner.stderr
    steps.record("bench", len(cases) + 1 - len(wrong), len(wrong),
                 f"{len(cases)} cases and the runner", begin)
    for name, text in wrong.items():
        print(f"    {name}: {text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--only", help="only steps whose name matches")
    opts = parser.parse_args()
    opts.build = os.path.abspath(opts.build)
    library = os.path.join(opts.build, "libspanheap.so")
    tests = os.path.join(opts.build, "malloc-test")
    steps = Steps(opts.only)
    # What takes longest begins first.
    todo = [functools.partial(steps.command, "calls-valgrind",
                              VALGRIND + [os.path.join(tests, "static"), "--slow"])]
    todo += [functools.partial(steps.compare, f"program-{name}", run, library)
             for name, run in sorted(programs.all_of(opts), key=lambda p: p[0] != "python3")]
    todo += [functools.partial(steps.command, *args) for args in [
        *((f"calls-{name}", [os.path.join(tests, name)]) for name in ("dynamic", "static", "asan")),
        ("threads-tsan", [os.path.join(tests, "tsan"), "threads."]),
        ("machine", ["/usr/bin/python3", "-B", os.path.join(HERE, "machine.py"), library])]]
    todo += [functools.partial(check_install, steps, opts),
             functools.partial(check_bench, steps, opts, library)]
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for step in [pool.submit(step) for step in todo]:
            step.result()
    print(f"{steps.passed} passed, {steps.failed} failed")
    sys.exit(1 if steps.failed else 0)


if __name__ == "__main__":
    main()
