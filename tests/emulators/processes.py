"""A server in a process of its own that ends with whoever started it, whatever happens."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.emulators.errors import NotStarted

ROOT = Path(__file__).parents[2]

#: How long a server may take to stop by itself.
STOP_S = 10


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """Runs a server; gives the first line that it prints, with which it says that it is ready.

    It reads its standard input and ends when that does, which also happens when this process is
    killed.
    """
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout
        if not (line := process.stdout.readline().strip()):
            raise NotStarted(f"{command}: {log.read_text(errors='replace')[-2_000:]}")
        yield line
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
