"""What the figures were measured on: they mean nothing without it."""

import asyncio
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import apsw

from benchmarks.plan import WRK_CONNECTIONS, WRK_THREADS
from benchmarks.wrk import wrk_version
from eventdemo.engines.sqlite.database import ThreadedDatabase
from eventdemo.engines.sqlite.engine import QUEUE_SCHEMA

FSYNCS = 100
_SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")


def describe(folder: Path) -> dict[str, str]:
    """Machine, versions, durability and file system, as read from where they are in force."""
    libraries = ("uvicorn", "uvloop", "httptools", "msgspec", "litestar")
    return {
        "machine": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores, {_memory()}",
        "system": f"{platform.system()} {platform.release()}, load average "
        f"{os.getloadavg()[0]:.1f} before the run",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "eventdemo": version("eventdemo"),
        "SQLite": f"{apsw.sqlite_lib_version()} (apsw {apsw.apsw_version()})",
        "libraries": ", ".join(f"{name} {version(name)}" for name in libraries),
        "durability": f"{asyncio.run(_durability(folder))}; fsync before each 202",
        "data folder": f"{_file_system(folder)}, {_fsync_ms(folder):.2f} ms per fsync of 4 KiB",
        "generators": f"{wrk_version() or 'no wrk'} -t{WRK_THREADS} -c{WRK_CONNECTIONS} "
        "(closed loop), `eventdemo load` (constant arrival rate); on the same machine",
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> str:
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * page_bytes / 2**30:.0f} GiB"


async def _durability(folder: Path) -> str:
    """The modes of a database that the engine itself has opened."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        database = ThreadedDatabase(Path(temporary) / "any.db", QUEUE_SCHEMA)
        try:
            journal = await database.write(lambda c: c.pragma("journal_mode"))
            synchronous = await database.write(lambda c: c.pragma("synchronous"))
        finally:
            await database.close()
    return f"journal_mode={journal.upper()}, synchronous={_SYNCHRONOUS[synchronous]}"


def _file_system(folder: Path) -> str:
    """The type and device of the mount that holds a folder."""
    mounts = (
        line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    )
    holding = [
        (len(Path(fields[1]).parts), fields)
        for fields in mounts
        if folder.resolve().is_relative_to(fields[1])
    ]
    # Of several mounts on one place, the last hides the others.
    device, _, kind, *_ = max(enumerate(holding), key=lambda each: (each[1][0], each[0]))[1][1]
    return f"{kind} on {device}"


def _fsync_ms(folder: Path) -> float:
    """What it costs to make one page durable: the price of every commit."""
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(FSYNCS):
            file.write(bytes(4_096))
            began = perf_counter()
            os.fsync(file.fileno())
            times.append(perf_counter() - began)
    return median(times) * 1_000
