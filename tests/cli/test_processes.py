"""Processes: started, signalled, killed; the operator's token; services on their own."""

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from eventdemo.flow import SERVICES
from tests.cli.conftest import START_S, Command, Process, System, free_port


def up(folder: Path, *arguments: object) -> System:
    port, data = free_port(), folder / "data"
    process = Process(["up", "--port", port, "--data", data, *arguments], folder)
    assert "answers at" in process.first_line()
    return System(process, f"http://127.0.0.1:{port}", data)


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether a process that is nobody's child here has ended in time; it tells nobody."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_within_five_seconds(
    tmp_path: Path, command: Command, number: signal.Signals
) -> None:
    running = up(tmp_path)
    with running.process as process:
        assert command("buy", "sku-1", "--wait", "10", "--url", running.url).code == 0
        (worker,) = process.children()
        process.signal(number)
        assert process.ends() == 0
        assert gone(worker)
        assert "Traceback" not in process.said()
    assert command("audit", "--data", running.data).code == 0


def test_a_worker_that_dies_is_started_again_and_loses_nothing(
    tmp_path: Path, command: Command
) -> None:
    running = up(tmp_path)
    with running.process as process:
        assert command("buy", "sku-1", "--wait", "10", "--url", running.url).code == 0
        (worker,) = process.children()
        os.kill(worker, signal.SIGKILL)
        assert command("buy", "sku-1", "--wait", "20", "--url", running.url).code == 0
        assert "worker died, starting it again" in process.said()
        assert process.children() != [worker]


def test_workers_end_when_their_parent_is_killed(tmp_path: Path, command: Command) -> None:
    running = up(tmp_path, "--workers", "2")
    with running.process as process:
        assert command("buy", "sku-1", "--wait", "10", "--url", running.url).code == 0
        workers = process.children()
        assert len(workers) == 2
        process.signal(signal.SIGKILL)
        assert all(gone(worker) for worker in workers)


def test_samples_are_added_to_an_empty_event_pool_only(tmp_path: Path, command: Command) -> None:
    first = up(tmp_path, "--no-samples")
    with first.process as process:
        assert command("products", "--url", first.url, "--json").json == []
        assert (
            command(
                "put-product", "mine", "--name", "Mine", "--price", "1", "--url", first.url
            ).code
            == 0
        )
        process.signal(signal.SIGTERM)
        assert process.ends(START_S) == 0
    second = up(tmp_path)
    with second.process:
        listed = command("products", "mine", "--url", second.url, "--json").json
        assert listed["name"] == "Mine"
        assert command("products", "sku-1", "--url", second.url).code == 1


def test_rows_of_the_flow_run_as_processes_of_their_own(tmp_path: Path, command: Command) -> None:
    port, data = free_port(), tmp_path / "data"
    url = f"http://127.0.0.1:{port}"
    with Process(["serve", "--port", port, "--data", data], tmp_path) as serve:
        assert "answers at" in serve.first_line()
        assert command("put-product", "p", "--name", "P", "--price", "1", "--url", url).code == 0
        assert command("restock", "p", "3", "--url", url).code == 0
        request_id = command("buy", "p", "--url", url, "--json").json["request_id"]
        assert "pending" in command("status", request_id, "--wait", "0.2", "--url", url).out
        with (
            Process(["work", "purchase_task", "stock_check", "--data", data], tmp_path),
            Process(["work", "process_order", "--data", data], tmp_path),
            Process(["work", "order_creation", "readmodels", "--data", data], tmp_path) as last,
        ):
            assert "confirmed" in command("status", request_id, "--wait", "20", "--url", url).out
            deadline = time.monotonic() + START_S  # the read models follow when they have started
            while command("products", "p", "--url", url, "--json").json["available"] != 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            last.signal(signal.SIGTERM)
            assert last.ends(START_S) == 0
        serve.signal(signal.SIGINT)
        assert serve.ends(START_S) == 0


def test_an_operator_needs_the_token_where_there_is_one(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eventdemo.toml").write_text('operator-token = "s3cret"\n')
    running = up(tmp_path)
    with running.process:
        assert command("restock", "sku-1", "1", "--url", running.url).code == 0
        load = ("load", "--rate", "10", "--duration", "0.5", "--no-audit", "--url", running.url)
        assert command(*load).code == 0
        (tmp_path / "eventdemo.toml").unlink()
        for arguments in (("restock", "sku-1", "1"), ("dead-letters",), load[:-2]):
            refused = command(*arguments, "--url", running.url)
            assert refused.code == 1
            assert "operator's token" in refused.err
            assert refused.err.count("\n") == 1
        monkeypatch.setenv("EVENTDEMO_OPERATOR_TOKEN", "s3cret")
        assert command("restock", "sku-1", "1", "--url", running.url).code == 0


def test_the_api_alone_offers_only_what_it_has(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    with Process(["serve", "--port", port, "--data", data], tmp_path) as process:
        lines = [process.first_line() for _ in range(6)]
        assert not any("sku-1" in line for line in lines), lines
        assert any("purchases wait until a worker decides them" in line for line in lines)
        process.signal(signal.SIGTERM)
        assert process.ends(START_S) == 0


def test_a_system_is_ready_when_its_workers_look_for_messages(tmp_path: Path) -> None:
    running = up(tmp_path)
    with running.process:
        deadline = time.monotonic() + START_S
        while httpx.get(f"{running.url}/health/ready").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        looks = [
            float(line.rpartition(" ")[2])
            for line in httpx.get(f"{running.url}/metrics").text.splitlines()
            if line.startswith("eventdemo_last_look_timestamp_seconds{")
        ]
        assert len(looks) == len(SERVICES)
        assert all(looks)
