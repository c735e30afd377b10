#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the one-file version: spanheap.h, spanheap.c, spanheap_port.h, COPYING.

    dist.py <folder> [<tree>]

    include/spanheap/*.h  ──►  spanheap.h       the public API, each header once
    lib/, mm/             ──►  spanheap.c       all else, in the order of the includes
    arch/none/            ──►  spanheap_port.h  to start a port from

What was between the files of mm/ becomes static, so that the object defines the
public API and nothing else. What the headers declare can be given a prefix when
it is compiled:

    -DSPANHEAP_PREFIX=xyz_    the name kmalloc() then is xyz_kmalloc(), in the
                              object and for whoever includes spanheap.h, who may
                              have a kmalloc() of his own

A port's functions have the prefix in the object alone: a port says port_map().
The text is the tree's; nothing depends on the machine that writes it.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PORT_HEADER = "include/spanheap/port.h"
STRING = ("lib/string.h", "lib/string.c")

# In the middle of the contract. One that is on the include path goes before the one here.
PORT_INCLUDE = ["#if __has_include(<spanheap_port.h>)", "#include <spanheap_port.h>", "#else",
                '#include "spanheap_port.h"', "#endif"]

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
ATTRIBUTE = re.compile(r"__attribute__\(\((?:[^()]|\([^()]*\))*\)\)\s*|"
                       r"\b(?:never_inline|weak|cacheline_aligned)\b\s*")
TYPE = (r"(?:(?:const|unsigned|struct|enum|union|long|volatile|extern|inline|static|PAGE_INLINE)"
        r"\s+)*")
FUNCTION = re.compile(r"^" + TYPE + r"\w+[\s*]+(\w+)\(")
VARIABLE = re.compile(r"^" + TYPE + r"\w+[\s*]+(\w+)(?:\[.*?\])*\s*(?:=|;|,)")
POINTER = re.compile(r"^" + TYPE + r"\w+[\s*]+\(\*(\w+)\)\(")
TAG = re.compile(r"^(?:struct|enum|union) (\w+) \{", re.M)
NO_DECLARATION = re.compile(r"^(?:typedef|static_assert|_Static_assert)\b|"
                            r"^(?:struct|enum|union) \w+(?:;| \{)")


class Error(Exception):
    pass


# ---- Reading the tree ----

class Source:
    """One file: its text without guard and includes, and what it includes."""

    def __init__(self, tree, path):
        with open(os.path.join(tree, path), encoding="utf-8") as f:
            text = f.read()
        self.path = path
        if not text.startswith(("/* SPDX", "// SPDX")):
            raise Error(f"{path}: no SPDX line on top")
        text = text.split("\n", 1)[1]
        if path.endswith(".h"):
            text = self._unguarded(text)
        self.includes, lines = [], []
        for line in text.split("\n"):
            m = INCLUDE.match(line)
            if m:
                self.includes.append(m[2])
            if not m:
                lines.append(line)
            elif m[2] == "spanheap_port.h":
                lines += PORT_INCLUDE
        self.text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"

    def _unguarded(self, text):
        m = re.search(r"^#ifndef (\w+_H)\n#define \1\n", text, re.M)
        end = text.rfind("\n#endif\n")
        if not m or end < 0:
            raise Error(f"{self.path}: no include guard")
        return text[:m.start()] + text[m.end():end + 1]


class Tree:
    """The files in the order in which a compiler would come to them."""

    def __init__(self, top):
        self.top, self.order, self.system = top, [], []

    def _find(self, name):
        for path in (name, f"include/{name}"):
            if os.path.isfile(os.path.join(self.top, path)):
                return path
        return None

    def visit(self, path):
        if any(s.path == path for s in self.order):
            return
        source = Source(self.top, path)
        for name in source.includes:
            found = self._find(name)
            if found:
                self.visit(found)
            elif name.startswith("std"):
                self.system += [name] * (name not in self.system)
            elif name != "spanheap_port.h":
                raise Error(f"{path}: who is {name}?")
        if not any(s.path == path for s in self.order):
            self.order.append(source)


def listing(tree, folder, end):
    names = sorted(os.listdir(os.path.join(tree, folder)))
    return [f"{folder}/{n}" for n in names if n.endswith(end)]


# ---- Names ----

def top_level(text):
    """Lines that start a declaration, with their numbers; no comment, no macro."""
    comment = macro = False
    for number, line in enumerate(text.split("\n")):
        if comment or line.startswith("/*"):
            comment = "*/" not in line
            continue
        if macro or line.startswith("#"):
            macro = line.endswith("\\")
            continue
        if line and (line[0].isalpha() or line[0] == "_") and not NO_DECLARATION.match(line):
            yield number, line


