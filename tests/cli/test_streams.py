"""Standard streams that are closed, full, or read no further, and too few open files: one line at
most, and an exit code."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import START_S, Command, Ran, System, environment, free_port

EVENTDEMO = f"{sys.executable} -m eventdemo"


def shell(script: str, **variables: str) -> Ran:
    """Runs a script in which ``eventdemo`` is a command, with ``pipefail``."""
    done = subprocess.run(
        ["bash", "-c", f'eventdemo() {{ {EVENTDEMO} "$@"; }}\nset -o pipefail\n{script}'],
        capture_output=True,
        text=True,
        env={**environment(), **variables},
        timeout=START_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def here(system: System) -> dict[str, str]:
    """The environment by which commands find the system."""
    return {"EVENTDEMO_URL": system.url}


@pytest.mark.parametrize("name", ["products", "flow", "sales --json", "config", "--version"])
def test_a_full_output_is_told_in_one_line(here: dict[str, str], name: str) -> None:
    ran = shell(f"eventdemo {name} > /dev/full", **here)
    assert ran.code == 1
    assert ran.err == "eventdemo: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("eventdemo products >&-", 0),
        ("eventdemo products <&- >&- 2>&-", 0),
        ("eventdemo buy sku-404 --wait 20 >&-", 6),
        ("eventdemo buy 2>&-", 2),
        ("eventdemo buy 2>/dev/full", 2),
        ("eventdemo products >/dev/full 2>/dev/full", 1),
    ],
)
def test_closed_and_full_streams_leave_the_exit_code_alone(
    here: dict[str, str], script: str, code: int
) -> None:
    ran = shell(script, **here)
    assert (ran.code, ran.err) == (code, "")


@pytest.mark.parametrize(
    "name", ["history sku-1", "flow --watch --every 0.1", "flow --watch --json --every 0.1"]
)
def test_a_reader_that_has_seen_enough_ends_the_command_in_silence(
    here: dict[str, str], name: str
) -> None:
    ran = shell(f"eventdemo {name} | head -n 1", **here)
    assert (ran.code, ran.err) in {(0, ""), (1, "")}
    assert ran.out.count("\n") == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_a_system_without_standard_streams_runs_with_its_worker(
    tmp_path: Path, command: Command, closed: str
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    script = f"exec {EVENTDEMO} up --port {port} --data data {closed} 2>log"
    system = subprocess.Popen(
        ["bash", "-c", script], env=environment(), cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        assert bought(command, url) == 0
        assert "worker died" not in (tmp_path / "log").read_text()
    finally:
        system.terminate()
        assert system.wait(START_S) == 0
    assert command("audit", "--data", tmp_path / "data").code == 0


@pytest.mark.parametrize("source", ["< /dev/null", "<&-", "< file"])
def test_a_worker_that_is_to_stop_with_its_input_stops_where_there_is_none(
    tmp_path: Path, source: str
) -> None:
    (tmp_path / "file").write_text("not empty")
    ran = shell(f"cd {tmp_path}; eventdemo work --all --stop-on-eof {source}")
    assert ran.code == 0
    assert "Traceback" not in ran.err


def bought(command: Command, url: str) -> int:
    """The exit code of a purchase, as soon as something answers."""
    deadline = time.monotonic() + START_S
    while (code := command("buy", "sku-1", "--wait", "60", "--url", url).code) == 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return code


@pytest.mark.parametrize("name", ["up", "serve", "work --all", "audit", "rebuild", "load"])
@pytest.mark.parametrize("files", [8, 32])
def test_too_few_open_files_are_told_before_anything_is_done(
    tmp_path: Path, name: str, files: int
) -> None:
    ran = shell(f"cd {tmp_path}; ulimit -n {files}; eventdemo {name}")
    assert ran.code == 2
    assert ran.err == (
        f"eventdemo: only {files} files may be open at once, and this takes 64: allow more with "
        "`ulimit -n 1024`\n"
    )
    assert not (tmp_path / "eventdemo-data").exists()


def test_a_limit_that_may_be_raised_is_raised(here: dict[str, str]) -> None:
    load = "eventdemo load --rate 20 --duration 0.2 --products 1 --no-audit"
    assert shell(f"ulimit -S -n 32; {load}", **here).code == 0
    ran = shell(f"ulimit -n 128; {load}", **here)
    assert ran.code == 2
    assert "`ulimit -n 1024`" in ran.err


@pytest.mark.parametrize("files", [8, 12, 32])
def test_clients_need_few_files(here: dict[str, str], files: int) -> None:
    ran = shell(f"ulimit -n {files}; eventdemo products", **here)
    assert ran.code == 0
    assert "Traceback" not in ran.err
