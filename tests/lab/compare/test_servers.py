"""Servers and contenders come up private and durable, and leave nothing behind."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from eventdemo.lab.compare import servers
from eventdemo.lab.compare.contender import ServerKind
from eventdemo.lab.compare.programs import NotStarted, remove_abandoned
from eventdemo.lab.compare.rows import CONTENDERS, GROUP_COMMIT_SQLITE, MONOLITH, VERTICAL
from eventdemo.lab.compare.servers import Servers, servers_for
from eventdemo.lab.compare.system import lacking, running
from eventdemo.lab.scratch import scratch

pytestmark = pytest.mark.anyio


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


async def fail(folder: Path, pids: list[int]) -> None:
    async with servers_for(set(ServerKind), folder) as opened:
        if opened.postgresql:
            pids += opened.postgresql.pids()
        async with running(GROUP_COMMIT_SQLITE, opened) as system:
            pids += system.pids()
            raise ZeroDivisionError


async def test_nothing_is_left_when_a_comparison_fails(anyio_backend: str) -> None:
    pids: list[int] = []
    with scratch("eventdemo-compare-") as folder:
        with pytest.raises(ZeroDivisionError):
            await fail(folder, pids)
        assert not [path for path in folder.iterdir() if path.name.startswith("group-commit")]
    assert pids
    assert all(map(gone, pids))
    assert not folder.exists()


KILLED = """
import asyncio, sys
from pathlib import Path
from eventdemo.lab.compare.rows import VERTICAL
from eventdemo.lab.compare.servers import servers_for
from eventdemo.lab.compare.system import running
from eventdemo.lab.scratch import scratch

async def main():
    with scratch("eventdemo-killed-", Path(sys.argv[1])) as folder:
        async with servers_for(VERTICAL.servers, folder) as servers:
            async with running(VERTICAL, servers) as system:
                print(*system.pids(), *servers.postgresql.pids(), flush=True)
                await asyncio.sleep(60)

asyncio.run(main())
"""


def killed_comparison(folder: Path) -> list[int]:
    """The processes of a comparison that was killed when all of them ran."""
    command = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
    return pids


async def test_what_a_killed_comparison_left_is_swept_by_the_next(
    servers: Servers, anyio_backend: str
) -> None:
    if reason := lacking(VERTICAL, servers):
        pytest.skip(reason)
    pids = killed_comparison(servers.folder)
    assert pids
    with scratch("eventdemo-killed-", servers.folder, remove_abandoned) as folder:
        assert list(servers.folder.glob("eventdemo-killed-*")) == [folder]
    deadline = time.monotonic() + 20
    while not all(map(gone, pids)):
        assert time.monotonic() < deadline, [pid for pid in pids if not gone(pid)]
        await asyncio.sleep(0.05)


async def test_servers_write_to_the_disk_before_they_answer(servers: Servers) -> None:
    if reason := servers.lacking({ServerKind.POSTGRESQL, ServerKind.REDIS}):
        pytest.skip(reason)
    assert servers.postgresql
    url = await servers.postgresql.database()
    connection = await asyncpg.connect(url)
    names = ("fsync", "synchronous_commit", "full_page_writes")
    assert [await connection.fetchval(f"SHOW {name}") for name in names] == ["on"] * 3
    await connection.close()
    await servers.postgresql.drop(url)
    async with servers.redis() as server, redis.asyncio.Redis.from_url(server.url) as client:
        settings = await client.config_get("append*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"


async def test_what_is_missing_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "find", lambda name: None)
    monkeypatch.setattr(servers, "find_spec", lambda name: None)
    monkeypatch.setattr(servers, "DEBIAN_POSTGRESQL", tmp_path)
    async with servers_for(set(ServerKind), tmp_path) as opened:
        assert set(opened.missing) == set(ServerKind)
        assert all("apt-get install" in reason for reason in opened.missing.values())
        with pytest.raises(NotStarted, match="monolith: PostgreSQL"):
            async with running(MONOLITH, opened):
                pass


def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventdemo.lab.compare.system.find_spec", lambda name: None)
    reason = lacking(MONOLITH, Servers(tmp_path))
    assert reason
    assert "pip install 'eventdemo[compare]'" in reason


def test_every_contender_has_its_code_and_its_own_name() -> None:
    root = Path(__file__).parents[3]
    assert all((root / contender.path).is_file() for contender in CONTENDERS)
    assert len({contender.name for contender in CONTENDERS}) == len(CONTENDERS)
    assert os.path.sep not in "".join(contender.name for contender in CONTENDERS)
