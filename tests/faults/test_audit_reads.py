"""The audit only reads: it works where nothing can be written, and leaves everything as it was."""

import asyncio
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from eventdemo import errors
from eventdemo.audit.receipt import Receipt
from eventdemo.cli.reports import audit_of
from eventdemo.lab.soak.sandbox import SmallDisk
from eventdemo.ports import Engine
from eventdemo.readmodels.rebuild import rebuild
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings
from tests.flow.driving import Instance, buy, buy_many, stock
from tests.upgrade.test_stored_data import folder as earlier

pytestmark = pytest.mark.anyio

__all__ = ["earlier"]


@pytest.fixture(params=["a disk", "a folder"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where data is kept: on a small disk where one can be mounted."""
    if request.param == "a disk":
        disk: SmallDisk = request.getfixturevalue("disk")
        yield disk.path / "data"
    else:
        yield tmp_path / "data"


async def fill(data: Path) -> Engine:
    """Makes a system that has decided 30 purchases, and keeps it open."""
    settings = Settings(data=data)
    engine = await open_engine(settings)
    await stock(engine, "lamp", 20)
    await buy_many(engine, ["lamp"] * 30)
    await Instance(engine).run_dry()
    models = settings.read_models / await engine.pool.identity()
    await rebuild(engine.pool, models, lambda *_: None)
    return engine


def check(receipt: Receipt) -> None:
    assert receipt.clean, receipt.broken
    assert (receipt.accepted, receipt.confirmed, receipt.failed) == (30, 20, 10)
    assert receipt.read_models_position == receipt.position


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file, but for SQLite's own index."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


async def test_beside_a_system_that_runs(data: Path) -> None:
    engine = await fill(data)
    before = contents(data)
    check(await audit_of(Settings(data=data)))
    assert contents(data) == before
    await engine.close()


async def test_on_a_read_only_file_system(disk: SmallDisk) -> None:
    engine = await fill(disk.path / "data")
    await engine.close()
    disk.remount("ro")
    check(await audit_of(Settings(data=disk.path / "data")))
    with pytest.raises(errors.StorageReadOnly, match="--data"):
        await open_engine(Settings(data=disk.path / "data"))
    disk.remount("rw")


async def test_a_copy_of_a_running_system_on_a_read_only_file_system(
    disk: SmallDisk, tmp_path: Path
) -> None:
    """With logs that hold the last commits, and without the index by which they are found."""
    engine = await fill(tmp_path / "data")
    await buy(engine, "lamp")
    shutil.copytree(
        tmp_path / "data", disk.path / "copy", ignore=shutil.ignore_patterns("*-shm", "*lock")
    )
    await engine.close()
    disk.remount("ro")
    receipt = await audit_of(Settings(data=disk.path / "copy"))
    assert (receipt.accepted, receipt.pending, receipt.broken) == (31, 1, [])
    disk.remount("rw")


async def test_on_a_full_disk(disk: SmallDisk) -> None:
    engine = await fill(disk.path / "data")
    await engine.close()
    disk.fill()
    before = contents(disk.path / "data")
    check(await audit_of(Settings(data=disk.path / "data")))
    after = contents(disk.path / "data")
    assert {name: after[name] for name in before} == before


async def test_a_copy_of_a_backup_stays_as_it_is(tmp_path: Path) -> None:
    engine = await fill(tmp_path / "data")
    await engine.close()
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    before = contents(tmp_path / "copy")
    check(await audit_of(Settings(data=tmp_path / "copy")))
    assert contents(tmp_path / "copy") == before


async def test_a_folder_of_the_version_before_is_not_upgraded(earlier: Path) -> None:
    before = contents(earlier)
    receipt = await audit_of(Settings(data=earlier))
    assert receipt.accepted > 0
    assert receipt.clean, receipt.broken
    assert contents(earlier) == before


async def test_a_damaged_read_model_is_left_to_the_projector(tmp_path: Path) -> None:
    engine = await fill(tmp_path)
    (model,) = (tmp_path / "readmodels").glob("*/*.db")
    await engine.close()
    model.write_bytes(b"x" * 5_000)
    receipt = await audit_of(Settings(data=tmp_path))
    assert receipt.read_models_position is None
    assert model.exists()


async def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(errors.StorageMissing, match="eventdemo up"):
        await audit_of(Settings(data=tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []


async def test_beside_a_system_that_decides_meanwhile(tmp_path: Path) -> None:
    engine = await fill(tmp_path)
    stop = asyncio.Event()

    async def go_on() -> None:
        while not stop.is_set():
            await buy(engine, "lamp")
            await Instance(engine).run_dry()

    going_on = asyncio.create_task(go_on())
    for _ in range(5):
        receipt = await audit_of(Settings(data=tmp_path))
        assert receipt.clean, receipt.broken
    stop.set()
    await going_on
    await engine.close()
