#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How many bytes of stack each public call needs at worst, from gcc's call graph.

    stack.py <spanheap.ci> <public.txt> [<calls to show>]

gcc -fcallgraph-info=su writes for each function its frame and whom it calls; the most
expensive way down is summed up, 8 bytes for each return address included. Not in the
sum: what is called by pointer (handlers, constructors, a port's requests), what the port
needs, and more than one round of a function that calls itself: named below the table.
"""
import re
import sys

RETURN_ADDRESS = 8
NODE = re.compile(r'node: \{ title: "([^"]+)" label: "([^"]*)"')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
FRAME = re.compile(r"(\d+) bytes \(")


class Graph:
    def __init__(self, text):
        self.frame, self.calls = {}, {}
        for name, label in NODE.findall(text):
            frame = FRAME.search(label)
            self.frame[name] = int(frame[1]) + RETURN_ADDRESS if frame else 0
        for caller, called in EDGE.findall(text):
            self.calls.setdefault(caller, set()).add(called)
        self.circles, self.known = set(), {}

    def worst(self, name, above=()):
        """Return: bytes, and the way down as a list of names."""
        if name in above:
            self.circles.add(name)
            return 0, []
        if name not in self.known:
            below = [self.worst(c, above + (name,)) for c in self.calls.get(name, ())]
            size, way = max(below, default=(0, []))
            self.known[name] = size + self.frame.get(name, 0), [name] + way
        return self.known[name]


def short(name):
    return name.split(":")[-1].split(".")[0]


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as f:
        graph = Graph(f.read())
    with open(sys.argv[2], encoding="utf-8") as f:
        public = [n for n in f.read().split() if graph.frame.get(n)]
    wanted = sys.argv[3].split(",") if len(sys.argv) == 4 else public
    for size, way in sorted((graph.worst(n) for n in public if n in wanted), reverse=True):
        largest = max(way, key=graph.frame.get)
        print(f"{size:6} {way[0]:24} of it {graph.frame[largest]} in {short(largest)}()")
    print("call themselves: " + ", ".join(sorted(short(n) for n in graph.circles)))


if __name__ == "__main__":
    main()
