#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Our kernel's benchmark figures beside Linux's, with the ratio of each case.

    compare.py OURS LINUX [--version FILE]

Both files hold lines of the form kbench<TAB>case<TAB>unit<TAB>value, Linux's
with linux/ before the case. Ours come first, in their own order; what only one
side has is shown without a ratio.
"""
import argparse
import sys


def read(path, prefix):
    """The figures of a file: {(case, unit): value}, in the file's order."""
    figures = {}
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            fields = line.rstrip("\r\n").split("\t")
            if len(fields) != 4 or fields[0] != "kbench" or not fields[1].startswith(prefix):
                continue
            figures[fields[1][len(prefix):], fields[2]] = float(fields[3])
    return figures


def number(value):
    return "-" if value is None else f"{value:.2f}"


def table(ours, linux, linux_name):
    """Lines of text: case, ours, Linux's, how many times ours Linux's is."""
    rows = [("case", "unit", "spanheap", linux_name, "ratio")]
    for case, unit in list(ours) + [key for key in linux if key not in ours]:
        mine, theirs = ours.get((case, unit)), linux.get((case, unit))
        ratio = f"{theirs / mine:.2f}" if mine and theirs is not None else "-"
        rows.append((case, unit, number(mine), number(theirs), ratio))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        yield "  ".join(text.ljust(width) if i < 2 else text.rjust(width)
                        for i, (text, width) in enumerate(zip(row, widths)))


def main():
    parser = argparse.ArgumentParser(description="kbench figures beside Linux's")
    parser.add_argument("ours")
    parser.add_argument("linux")
    parser.add_argument("--version", help="file with the version of the Linux package")
    args = parser.parse_args()

    name = "linux"
    if args.version:
        with open(args.version, encoding="utf-8") as file:
            name += " " + file.read().strip()
    ours, linux = read(args.ours, ""), read(args.linux, "linux/")
    if not ours or not linux:
        sys.exit(f"compare.py: no figures in {args.linux if ours else args.ours}")
    print("\n".join(table(ours, linux, name)))
    print("ratio: how many times our figure Linux's is; above 1 we need less")


if __name__ == "__main__":
    main()