def declared(line):
    """The name that a line declares with linkage, or None. A label declares nothing."""
    bare = ATTRIBUTE.sub("", line)
    m = POINTER.match(bare) or FUNCTION.match(bare) or VARIABLE.match(bare)
    return m[1] if m else None


def names_of(source):
    return [n for n in (declared(line) for _, line in top_level(source.text)) if n]


class Names:
    """What is public; of that, what a port supplies; and what is a type's name as well."""

    def __init__(self, headers):
        self.api, self.port, tags = [], [], set()
        for source in headers:
            found = names_of(source)
            tags |= set(TAG.findall(source.text))
            if source.path == PORT_HEADER:
                inline = [n for _, line in top_level(source.text)
                          if line.startswith("static ") and (n := declared(line))]
                slots = [n for n in found if n.endswith("_slots")]
                self.port += [n for n in found if n not in inline + slots + self.port]
                self.api += [n for n in slots if n not in self.api]
            else:
                self.api += [n for n in found if n not in self.api]
        self.tags = tags & set(self.api)
        self.all = set(self.api) | set(self.port)

    def rename(self, names):
        # A struct of the same name keeps it: it is not followed by a parenthesis.
        for name in sorted(names):
            if name in self.tags:
                yield f"#define {name}(...) SPANHEAP_NAME({name})(__VA_ARGS__)"
            else:
                yield f"#define {name} SPANHEAP_NAME({name})"


