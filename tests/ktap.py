# SPDX-License-Identifier: MIT
"""Reads KTAP line by line and keeps what became of each case.

A block is "KTAP version 1", a plan "1..N" and N result lines; the blocks of
subtests stand indented before the result line of their parent. A result without
a block before it is a case; what is counted are cases. Lines of other kinds
(the kernel's log) have no effect.
"""
import re

RESULT = re.compile(r"^( *)(not ok|ok) (\d+)(?: -)?(?: ([^#]*?))?\s*(?:# *(\w+) ?(.*))?$")
PLAN = re.compile(r"^( *)1\.\.(\d+)\s*(#.*)?$")
VERSION = re.compile(r"^( *)KTAP version 1\s*$")
SUBTEST = re.compile(r"^ *# Subtest: (.*)$")
DIES = re.compile(r"^# dies: (\S+)\t(.*)$")


class Case:
    def __init__(self, name, outcome, notes):
        self.name, self.outcome, self.notes = name, outcome, notes


class Block:
    def __init__(self, indent):
        self.indent, self.name, self.plan, self.seen = indent, "", None, 0


class Parser:
    """Feed it lines; then look at cases, deaths, errors and complete."""

    def __init__(self):
        self.cases, self.deaths, self.errors = [], [], []
        self.blocks, self.closed, self.notes = [], None, []
        self.started = self.complete = False

    def count(self, outcome):
        return sum(c.outcome == outcome for c in self.cases)

    def where(self):
        """The suite that runs, and the last case that ended."""
        names = [b.name for b in self.blocks if b.name]
        last = self.cases[-1].name if self.cases else "the start"
        return f"{'.'.join(names) or 'no suite'}, after {last}"

    def feed(self, line):
        if m := VERSION.match(line):
            self._open(len(m[1]))
        elif not self.blocks:
            return
        elif m := PLAN.match(line):
            self.blocks[-1].plan = int(m[2])
            self.complete = self._top_done()
        elif m := SUBTEST.match(line):
            self.blocks[-1].name = m[1].strip()
        elif m := DIES.match(line):
            self.deaths.append((m[1], m[2].strip()))
        elif m := RESULT.match(line):
            self._result(len(m[1]), m[2] == "ok", int(m[3]), m[4] or "", m[5], m[6] or "")
        elif line.lstrip().startswith("#"):
            self.notes.append(line.strip())

    def _open(self, indent):
        self._close_to(indent)
        if indent == 0 and self.blocks:
            # Another program's output in the same stream.
            self.finish()
            self.blocks = []
        self.blocks.append(Block(indent))
        self.started, self.complete = True, False

    def finish(self):
        """At the end of the input: what is missing is an error."""
        if self.blocks and not self.complete:
            self._close_to(-1)

    def _top_done(self):
        top = self.blocks[0]
        return len(self.blocks) == 1 and top.plan == top.seen

    def _close_to(self, indent):
        """The blocks deeper than a line that has come are at their end."""
        while self.blocks and self.blocks[-1].indent > indent:
            block = self.blocks.pop()
            self.closed = block
            if block.plan is None:
                self.errors.append(f"{block.name}: no plan")
            elif block.plan != block.seen:
                self.errors.append(f"{block.name}: {block.seen} results, {block.plan} planned")

    def _result(self, indent, ok, number, name, directive, text):
        self.closed = None
        self._close_to(indent)
        if not self.blocks:
            return
        block = self.blocks[-1]
        block.seen += 1
        if number != block.seen:
            self.errors.append(f"{name}: number {number}, {block.seen} is due")
        if not self.closed:
            self._case(block, ok, name.strip(), (directive or "").upper(), text)
        elif not ok and not any(c.outcome == "failed" and c.name.startswith(name.strip())
                                for c in self.cases):
            # A suite that failed by itself, for instance in its suite_init.
            self.cases.append(Case(name.strip(), "failed", self.notes))
            self.notes = []
        self.complete = self._top_done()

    def _case(self, block, ok, name, directive, text):
        path = ".".join([b.name for b in self.blocks if b.name] + [name])
        if directive == "SKIP" and text.startswith("dies: "):
            outcome = "elsewhere"   # it gets a boot of its own
        elif directive == "SKIP":
            outcome = "skipped"
        else:
            outcome = "passed" if ok else "failed"
        self.cases.append(Case(path, outcome, [] if ok else self.notes))
        self.notes = []
