"""The cost of a run: processor time, memory, bytes written, and flushes of the disk."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from msgspec import Struct

#: In /proc/diskstats: the number of flushes that a disk has completed, after major, minor, name.
_FLUSHES = 18


class Cost(Struct, frozen=True):
    """What processes used: processor seconds, bytes written to disks, bytes of memory."""

    cpu_s: float = 0.0
    written_bytes: int = 0
    memory_bytes: int = 0

    def since(self, before: "Cost") -> "Cost":
        """Returns what was used after ``before``; the memory is what it is now."""
        return Cost(
            self.cpu_s - before.cpu_s, self.written_bytes - before.written_bytes, self.memory_bytes
        )


def cost_of(pids: Sequence[int]) -> Cost:
    """Returns the cost of processes since they began, with that of children that have ended.

    Memory that processes share is counted once where the system can tell (PSS), else for each.
    """
    cpu_s, written, memory = 0.0, 0, 0
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            with process.oneshot():
                cpu_s += sum(process.cpu_times()[:4])
                with suppress(psutil.Error, AttributeError):
                    written += process.io_counters().write_bytes
                memory += _memory_bytes(process)
    return Cost(cpu_s, written, memory)


def flushes_of(folder: Path) -> int | None:
    """Returns how often the disk under a folder was flushed since the machine began: by anybody,
    so only the difference within a quiet run means something. None if the system can't tell."""
    device = folder.stat().st_dev
    try:
        lines = Path("/proc/diskstats").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    number = f"{os.major(device)}:{os.minor(device)}"
    for fields in map(str.split, lines):
        if f"{fields[0]}:{fields[1]}" == number and len(fields) > _FLUSHES:
            return int(fields[_FLUSHES])
    return None


def _memory_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):
        return int(process.memory_info().rss)
