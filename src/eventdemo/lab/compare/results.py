"""The results of a comparison: dated JSON, one file for each contender, that anybody can add to.

``DATE/MACHINE/CONTENDER.json`` holds every run of a contender, those that failed too. A comparison
that was interrupted goes on where it was: what stands in a file is not measured again.
"""

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from eventdemo import __version__
from eventdemo.errors import Misconfigured
from eventdemo.lab.compare.measures import RunMeasures

FORMAT = 1


class Machine(Struct, frozen=True):
    """The machine of a comparison."""

    name: str
    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str


class RunKey(Struct, frozen=True):
    """What was measured: a point of a scenario, by a contender in a mode, in a round."""

    scenario: str
    point: str
    contender: str
    mode: str
    round: int


class ComparedRun(Struct, frozen=True, kw_only=True):
    """One run: its ``measures``, or the reason why it has ``failed``."""

    key: RunKey
    at: str
    measures: RunMeasures | None = None
    failed: str | None = None


class ContenderResults(Struct, kw_only=True):
    """One file of results."""

    format: int = FORMAT
    version: str = __version__
    machine: Machine
    contender: str
    durability: str
    runs: list[ComparedRun]


class Results:
    """All files of one date and machine. ``add`` writes at once."""

    def __init__(self, folder: Path, date: str, machine: Machine) -> None:
        self.folder = folder / date / machine.name
        self.machine = machine
        self._files: dict[str, ContenderResults] = {}
        for file in sorted(self.folder.glob("*.json")):
            self._files[file.stem] = read_results(file)

    @property
    def runs(self) -> dict[RunKey, ComparedRun]:
        """Every run so far."""
        return {run.key: run for file in self._files.values() for run in file.runs}

    def add(self, run: ComparedRun, durability: str) -> None:
        """Keeps a run, in place of an earlier one of the same key."""
        name = run.key.contender
        file = self._files.get(name)
        if file is None:
            file = ContenderResults(
                machine=self.machine, contender=name, durability=durability, runs=[]
            )
            self._files[name] = file
        file.runs = [*(kept for kept in file.runs if kept.key != run.key), run]
        self.folder.mkdir(parents=True, exist_ok=True)
        written = self.folder / f"{name}.json.next"
        written.write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1))
        written.replace(self.folder / f"{name}.json")


def read_results(file: Path) -> ContenderResults:
    """Reads one file. Raises ``Misconfigured`` if it holds no results of this format."""
    try:
        results = msgspec.json.decode(file.read_bytes(), type=ContenderResults)
    except (OSError, msgspec.MsgspecError) as error:
        raise Misconfigured(f"{file} holds no results of a comparison ({error})") from None
    if results.format != FORMAT:
        raise Misconfigured(f"{file} has format {results.format}, and this version reads {FORMAT}")
    return results


def all_results(folder: Path) -> Iterator[tuple[str, ContenderResults]]:
    """Returns the files of every date and machine under a folder, each with its date."""
    for file in sorted(folder.glob("*/*/*.json")):
        yield file.parts[-3], read_results(file)


def this_machine(name: str | None) -> Machine:
    """Describes this machine; ``name`` is what its folder is called, by default what it has."""
    cores = os.cpu_count() or 1
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = _processor()
    chosen = name or f"{cores}-cores-{processor}"
    return Machine(
        name=re.sub(r"[^a-z0-9.]+", "-", chosen.lower()).strip("-"),
        processor=processor,
        cores=cores,
        memory_gib=round(memory_gib, 1),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
