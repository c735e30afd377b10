# SPDX-License-Identifier: MIT
"""Whole programs under an allocator: what they run on, and what one run takes.

Each program is a function that gets a Run and makes one measured call on it. Inputs
are made once, in the build folder, and are the same everywhere.
"""
import os
import random
import shutil
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WORK = os.path.join(HERE, "programs")
TIMEOUT = 120


class Failed(Exception):
    pass


class Run:
    """One allocator, one scratch folder: measured() runs a program under the one."""

    def __init__(self, measure, preload, scratch):
        self.measure, self.preload, self.scratch = measure, preload, scratch
        self.result = os.path.join(scratch, "result")
        self.env = dict(os.environ, PYTHONMALLOC="malloc", PYTHONHASHSEED="0",
                        PYTHONDONTWRITEBYTECODE="1", PERL_HASH_SEED="0", LC_ALL="C",
                        GIT_CONFIG_NOSYSTEM="1", HOME=scratch)

    def path(self, name):
        return os.path.join(self.scratch, name)

    def command(self, argv):
        return [self.measure, self.result, self.preload, *argv]

    def measured(self, argv, stdin=None, cwd=None):
        with open(stdin or os.devnull, "rb") as source:
            done = subprocess.run(self.command(argv), stdin=source, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, env=self.env, cwd=cwd, timeout=TIMEOUT)
        self.check(done.returncode, done.stderr)

    def check(self, status, stderr):
        if status:
            lines = stderr.decode(errors="replace").strip().splitlines()
            raise Failed(f"status {status}: {lines[-1] if lines else 'no word on stderr'}")

    def figures(self):
        with open(self.result, encoding="ascii") as file:
            ms, kib = file.read().split()
        return [("", "ms", float(ms)), ("", "KiB", float(kib))]


def sqlite3(run):
    run.measured(["sqlite3", ":memory:"], stdin=os.path.join(WORK, "work.sql"))


def perl(run):
    run.measured(["perl", os.path.join(WORK, "work.pl")])


def python3(run):
    run.measured(["/usr/bin/python3", "-S", os.path.join(WORK, "work.py")])


def gcc(run):
    """Three files of this project, by the compiler proper and its helpers."""
    flags = ["-std=gnu11", "-O2", "-ffreestanding", "-mcmodel=kernel", "-mgeneral-regs-only",
             "-fno-pic", "-no-pie", "-I.", "-Iinclude", "-Iarch/x86_64/include"]
    run.measured(["gcc", "-w", *flags, "-r", "-nostdlib", "-o", run.path("gcc.o"),
                  "mm/pageheap.c", "mm/memmap.c", "mm/addrstate.c"], cwd=ROOT)


def xz(run):
    data = run.path("xz.input")
    if not os.path.exists(data):
        rng = random.Random(1)
        words = [bytes(rng.choices(b"abcdefghijklmnop", k=rng.randint(2, 9)))
                 for _ in range(3000)]
        with open(data, "wb") as file:
            file.write(b" ".join(rng.choices(words, k=600000)))
    run.measured(["xz", "-T2", "-2", "--block-size=512KiB", "-c", data])


def git(run):
    """History of a made-up repository, with every change and its statistics."""
    repository = run.path("repository")
    if not os.path.isdir(repository):
        subprocess.run(["git", "init", "-q", repository], check=True, env=run.env)
        subprocess.run(["git", "fast-import", "--quiet"], input=git_history(), check=True,
                       cwd=repository, env=run.env)
    run.measured(["git", "--no-pager", "log", "-p", "--stat", "-M", "main"], cwd=repository)


def git_history():
    rng = random.Random(1)
    files = [[f"line {i} of file {k}\n" for i in range(200)] for k in range(30)]
    out = []
    for commit in range(200):
        out.append("commit refs/heads/main\ncommitter A <a@example.org> "
                   f"{1700000000 + commit} +0000\ndata <<END\nchange {commit}\nEND\n")
        for k in range(30) if not commit else rng.sample(range(30), 4):
            for _ in range(10):
                files[k][rng.randrange(200)] = f"changed in {commit}: {rng.random()}\n"
            text = "".join(files[k])
            out.append(f"M 100644 inline dir{k % 5}/file{k}\ndata {len(text)}\n{text}\n")
    return "".join(out).encode()


def redis(run):
    """The server's own share: redis-benchmark is not preloaded."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    server = subprocess.Popen(
        run.command(["redis-server", "--port", port, "--save", "", "--appendonly", "no",
                     "--bind", "127.0.0.1"]),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=run.env, cwd=run.scratch)
    client = ["redis-cli", "-p", port]
    try:
        for _ in range(100):
            if subprocess.run([*client, "ping"], capture_output=True).stdout == b"PONG\n":
                break
            time.sleep(0.05)
        else:
            raise Failed("redis-server does not answer")
        for test, n in (("set", 150000), ("lpush", 100000), ("hset", 100000),
                        ("lrange_100", 3000)):
            subprocess.run(["redis-benchmark", "-p", port, "-q", "-n", str(n), "-r", "50000",
                            "-d", "100", "-P", "32", "-c", "10", "-t", test],
                           check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT)
        subprocess.run([*client, "flushall"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*client, "shutdown", "nosave"], stdout=subprocess.DEVNULL)
        _, stderr = server.communicate(timeout=20)
        run.check(server.returncode, stderr)
    finally:
        if server.poll() is None:
            subprocess.run([*client, "shutdown", "nosave"], capture_output=True)
            server.kill()
            server.wait()


def stress(run):
    run.measured(["stress-ng", "--malloc", "1", "--malloc-ops", "40000", "--no-rand-seed",
                  "--malloc-bytes", "64K", "--verify", "--temp-path", run.scratch])


PROGRAMS = {"sqlite3": sqlite3, "perl": perl, "python3": python3, "gcc": gcc, "xz": xz,
            "git": git, "redis": redis, "stress-ng": stress}
NEEDS = {"python3": ["/usr/bin/python3"], "redis": ["redis-server", "redis-benchmark", "redis-cli"]}


def missing(name):
    """The first executable that the program needs and this machine lacks, or None."""
    return next((x for x in NEEDS.get(name, [name]) if not shutil.which(x)), None)
