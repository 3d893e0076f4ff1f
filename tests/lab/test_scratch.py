"""Folders of soaks and simulated runs: gone afterwards, though their process was killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eventdemo.lab.scratch import keep, scratch
from eventdemo.lab.soak.sandbox import sandbox_for

PREFIX = "eventdemo-soak-"

HOLDER = """
import sys
from pathlib import Path
from eventdemo.lab.scratch import scratch
with scratch(sys.argv[1], Path(sys.argv[2])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds a folder."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, PREFIX, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_is_gone_afterwards(tmp_path: Path) -> None:
    with scratch(PREFIX, tmp_path) as folder:
        (folder / "data").touch()
    assert [*tmp_path.iterdir()] == []


def test_what_is_kept_is_not_swept(tmp_path: Path) -> None:
    with scratch(PREFIX, tmp_path) as kept:
        keep(kept)
    with scratch(PREFIX, tmp_path):
        pass
    assert [*tmp_path.iterdir()] == [kept]


def test_the_next_sweeps_what_a_killed_one_left_and_no_other(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with holder:
        assert holder.stdout
        left = Path(holder.stdout.readline().strip())
        with scratch(PREFIX, tmp_path):
            assert left.exists()
        holder.send_signal(signal.SIGKILL)
    assert [*tmp_path.iterdir()] == [left]
    with scratch(PREFIX, tmp_path) as mine:
        assert [*tmp_path.iterdir()] == [mine]
    assert [*tmp_path.iterdir()] == []


def test_the_disk_of_a_killed_soak_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: subprocess.Popen[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with holder:
        assert holder.stdout
        left = Path(holder.stdout.readline().strip())
        holder.send_signal(signal.SIGKILL)
    (left / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1000000", "tmpfs", str(left / "disk")]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    with sandbox_for([], 0):
        assert str(left) not in Path("/proc/self/mounts").read_text()
    assert [*tmp_path.iterdir()] == []
