# SPDX-License-Identifier: MIT
"""A machine that is talked to while it runs: its serial console, and QEMU by QMP.

    with Session(machine, "mode=run", qmp=True) as s:
        s.expect(r"^spanheap> $")
        s.send("mem")
        s.qmp("device_del", id="d0")
"""
import json
import os
import re
import select
import socket
import subprocess
import tempfile
import time

import qemu


class Broken(Exception):
    """What was waited for did not come."""


class Session:
    def __init__(self, machine, cmdline, timeout=120, qmp=False):
        self.command, self.timeout = machine.command(cmdline), timeout
        self.want_qmp = qmp
        self.output, self.seen = "", 0      # all of it, and how much expect() has passed

    def __enter__(self):
        self.end = time.monotonic() + self.timeout
        self.folder = tempfile.TemporaryDirectory()
        command = list(self.command)
        path = os.path.join(self.folder.name, "qmp")
        if self.want_qmp:
            command += ["-qmp", f"unix:{path},server=on,wait=off"]
        self.qemu = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT)
        os.set_blocking(self.qemu.stdout.fileno(), False)
        if self.want_qmp:
            self._connect(path)
        return self

    def __exit__(self, *_):
        if self.qemu.poll() is None:
            self.qemu.kill()
        self.qemu.wait()
        self.folder.cleanup()

    # ---- The console ----

    def _read(self, wait):
        out = self.qemu.stdout
        if not select.select([out], [], [], wait)[0]:
            return False
        raw = os.read(out.fileno(), 65536)
        self.output += qemu.ANSI.sub(b"", raw).decode(errors="replace")
        return bool(raw)

    def expect(self, pattern, timeout=None):
        """Read until it comes, behind what came before. Return: the match."""
        end = min(self.end, time.monotonic() + (timeout or self.timeout))
        while True:
            m = re.search(pattern, self.output[self.seen:], re.M)
            if m:
                self.seen += m.end()
                return m
            if time.monotonic() > end:
                raise Broken(f"did not come: {pattern}")
            if not self._read(0.2) and self.qemu.poll() is not None:
                raise Broken(f"QEMU ended while waiting for: {pattern}")

    def send(self, line):
        self.qemu.stdin.write(line.encode() + b"\n")
        self.qemu.stdin.flush()

    def wait(self):
        """Read to the end. Return: QEMU's status."""
        while self.qemu.poll() is None:
            if time.monotonic() > self.end:
                raise Broken("time-out")
            self._read(0.2)
        while self._read(0):
            pass
        return self.qemu.returncode

    def tail(self, n=25):
        return [line for line in self.output.splitlines() if line.strip()][-n:]

    def resident_mib(self):
        """Memory of the host that QEMU holds."""
        with open(f"/proc/{self.qemu.pid}/status", encoding="ascii") as f:
            return int(re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.M)[1]) >> 10

    # ---- QMP ----

    def _connect(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError as e:
                if time.monotonic() > self.end or self.qemu.poll() is not None:
                    raise Broken("no QMP") from e
                time.sleep(0.05)
        self.socket.settimeout(self.timeout)
        self.stream = self.socket.makefile("rw")
        self.events = []
        self.stream.readline()
        self.qmp("qmp_capabilities")

    def qmp(self, command, **arguments):
        """Return: the answer; Broken if it is an error."""
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            answer = json.loads(self.stream.readline())
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise Broken(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def event(self, name):
        """Wait for an event, or take one that has come. Return: its data."""
        while True:
            for e in self.events:
                if e["event"] == name:
                    self.events.remove(e)
                    return e.get("data", {})
            self.events.append(json.loads(self.stream.readline()))
