"""What belongs to another event pool is refused, and what is gone from its place is noticed."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from eventdemo import errors
from eventdemo.engines.sqlite import file
from eventdemo.readmodels.projector import Projector
from eventdemo.runtime.wiring import open_embedded, open_engine
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings
from tests.conformance.samples import restocks
from tests.flow.driving import Instance, buy, stock

pytestmark = pytest.mark.anyio

QUEUE = "eventdemo.queue.db"


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "LOOK_EVERY_S", 0.0)


async def filled(folder: Path) -> str:
    """Makes a data folder in which something was bought, and returns the id of its pool."""
    engine = await open_engine(Settings(data=folder))
    await stock(engine, "lamp", 10)
    await buy(engine, "lamp")
    await Instance(engine).run_dry()
    pool_id = await engine.pool.identity()
    await engine.close()
    return pool_id


async def refusal(
    error: type[errors.StorageError], settings: Settings, *, read_only: bool = False
) -> str:
    """The line with which opening fails."""
    with pytest.raises(error) as caught:
        await open_engine(settings, read_only=read_only)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- belonging together -------------------------------------------------------------------------


async def test_a_pool_keeps_its_id_and_each_has_its_own(tmp_path: Path) -> None:
    first = await filled(tmp_path / "one")
    assert first
    assert await filled(tmp_path / "one") == first
    assert await filled(tmp_path / "other") != first


async def test_a_file_of_schema_2_gets_an_id_when_it_is_opened(tmp_path: Path) -> None:
    await filled(tmp_path)
    for name in ("eventdemo.db", QUEUE):
        connection = apsw.Connection(str(tmp_path / name))
        connection.execute("DROP TABLE identity; PRAGMA user_version = 2")
        connection.close()
    pool_id = await filled(tmp_path)
    assert await filled(tmp_path) == pool_id


@pytest.mark.parametrize("read_only", [False, True])
async def test_the_queue_of_another_pool_is_refused(tmp_path: Path, read_only: bool) -> None:
    await filled(tmp_path / "one")
    await filled(tmp_path / "other")
    shutil.copy(tmp_path / "other" / QUEUE, tmp_path / "one" / QUEUE)
    line = await refusal(
        errors.StorageForeign, Settings(data=tmp_path / "one"), read_only=read_only
    )
    assert QUEUE in line


async def test_a_queue_whose_pool_is_lost_is_not_decided_anew(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / "eventdemo.db").unlink()
    for _ in range(2):
        line = await refusal(errors.StorageMissing, Settings(data=tmp_path))
        assert "backup" in line
    assert not (tmp_path / "eventdemo.db").exists()


async def test_files_that_were_swapped_are_refused(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / "eventdemo.db").rename(tmp_path / "x")
    (tmp_path / QUEUE).rename(tmp_path / "eventdemo.db")
    (tmp_path / "x").rename(tmp_path / QUEUE)
    assert "swapped" in await refusal(errors.StorageCorrupt, Settings(data=tmp_path))


@pytest.mark.parametrize("part", ["topics", "session_cache"])
async def test_a_part_elsewhere_belongs_to_the_first_pool_that_uses_it(
    tmp_path: Path, part: str
) -> None:
    urls = {part: f"sqlite:///{tmp_path / 'part.db'}"}
    for name in ("one", "one"):
        await (await open_engine(Settings(data=tmp_path / name, **urls))).close()  # type: ignore[arg-type]
    await refusal(errors.StorageForeign, Settings(data=tmp_path / "other", **urls))  # type: ignore[arg-type]


async def test_a_part_is_no_event_pool(tmp_path: Path) -> None:
    part = f"sqlite:///{tmp_path / 'part.db'}"
    await (await open_engine(Settings(data=tmp_path, topics=part))).close()
    line = await refusal(errors.StorageForeign, Settings(data=tmp_path, event_pool=part))
    assert "no event pool" in line


async def test_who_works_on_one_pool_does_not_open_the_one_that_took_its_place(
    tmp_path: Path,
) -> None:
    before = await filled(tmp_path)
    shutil.rmtree(tmp_path)
    await filled(tmp_path)
    with pytest.raises(errors.StorageForeign, match=before):
        await open_engine(Settings(data=tmp_path), pool_id=before)


# --- looking before touching --------------------------------------------------------------------


@pytest.mark.parametrize("read_only", [False, True])
async def test_another_programs_database_stays_byte_for_byte(
    tmp_path: Path, read_only: bool
) -> None:
    path = tmp_path / "eventdemo.db"
    diary = apsw.Connection(str(path))
    diary.execute("CREATE TABLE diary (entry TEXT)")
    diary.close()
    before = path.read_bytes()
    line = await refusal(errors.StorageCorrupt, Settings(data=tmp_path), read_only=read_only)
    assert "not an eventdemo database" in line
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["eventdemo.db"]


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_path_that_is_too_long(tmp_path: Path, read_only: bool) -> None:
    settings = Settings(data=tmp_path / ("x" * 300))
    assert "too long" in await refusal(errors.StorageReadOnly, settings, read_only=read_only)


# --- gone while it runs -------------------------------------------------------------------------


def remove(data: Path) -> None:
    shutil.rmtree(data)


def move(data: Path) -> None:
    data.rename(data.with_name("moved"))


def remove_the_flow(data: Path) -> None:
    (data / "eventdemo.db").unlink()


def remove_the_queue(data: Path) -> None:
    (data / QUEUE).unlink()


def remove_the_queues_log(data: Path) -> None:
    """In which the last commits are."""
    (data / f"{QUEUE}-wal").unlink()


def replace(data: Path) -> None:
    shutil.copytree(data, data.with_name("copy"))
    shutil.rmtree(data)
    data.with_name("copy").rename(data)


ways = pytest.mark.parametrize(
    "lose", [remove, move, remove_the_flow, remove_the_queue, remove_the_queues_log, replace]
)


@ways
async def test_nothing_is_accepted_once_the_files_are_gone(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    engine = await open_engine(Settings(data=tmp_path / "data"))
    await buy(engine, "lamp")
    lose(tmp_path / "data")
    with pytest.raises(errors.StorageLost, match="while this process had it open"):
        await buy(engine, "lamp")
    with pytest.raises(errors.StorageLost):
        await engine.pool.head()
    await engine.close()


async def test_a_commit_during_which_the_files_go_is_not_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LOOK_EVERY_S", 3_600.0)  # nobody looks before the commit
    engine = await open_engine(Settings(data=tmp_path / "data"))
    await buy(engine, "lamp")
    remove(tmp_path / "data")
    with pytest.raises(errors.OutcomeUnknown, match="is gone"):
        await buy(engine, "lamp")
    await engine.close()


async def test_what_is_brought_back_is_used_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    engine = await open_engine(Settings(data=data))
    data.rename(tmp_path / "moved")
    with pytest.raises(errors.StorageLost):
        await buy(engine, "lamp")
    (tmp_path / "moved").rename(data)
    assert await buy(engine, "lamp")
    await engine.close()


@ways
async def test_services_and_the_projector_end_and_say_why(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    engine = await open_engine(Settings(data=tmp_path / "data"))
    await engine.pool.append(restocks("lamp", 1))
    models = tmp_path / "models"
    stop = asyncio.Event()
    services = asyncio.create_task(run_services(engine, ["purchase_task"], stop))
    projector = asyncio.create_task(Projector(engine.pool, models).run(stop))
    while not (models / "current").exists():  # noqa: ASYNC110 - a file wakes nobody
        await asyncio.sleep(0.01)
    lose(tmp_path / "data")
    async with asyncio.timeout(60):
        with pytest.raises(ExceptionGroup) as caught:
            await services
        assert caught.value.subgroup(errors.StorageLost)
        with pytest.raises(errors.StorageLost):
            await projector
    await engine.close()


async def test_a_forgotten_one_and_the_one_in_its_place_do_not_meet(tmp_path: Path) -> None:
    """The new one's wake-ups, locks and counts are its own."""
    data = tmp_path / "data"
    forgotten = await open_embedded(data / "eventdemo.db")
    forgotten.topics.subscription("stock_check")
    shutil.rmtree(data)
    new = await open_embedded(data / "eventdemo.db")
    await new.open_messaging()
    new.topics.subscription("stock_check")
    assert new._peers.rank("stock_check") == (0, 1)
    await stock(new, "lamp", 1)
    await buy(new, "lamp")
    await Instance(new).run_dry()
    with pytest.raises(errors.StorageLost):
        await forgotten.topics.receive("stock_check", 10)
    await new.close()
    await forgotten.close()
