# SPDX-License-Identifier: MIT
"""Free memory goes back to the host: what QEMU holds falls when the guest scavenges.

The guest takes and writes 1 GiB, frees it, and is told to scavenge; with a balloon
that reports free pages the memory must be gone from QEMU then, without one it stays.
"""
import qemu
from session import Broken, Session

PROMPT = r"^spanheap> $"
TAKEN = 1024    # MiB
DEVICE = "-device virtio-balloon-pci,free-page-reporting=on"


def command(session, line):
    session.send(line)
    session.expect(PROMPT)
    return session.resident_mib()


def measure(kernel, args):
    """Return: MiB that QEMU holds at the start, with the memory in use, and after."""
    machine = qemu.Machine(kernel, mem="2G", smp=2, args=args)
    with Session(machine, "mode=run") as s:
        s.expect(PROMPT)
        start = s.resident_mib()
        s.send(f"alloc {TAKEN}M")
        address = s.expect(r"^(0x[0-9a-f]+) \(physical")[1]
        s.expect(PROMPT)
        used = command(s, "fill")
        command(s, f"free {address}")
        after = command(s, "scavenge")
        # And it is still memory.
        s.send(f"alloc {TAKEN}M")
        s.expect(r"^0x[0-9a-f]+ \(physical")
        s.expect(PROMPT)
        again = command(s, "fill")
        s.send("poweroff")
        if s.wait() != qemu.PASSED:
            raise Broken("no clean end")
        return start, used, after, again


def balloon(kernel, say=None):
    """Return: lines that say what is wrong."""
    wrong = []
    for args, falls in (DEVICE + ",disable-legacy=on", True), (DEVICE, True), ("", False):
        try:
            start, used, after, again = measure(kernel, args)
        except (Broken, OSError) as e:
            wrong.append(f"{args or 'no balloon'}: {e}")
            continue
        text = f"{args or 'no balloon'}: {start}, {used}, {after}, {again} MiB"
        if say:
            say(text)
        if used - start < TAKEN * 0.95 or again - start < TAKEN * 0.95 or \
                (used - after > TAKEN * 0.95) != falls:
            wrong.append(text)
    return wrong
