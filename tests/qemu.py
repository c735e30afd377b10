# SPDX-License-Identifier: MIT
"""Starts QEMU with a machine of a given shape and gives back what it says.

Always: no reboot, a time limit, no core dump, and a status that says how it
ended (isa-debug-exit: the code the guest wrote, times two, plus one).
"""
import json
import os
import re
import resource
import select
import shlex
import socket
import subprocess
import sys
import tempfile
import time

PASSED, FAILED, PANIC, NOTHING, LOADER = (2 * c + 1 for c in (0x10, 0x11, 0x12, 0x13, 0x7f))
STATUS = {
    PASSED: "passed", FAILED: "failed", PANIC: "panic", NOTHING: "nothing to run",
    LOADER: "the UEFI loader gave up", 0: "the machine was reset: a triple fault, or a reboot",
    1: "QEMU refused to start", -6: "QEMU aborted",
}
ANSI = re.compile(rb"\x1b\[[0-9;=?]*[A-Za-z]|\x1b\([A-Z0-9]|\r")
OVMF = ["/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd", "/usr/share/OVMF/OVMF_CODE.fd"]
MARKER = b"Spanheap, started by"
UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}
END_OF_INPUT = b"\x04"


def size_bytes(text):
    m = re.fullmatch(r"(\d+)([KMGT]?)B?", text.strip().upper())
    if not m:
        sys.exit(f"MEM={text}: a size like 64M, 1G or 1T is wanted")
    return int(m[1]) << UNITS.get(m[2] or "M")


class Machine:
    """What `make` variables describe."""

    def __init__(self, kernel, esp=None, boot="pvh", smp=4, mem="1G", accel="tcg", args="",
                 icount=False):
        self.kernel, self.esp, self.boot = kernel, esp, boot
        self.smp, self.mem, self.accel, self.args, self.icount = smp, mem, accel, args, icount

    def __str__(self):
        return f"{self.boot}, {self.smp} CPU{'s' * (self.smp != 1)}, {self.mem}"

    def _memory(self):
        size = size_bytes(self.mem)
        mib = f"{max(size >> 20, 1)}M"
        if size <= 8 << 30:
            return ["-m", mib]
        # Not reserved by the host: only what the guest touches exists.
        return ["-m", mib, "-object", f"memory-backend-ram,id=ram0,size={mib},reserve=off",
                "-machine", "memory-backend=ram0"]

    def _processor(self):
        model = "host" if self.accel.startswith("kvm") else "max"
        size = size_bytes(self.mem)
        if size >= 512 << 30:
            model += ",phys-bits=46"
        wide = ["-machine", "smbios-entry-point-type=64"] if size >= 8 << 40 else []
        return ["-cpu", model, "-smp", str(self.smp)] + wide

    def _accelerator(self):
        if self.icount:
            return ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
        return ["-accel", "tcg,thread=multi" if self.accel == "tcg" else self.accel]

    def _boot(self):
        if self.boot == "pvh":
            # Under -icount the smaller firmware saves half a second.
            small = ["-bios", "/usr/share/qemu/qboot.rom"] if self.icount else []
            return small + ["-kernel", self.kernel]
        firmware = next((f for f in OVMF if os.path.exists(f)), None)
        if self.boot != "uefi" or not firmware:
            sys.exit("no OVMF firmware: make deps" if self.boot == "uefi" else
                     f"BOOT={self.boot}: there is uefi and pvh")
        return ["-bios", firmware,
                "-drive", f"file={self.esp},format=raw,if=none,id=esp,readonly=on",
                "-device", "virtio-blk-pci,drive=esp,bootindex=0"]

    def command(self, cmdline):
        words = cmdline.replace(",", ",,")
        return (["qemu-system-x86_64"] + self._accelerator() +
                ["-machine", "q35,smm=off,hpet=off,i8042=off,usb=off,sata=off,vmport=off"] +
                self._processor() + self._memory() +
                ["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
                 "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
                 "-fw_cfg", f"name=opt/spanheap/cmdline,string={words}"] +
                self._boot() + shlex.split(self.args))


