#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The recorder of malloc traces, tried on a program whose calls are known.

    record.py RECORDER CALLS

RECORDER is librecord.so, CALLS the program of tests/traces/calls.c. Traces are read
by a reader of their own, so that format and writer are checked against the words
of tests/traces/trace.h and not against its code. Last line: N passed, N failed.
"""
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile

MARK, THREAD_EVENTS = 54321, 4 * 10000 * 3
OPS = {1: "malloc", 2: "calloc", 3: "aligned", 4: "realloc", 5: "free"}
PLAIN = ["malloc 100 -> 0", "calloc 21 -> 1", "malloc 5 -> 2", "realloc 0 200000", "free 1",
         "aligned 64 1000 -> 1", "aligned 4096 10 -> 3", "realloc 2 40", "free 2", "free 0",
         "free 3", "free 1"]


class Damaged(Exception):
    pass


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def read(path):
    """The events of a trace, as text; each slot in use once at a time."""
    with open(path, "rb") as file:
        data = file.read(8 << 20)
    if data[:8] != b"spantrc1":
        raise Damaged("no trace")
    nevents, nslots = struct.unpack("<II", data[8:16])
    at, live, free, used, events = 16, set(), [], 0, []
    while at < len(data) and data[at]:
        op, value = OPS.get(data[at] & 7), data[at] >> 3
        at += 1
        if value == 31:
            more, at = varint(data, at)
            value += more
        if op in ("malloc", "calloc", "aligned"):
            text = f"{op} {value}"
            if op == "aligned":
                size, at = varint(data, at)
                text = f"{op} {1 << value} {size}"
            if not free:
                free.append(used)
                used += 1
            slot = free.pop()
            live.add(slot)
            events.append(f"{text} -> {slot}")
            continue
        if value not in live:
            raise Damaged(f"event {len(events)}: {op} of slot {value}, which is free")
        if op == "realloc":
            size, at = varint(data, at)
            events.append(f"realloc {value} {size}")
        else:
            live.remove(value)
            free.append(value)
            events.append(f"free {value}")
    if (nevents, nslots) != (len(events), used):
        raise Damaged(f"{len(events)} events, {used} slots; the header: {nevents}, {nslots}")
    return events


class Test:
    def __init__(self, recorder, calls, folder):
        self.recorder, self.calls, self.folder = recorder, calls, folder
        self.passed = self.failed = 0

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, mode, trace, status=0):
        done = subprocess.run([self.calls, mode], capture_output=True, text=True, timeout=60,
                              env={"LD_PRELOAD": self.recorder, "SPANHEAP_TRACE": trace})
        if done.returncode != status:
            raise Damaged(f"{mode}: status {done.returncode} {done.stderr}")
        return done.stderr

    def events(self, mode, status=0):
        """What the program itself called: from behind the mark on."""
        trace = self.path(mode)
        self.run(mode, trace, status)
        events = read(trace)
        mark = next(i for i, event in enumerate(events) if event.startswith(f"malloc {MARK} "))
        return events[mark + 2:]

    def check(self, name, good, detail=""):
        print(f"{'ok' if good else 'not ok'} {name}{'' if good else ': ' + str(detail)}")
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)

    def case(self, function):
        try:
            function()
        except (Damaged, StopIteration, IndexError, OSError) as error:
            self.check(function.__name__, False, repr(error))

    # ---- Cases ----

    def plain(self):
        events = self.events("plain")
        # Slots below are taken by the C library's own.
        slots = sorted({int(m[1]) for e in events if (m := re.search(r"-> (\d+)", e))})
        names = {str(slot): str(i) for i, slot in enumerate(slots)}
        renamed = [re.sub(r"(?<=-> )\d+|(?<=^free )\d+|(?<=^realloc )\d+",
                          lambda m: names[m[0]], event) for event in events]
        self.check("each call as it was made", renamed[:len(PLAIN)] == PLAIN, renamed)

    def many(self):
        events = self.events("many")
        self.check("more objects than the first table holds",
                   sum(e.startswith("malloc") for e in events) == 20000 and
                   sum(e.startswith("free") for e in events) == 20000, len(events))

    def killed(self):
        events = self.events("killed", -signal.SIGKILL)
        self.check("a killed program's trace is whole",
                   len(events) == 2 and events[0].startswith("malloc 10 "), events)

    def forked(self):
        events = self.events("forked")
        self.check("a fork's calls are its own",
                   not any(e.startswith("malloc 20 ") for e in events) and
                   events[0].startswith("malloc 10 ") and
                   events[0].split()[-1] == events[-1].split()[-1], events)

    def threads(self):
        events = self.events("threads")
        pairs = [e for e in events if not e.startswith(("calloc", "aligned"))]
        self.check("calls of four threads in one order",
                   THREAD_EVENTS <= len(pairs) <= THREAD_EVENTS + 16, len(pairs))

    def existing(self):
        trace = self.path("existing")
        with open(trace, "w", encoding="ascii") as file:
            file.write("mine")
        said = self.run("plain", trace)
        with open(trace, encoding="ascii") as file:
            self.check("a file that exists is left alone",
                       file.read() == "mine" and "File exists" in said, said)

    def numbered(self):
        self.run("plain", self.path("a%pb"))
        names = [n for n in os.listdir(self.folder) if re.fullmatch(r"a\d+b", n)]
        self.check("%p is the process", len(names) == 1 and len(read(self.path(names[0]))) >= 14,
                   names)


def main():
    recorder, calls = map(os.path.abspath, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        test = Test(recorder, calls, folder)
        for function in (test.plain, test.many, test.killed, test.forked, test.threads,
                         test.existing, test.numbered):
            test.case(function)
    print(f"{test.passed} passed, {test.failed} failed")
    sys.exit(test.failed > 0)


if __name__ == "__main__":
    main()
