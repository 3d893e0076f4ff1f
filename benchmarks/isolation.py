"""Work that is done in a process of its own, and given up after a time."""

import signal
import subprocess
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.plan import STOP_TIMEOUT_S, BenchmarkFailed

T = TypeVar("T")


def isolated(timeout_s: float, work: Callable[..., T], *arguments: object) -> T:
    """Runs a function in a fresh process and returns its result, or raises ``BenchmarkFailed``."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, work, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(timeout_s):
            raise BenchmarkFailed(f"a measurement was not done after {timeout_s:g} s")
        result: T = receiver.recv()
    except EOFError:
        raise BenchmarkFailed(
            "the process that measured died: its messages above say why"
        ) from None
    else:
        return result
    finally:
        process.terminate()
        process.join(STOP_TIMEOUT_S)


def _report(sender: Connection, work: Callable[..., Any], arguments: Sequence[object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who waits for the result ends this process
    sender.send(work(*arguments))


def output_of(command: Sequence[str], folder: Path, timeout_s: float) -> tuple[str, str]:
    """What a program says on standard output and error, whatever its exit code. Raises
    ``BenchmarkFailed`` if it takes too long."""
    try:
        said = subprocess.run(  # noqa: S603 - generators, called with numbers
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as late:
        raise BenchmarkFailed(f"{command[0]} was not done after {timeout_s:g} s") from late
    return said.stdout, said.stderr