class Monitor:
    """QEMU's control socket, to ask a guest that hangs where its CPUs are."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "qmp")
        self.args = ["-qmp", f"unix:{self.path},server=on,wait=off"]

    def instruction_pointers(self):
        """Of each CPU, in order; nothing if QEMU does not answer."""
        ask = [{"execute": "qmp_capabilities"},
               {"execute": "human-monitor-command",
                "arguments": {"command-line": "info registers -a"}}]
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(self.path)
                f = s.makefile("rw")
                f.readline()
                for command in ask:
                    f.write(json.dumps(command) + "\n")
                    f.flush()
                    answer = {}
                    while "return" not in answer and "error" not in answer:
                        answer = json.loads(f.readline())
                return [int(ip, 16) for ip in re.findall(r"RIP=([0-9a-f]+)", answer["return"])]
        except (OSError, ValueError, KeyError, TypeError):
            return []


class Symbols:
    """Names for the addresses of a panic report, by addr2line."""

    LINE = re.compile(rb"^\s+at 0x([0-9a-f]{16})\b|^panic: .*\bip 0x([0-9a-f]{16})\b|"
                      rb"^# irqoff_max began at 0x([0-9a-f]{16})")

    def __init__(self, kernel):
        self.kernel, self.fault = kernel, None

    def note(self, line):
        """What to add to a line, or nothing."""
        m = self.LINE.match(line)
        if not m:
            return b""
        addr = int(m[1] or m[2] or m[3], 16)
        if m[2]:
            self.fault = addr
        elif m[1] and addr != self.fault:
            addr -= 1           # a return address is behind the call
        name = self.name(addr)
        return b"  " + name if name else b""

    def name(self, addr):
        """Function, file and line, and those it is inlined in; or nothing."""
        try:
            out = subprocess.run(["addr2line", "-fipe", self.kernel, hex(addr)],
                                 capture_output=True, timeout=20).stdout
        except (OSError, subprocess.TimeoutExpired):
            return b""
        names = [re.sub(rb" at (\./)+", b" at ", re.sub(
            rb"^\(inlined by\) | \(discriminator \d+\)$", b"", l.strip()))
            for l in out.splitlines()]
        return b", in ".join(n for n in names if not n.startswith(b"??"))


class Run:
    """One boot: started, fed and read to its end."""

    def __init__(self, machine, cmdline, timeout, sink=None, keyboard=None, prompt=b"spanheap> "):
        """sink(bytes) gets the output from the kernel's first line on; keyboard, a file
        descriptor, is passed on once the prompt has come."""
        self.timeout, self.sink, self.keyboard, self.prompt = timeout, sink, keyboard, prompt
        self.symbols = Symbols(machine.kernel)
        self.monitor = Monitor()
        self.command = machine.command(cmdline) + self.monitor.args
        self.output = b""       # all of it, without escape sequences
        self.line = b""         # the line that is not complete yet
        self.begun = self.prompted = self.timed_out = False
        self.status, self.hung_at = None, []

    def _limits(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def _emit(self, data):
        if self.sink and data:
            self.sink(data)

    def _take(self, data):
        """Pass bytes on; at each end of a line name the addresses in it."""
        for part in data.splitlines(keepends=True):
            if part.endswith(b"\n"):
                self._emit(part[:-1])
                line = self.line + part[:-1]
                note = self.symbols.note(line)
                self.output += part[:-1] + note + b"\n"
                self._emit(note + b"\n")
                self.line = b""
            else:
                self._emit(part)
                self.output += part
                self.line += part
        self.prompted |= self.line.endswith(self.prompt)

    def _read(self, raw):
        data = ANSI.sub(b"", raw)
        if self.begun:
            self._take(data)
            return
        # What firmware prints is kept, but shown only if nothing else comes.
        self.output += data
        at = self.output.find(MARKER)
        if at >= 0:
            self.begun = True
            data, self.output = self.output[at:], b""
            self._take(data)

    def _type(self, qemu):
        data = os.read(self.keyboard, 256)
        if not data:
            self.keyboard = None
            data = END_OF_INPUT
        try:
            os.write(qemu.stdin.fileno(), data)
        except BrokenPipeError:
            self.keyboard = None

    def run(self):
        """Return: QEMU's status, or None after a time-out."""
        begin = time.monotonic()
        qemu = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                stdin=subprocess.DEVNULL if self.keyboard is None
                                else subprocess.PIPE, preexec_fn=self._limits)
        out = qemu.stdout.fileno()
        try:
            while True:
                left = begin + self.timeout - time.monotonic() if self.timeout else 3600
                watch = [out]
                if self.keyboard is not None and self.prompted:
                    watch.append(self.keyboard)
                ready = select.select(watch, [], [], max(left, 0))[0]
                if out in ready:
                    raw = os.read(out, 65536)
                    if not raw:
                        break
                    self._read(raw)
                if self.keyboard in ready:
                    self._type(qemu)
                if left <= 0:
                    self.timed_out = True
                    break
        finally:
            if self.timed_out:
                self.hung_at = self.monitor.instruction_pointers()
            if self.timed_out or sys.exc_info()[0]:
                qemu.kill()
            self.status = qemu.wait()
            self.seconds = time.monotonic() - begin
        if not self.begun:
            self._emit(self.output)
        return None if self.timed_out else self.status

    def how(self):
        """How it ended, in words."""
        if self.timed_out:
            return f"time-out after {self.timeout:g} s"
        return STATUS.get(self.status, f"QEMU ended with status {self.status}")

    def report(self):
        """The lines of a panic; of a time-out, where the CPUs are; or none."""
        if self.timed_out:
            return [f"cpu {cpu} at 0x{ip:x}  {self.symbols.name(ip).decode(errors='replace')}"
                    for cpu, ip in enumerate(self.hung_at)]
        lines = self.output.decode(errors="replace").splitlines()
        at = next((i for i, l in enumerate(lines) if l.startswith("panic: ")), len(lines))
        return lines[at:at + 40]

    def tail(self, n=20):
        return [l for l in self.output.decode(errors="replace").splitlines() if l.strip()][-n:]
