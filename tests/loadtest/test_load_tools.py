"""JMeter and Locust buy what a system sells, and fail where it sells more than it has."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.conftest import Process, environment, free_port
from tests.loadtest.liar import UNITS, liar
from tests.servers.programs import program

ROOT = Path(__file__).parents[2]
#: Where `make .venv/.jmeter` lays JMeter out.
JMETER = ROOT / ".venv" / "jmeter" / "home"

RATE = 20
DURATION_S = 3
STOCK = 10
ENDS_WITHIN_S = 300
TOKEN = "only-for-this-test"

SOLD = re.compile(r"sold (\d+) of (\d+) units to (\d+) buyers: (\d+) confirmed, (\d+) out of stock")


class Load(NamedTuple):
    """What a tool is told."""

    url: str
    duration_s: int = DURATION_S
    stock: int = STOCK
    patience_s: int = 5


Command = Callable[[Load, Path], list[str]]


def jmeter(load: Load, folder: Path) -> list[str]:
    java = program("java", "default-jre-headless")
    if not JMETER.exists():
        pytest.skip("no JMeter: make .venv/.jmeter")
    properties = {
        "url": load.url,
        "rate": RATE,
        "duration": load.duration_s,
        "stock": load.stock,
        "patience": load.patience_s,
        "jmeterengine.force.system.exit": "true",
        "jmeterengine.nongui.port": 0,
    }
    return [
        java,
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={folder}",
        f"-Djava.util.prefs.userRoot={folder}",
        f"-Djmeter.home={JMETER}",
        "-jar",
        str(JMETER / "bin" / "ApacheJMeter.jar"),
        "-n",
        *("-t", str(ROOT / "loadtest" / "eventdemo.jmx")),
        *("-l", str(folder / "results.jtl")),
        *("-j", str(folder / "jmeter.log")),
        *(f"-J{name}={value}" for name, value in properties.items()),
    ]


def locust(load: Load, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "locust", "--headless", "--only-summary"),
        *("--locustfile", str(ROOT / "loadtest" / "locustfile.py")),
        *("--host", load.url),
        *("--rate", str(RATE)),
        *("--run-time", f"{load.duration_s}s"),
        *("--stock", str(load.stock)),
        *("--patience", str(load.patience_s)),
    ]


def ran(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment(), "EVENTDEMO_OPERATOR_TOKEN": TOKEN, "NO_PROXY": "*"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )


@pytest.mark.parametrize("tool", [jmeter, locust])
def test_a_tool_sells_the_shelf_empty_and_refuses_the_rest(tool: Command, tmp_path: Path) -> None:
    port = free_port()
    command = tool(Load(f"http://127.0.0.1:{port}"), tmp_path)
    (tmp_path / "eventdemo.toml").write_text(f'operator-token = "{TOKEN}"\n')
    with Process(["up", "--port", port, "--data", tmp_path / "data"], tmp_path) as system:
        assert "answers at" in system.first_line()
        run = ran(command, tmp_path)
    assert run.returncode == 0, run.stdout
    sold = SOLD.search(run.stdout)
    assert sold, run.stdout
    units, received, bought, confirmed, refused = map(int, sold.groups())
    assert units == confirmed == received == STOCK
    assert bought == confirmed + refused
    assert refused > 0


@pytest.mark.parametrize("tool", [jmeter, locust])
def test_a_tool_fails_where_more_is_sold_than_there_is(tool: Command, tmp_path: Path) -> None:
    with liar() as url:
        run = ran(tool(Load(url, duration_s=1, stock=UNITS, patience_s=1), tmp_path), tmp_path)
    assert run.returncode == 1, run.stdout
    assert "stock at the end" in run.stdout
    assert "oversold" in run.stdout
