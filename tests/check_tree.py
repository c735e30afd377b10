#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks rules of the source tree that no compiler knows.

    includes   calls go down only: init -> mm -> lib -> arch; mm/ sees the port header
               and lib/, nothing else
    files      SPDX line on top, at most 700 lines of 100 columns, no path of one machine
    names      what is static in mm/ has a name of its own, so that it builds as one file
               (two variables alike would silently become one)

Prints one KTAP result for each rule.
"""
import collections
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAX_LINES, MAX_COLUMNS = 700, 100
SKIP_DIRS = {".git", "build", "__pycache__"}
UNMARKED = {"COPYING", ".clang-format", ".gitattributes"}
GENERATED = {"mm/sizeclass_table.h", "include/spanheap/kmalloc_class.h"}
SOURCE = (".c", ".h", ".S", ".ld", ".py", ".sh", ".mk")

STDC = r"std(arg|bool|def|int)\.h"
LIBC = r"(errno|malloc|pthread|sched|stdlib|string|time|unistd|sys/(mman|uio))\.h"
SPANHEAP = r"spanheap(_port)?[/.].*"
FORBIDDEN_PATH = re.compile(r"(?<![\w.])/(home|root|tmp|work)/")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")

# Who may include what: the first prefix that matches a file decides.
LAYERS = [
    ("include/spanheap/", [STDC, SPANHEAP]),
    ("lib/", [STDC, SPANHEAP, r"lib/.*"]),
    ("mm/", [STDC, SPANHEAP, r"lib/.*", r"mm/.*"]),
    ("include/kernel/", [STDC, SPANHEAP, r"lib/.*", r"kernel/.*"]),
    ("include/kunit/", [STDC, r"kunit/.*"]),
    ("arch/malloc/", [STDC, LIBC, SPANHEAP, r"lib/.*", r"arch/(malloc/.*|posix\.h)"]),
    ("malloc/", [STDC, LIBC, SPANHEAP, r"lib/.*", r"mm/.*", r"arch/malloc/.*", r"malloc/.*"]),
    ("arch/x86_64/", [STDC, SPANHEAP, r"lib/.*", r"kernel/.*", r"arch/x86_64/.*"]),
    ("boot/efi/", [STDC, r"efi(lib)?\.h", r"kernel/(boot_info|image)\.h", r"boot/efi/.*"]),
    ("boot/", [STDC, SPANHEAP, r"lib/.*", r"kernel/.*", r"boot/pvh/.*", r"arch/x86_64/.*"]),
    ("init/", [STDC, SPANHEAP, r"lib/.*", r"kernel/.*", r"kunit/run\.h", r"init/.*"]),
    ("tests/kunit/", [STDC, SPANHEAP, r"lib/.*", r"kunit/.*", r"tests/kunit/.*"]),
    ("tests/suites/", [STDC, SPANHEAP, r"lib/.*", r"mm/.*", r"kunit/.*", r"kernel/(acpi|task)\.h",
                       r"tests/(suites|traces)/.*"]),
]
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]')
STATIC = re.compile(r"^static (?!inline)[^=;(]*?\b(\w+)\(")
STATIC_VARIABLE = re.compile(r"^static [^(;={]*?\b(\w+)(?:\[.*?\])*(?: = | ?;)|"
                             r"^static [^;={(]*\(\*(\w+)\)\(")
ATTRIBUTE = re.compile(r"__attribute__\(\(.*?\)\) ?")


def tree(root):
    for folder, dirs, files in os.walk(root):
        dirs[:] = sorted(d for d in dirs if d not in SKIP_DIRS)
        for name in sorted(files):
            path = os.path.relpath(os.path.join(folder, name), root)
            try:
                with open(os.path.join(root, path), encoding="utf-8") as f:
                    yield path, f.read().split("\n")
            except UnicodeDecodeError:
                pass


def includes(path, lines):
    allowed = next((rules for prefix, rules in LAYERS if path.startswith(prefix)), None)
    if allowed is None or not path.endswith((".c", ".h", ".S")):
        return
    for number, line in enumerate(lines, 1):
        m = INCLUDE.match(line)
        if m and not any(re.fullmatch(rule, m[1]) for rule in allowed) and \
                not os.path.exists(os.path.join(ROOT, os.path.dirname(path), m[1])):
            yield f"{path}:{number}: {m[1]} is not for this layer"


def files(path, lines):
    if path.endswith(".md") or path in UNMARKED:
        return
    if not any("SPDX-License-Identifier:" in line for line in lines[:2]):
        yield f"{path}:1: no SPDX line"
    if lines[-1] != "":
        yield f"{path}:{len(lines)}: no newline at the end"
    if not path.endswith(SOURCE) and path != "Makefile":
        return
    if len(lines) - 1 > MAX_LINES and path not in GENERATED:
        yield f"{path}:{len(lines) - 1}: more than {MAX_LINES} lines"
    for number, line in enumerate(lines, 1):
        if len(line.expandtabs(8)) > MAX_COLUMNS and path.endswith((".c", ".h", ".S", ".py")) \
                and path not in GENERATED:
            yield f"{path}:{number}: more than {MAX_COLUMNS} columns"
        if line != line.rstrip():
            yield f"{path}:{number}: space at the end"
        if FORBIDDEN_PATH.search(line):
            yield f"{path}:{number}: a path of one machine"
        if UNFINISHED.search(line):
            yield f"{path}:{number}: unfinished"


def names(sources):
    where = collections.defaultdict(set)
    for path, lines in sources:
        if path.startswith("mm/") and path.endswith(".c"):
            for line in lines:
                bare = ATTRIBUTE.sub("", line)
                if m := STATIC_VARIABLE.match(bare) or STATIC.match(bare):
                    where[m[1] or m[2]].add(path)
    for name, paths in sorted(where.items()):
        if len(paths) > 1:
            yield f"{name} is static in {', '.join(sorted(paths))}"


def main():
    sources = list(tree(ROOT))
    rules = {
        "includes": [p for s in sources for p in includes(*s)],
        "files": [p for s in sources for p in files(*s)],
        "names": list(names(sources)),
    }
    print("KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: tree")
    print(f"  1..{len(rules)}")
    for number, (name, problems) in enumerate(rules.items(), 1):
        for problem in problems:
            print(f"  # {problem}")
        print(f"  {'not ok' if problems else 'ok'} {number} {name}")
    bad = any(rules.values())
    print(f"{'not ok' if bad else 'ok'} 1 tree")
    sys.exit(bad)


if __name__ == "__main__":
    main()
