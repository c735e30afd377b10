# SPDX-License-Identifier: MIT
"""Memory modules plugged and pulled while the kernel runs, by QMP.

The suite "dimm" of the kernel says on the console when it wants a module to come or
to go (tests/kernel/dimm_test.c), and checks what becomes of it.
"""
import re

import qemu
from session import Broken, Session

SLOTS = "-m 1G,slots=4,maxmem=8G"
MODULE = 1 << 30


def plug(session, number):
    # Not as soon as a module is gone: after the last one the machine may be off by then.
    if number > 0:
        session.qmp("object-del", id=f"m{number - 1}")
    session.qmp("object-add", **{"qom-type": "memory-backend-ram", "id": f"m{number}",
                                 "size": MODULE, "reserve": False})
    session.qmp("device_add", driver="pc-dimm", id="dimm", memdev=f"m{number}")


def pull(session, in_use):
    session.qmp("device_del", id="dimm")
    if in_use:
        info = session.event("ACPI_DEVICE_OST")["info"]
        if info["source"] != 3 or info["status"] == 0:
            raise Broken(f"the guest's answer to a removal in use was {info}")
        return
    session.event("DEVICE_DELETED")


def drive(session):
    """Do what the guest asks for. Return: its verdict on each case."""
    while True:
        m = session.expect(r"^# dimm: (plug|pull) (\d+)( in use)?\n|^(not )?ok 1 dimm\n")
        if not m[1]:
            return not m[4]
        if m[1] == "plug":
            plug(session, int(m[2]))
        else:
            pull(session, bool(m[3]))


def hotplug(kernel, cycles=100, timeout=240, smp=4):
    """Return: lines that say what is wrong."""
    machine = qemu.Machine(kernel, smp=smp, mem="1G", args=SLOTS)
    session = Session(machine, f"mode=selftest filter=dimm dimms={cycles}", timeout, qmp=True)
    with session as s:
        try:
            good = drive(s)
            status = s.wait()
        except (Broken, OSError, ValueError) as e:
            return [str(e)] + s.tail()
        pulled = len(re.findall(r"^# dimm: pull \d+$", s.output, re.M))
        if good and status == qemu.PASSED and pulled == cycles:
            return []
        return [f"status {status}, {pulled} of {cycles} cycles"] + s.tail()