def in_macros(text, names):
    """Inside a macro's body the name is made where the macro is used."""
    word = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b(?=\()")
    lines, body = [], False
    for line in text.split("\n"):
        start = re.match(r"#define \w+(?:\([^)]*\))? ", line)
        at = start.end() if start else 0 if body else len(line)
        lines.append(line[:at] + word.sub(r"SPANHEAP_NAME(\1)", line[at:]))
        body = (bool(start) or body) and line.endswith("\\")
    return "\n".join(lines)


def early_variables(sources):
    """Those declared where their struct is not known yet: C has no static ones."""
    known = set()
    for source in sources:
        for _, line in top_level(source.text):
            m = re.match(r"extern (?:const )?struct (\w+) ([\w, ]+);$", line)
            if m and m[1] not in known:
                yield from m[2].split(", ")
        known |= set(TAG.findall(source.text))


def make_static(source, others):
    lines = source.text.split("\n")
    for number, line in top_level(source.text):
        name = declared(line)
        if name and name not in others and not ATTRIBUTE.sub("", line).startswith("static "):
            lines[number] = "STATIC " + line.removeprefix("extern ")
        elif line.startswith("static inline ") and source.path.endswith(".h"):
            lines[number] = "STATIC" + line.removeprefix("static")
    return "\n".join(lines)


# ---- Writing ----

def box(text):
    return "".join(f" * {l}".rstrip() + "\n" for l in text.strip("\n").split("\n"))


def section(source, text):
    return f"\n/* ======== {source.path} ======== */\n\n{text}"


HEADER_HEAD = """\
/* SPDX-License-Identifier: MIT */
/*
 * Spanheap: the public API in one header. Written by tools/dist.py from the tree:
 * change it there.
 *
 *	spanheap.c		is compiled by itself, with any flags that the rest has
 *	spanheap_port.h		joins it to the machine; the contract is below
 *
{licence} */
#ifndef SPANHEAP_H
#define SPANHEAP_H

{includes}

#ifdef __cplusplus
extern "C" {{
#endif

#ifdef SPANHEAP_PREFIX
#define SPANHEAP_NAME__(prefix, name) prefix##name
#define SPANHEAP_NAME_(prefix, name) SPANHEAP_NAME__(prefix, name)
#define SPANHEAP_NAME(name) SPANHEAP_NAME_(SPANHEAP_PREFIX, name)
{port}
{api}
#else
#define SPANHEAP_NAME(name) name
#endif
"""

HEADER_TAIL = """
#if defined(SPANHEAP_PREFIX) && !defined(SPANHEAP_INSIDE)
{undef}
#endif

#ifdef __cplusplus
}}
#endif

#endif
"""

SOURCE_HEAD = """\
// SPDX-License-Identifier: MIT
/*
 * Spanheap in one file. Written by tools/dist.py from the tree: change it there.
 *
 *	cc -ffreestanding -O2 -c spanheap.c
 *
 * Needs spanheap.h, spanheap_port.h and the compiler's own headers.
 *
{licence} */
#define SPANHEAP_INSIDE
#include "spanheap.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* Between the files of the tree; some of it is for their tests only. */
#define STATIC static __attribute__((unused))

/*
 * Compilers call these five on their own account, so they have these names in the
 * object, where nobody else sees them; in C they have others, since a port's
 * headers may declare the C library's.
 */
#define LIBC_NAME(name) __asm__(name) __attribute__((used))
static void *spanheap_memset(void *dst, int byte, size_t n) LIBC_NAME("memset");
static void *spanheap_memcpy(void *restrict dst, const void *restrict src, size_t n)
	LIBC_NAME("memcpy");
static void *spanheap_memmove(void *dst, const void *src, size_t n) LIBC_NAME("memmove");
static int spanheap_memcmp(const void *a, const void *b, size_t n) LIBC_NAME("memcmp");
static size_t spanheap_strlen(const char *s) LIBC_NAME("strlen");
#define memset spanheap_memset
#define memcpy spanheap_memcpy
#define memmove spanheap_memmove
#define memcmp spanheap_memcmp
#define strlen spanheap_strlen
"""


def strings(source):
    """Of lib/string.c what mm/ and the compiler use."""
    parts = re.split(r"(?m)^(?=\w[^;\n]*\)\n\{)", source.text)
    kept = [p for p in parts[1:]
            if re.search(r"\b(mem\w+|strlen)\(|^static ", p.split("\n")[0])]
    return parts[0] + "".join(p if p.startswith("static ") else "STATIC " + p for p in kept)


def generate(tree):
    public, inside = Tree(tree), Tree(tree)
    for path in listing(tree, "include/spanheap", ".h"):
        public.visit(path)
    inside.order = list(public.order)
    for path in ["lib/fmt.c"] + listing(tree, "mm", ".c"):
        inside.visit(path)
    names = Names(public.order)
    with open(os.path.join(tree, "COPYING"), encoding="utf-8") as f:
        copying = f.read()

    header = HEADER_HEAD.format(
        licence=box(copying), includes="\n".join(f"#include <{n}>" for n in sorted(public.system)),
        port="\n".join(names.rename(names.port)), api="\n".join(names.rename(names.api)))
    for source in public.order:
        header += section(source, in_macros(source.text, names.api))
    header += HEADER_TAIL.format(undef="\n".join(f"#undef {n}" for n in sorted(names.api)))

    body = SOURCE_HEAD.format(licence=box(copying))
    string_source = Source(tree, STRING[1])
    body += section(string_source, strings(string_source))
    private = [s for s in inside.order[len(public.order):] if s.path not in STRING]
    early = list(early_variables(private))
    body += "".join(f"#define {n} SPANHEAP_NAME(spanheap_{n})\n" for n in early)
    for source in private:
        body += section(source, make_static(source, names.all | set(early)))
    with open(os.path.join(tree, "arch/none/include/spanheap_port.h"), encoding="utf-8") as f:
        port = f.read()
    return {"spanheap.h": header, "spanheap.c": body, "spanheap_port.h": port,
            "COPYING": copying, "public.txt": "\n".join(sorted(names.all)) + "\n"}


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    out, tree = sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else ROOT
    try:
        files = generate(tree)
    except (Error, OSError) as e:
        sys.exit(f"dist: {e}")
    os.makedirs(out, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    main()
