"""A file that can't be used says so in one line that tells what to do next."""

from pathlib import Path

import apsw
import pytest

from eventdemo import errors
from eventdemo.engines.sqlite import opening
from eventdemo.lab.soak.faults import locked
from eventdemo.lab.soak.sandbox import SmallDisk
from eventdemo.runtime.wiring import open_embedded, open_engine
from eventdemo.settings import Settings
from tests.conformance.samples import restocks

pytestmark = pytest.mark.anyio


async def refusal(path: Path, error: type[errors.StorageError], **options: bool) -> str:
    """The one line with which opening the file fails."""
    with pytest.raises(errors.StorageError) as caught:
        await open_embedded(path, **options)
    assert type(caught.value) is error
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line or str(path.parent) in line
    assert ":" in line, "what to do next follows"
    return line


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database with some events, closed."""
    path = tmp_path / "data" / "eventdemo.db"
    engine = await open_engine(Settings(data=path.parent))
    await engine.pool.append(restocks("lamp", 500))
    await engine.close()
    return path


async def test_it_is_made_with_its_folder_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "eventdemo.db"
    engine = await open_embedded(path)
    await engine.pool.append(restocks("lamp", 1))
    await engine.close()
    assert path.exists()


async def test_one_that_must_exist_and_does_not(tmp_path: Path) -> None:
    for path in (tmp_path / "eventdemo.db", tmp_path / "none" / "eventdemo.db"):
        assert "eventdemo up" in await refusal(path, errors.StorageMissing, must_exist=True)
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"


@pytest.mark.parametrize("garbage", [b"no database at all", b"x" * 100_000])
async def test_one_that_is_no_database(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "eventdemo.db"
    path.write_bytes(garbage)
    await refusal(path, errors.StorageCorrupt)
    assert path.read_bytes() == garbage, "it is left as it was"


async def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "eventdemo.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE diary (entry TEXT)")
    connection.close()
    assert "not an eventdemo database" in await refusal(path, errors.StorageCorrupt)


@pytest.mark.parametrize("kept", [0.3, 0.9])
async def test_one_that_was_cut_short(path: Path, kept: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "backup" in await refusal(path, errors.StorageCorrupt)


async def test_one_of_a_later_version(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", opening.SCHEMA_VERSION + 1)
    connection.close()
    assert "upgrade eventdemo" in await refusal(path, errors.StorageTooNew)


async def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "eventdemo.db"
    path.mkdir()
    assert "--data" in await refusal(path, errors.StorageReadOnly)


async def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    line = await refusal(tmp_path / "data" / "eventdemo.db", errors.StorageReadOnly)
    assert "--data" in line


async def test_a_disk_that_cannot_be_written(disk: SmallDisk) -> None:
    engine = await open_embedded(disk.path / "eventdemo.db")
    await engine.close()
    disk.remount("ro")
    await refusal(disk.path / "eventdemo.db", errors.StorageReadOnly)
    await refusal(disk.path / "new.db", errors.StorageReadOnly)
    await refusal(disk.path / "sub" / "new.db", errors.StorageReadOnly)
    disk.remount("rw")
    await (await open_embedded(disk.path / "eventdemo.db")).close()


async def test_a_disk_that_is_full_from_the_start(disk: SmallDisk) -> None:
    path = disk.path / "eventdemo.db"
    disk.fill()
    await refusal(path, errors.StorageFull)
    disk.free()
    engine = await open_embedded(path)
    await engine.pool.append(restocks("lamp", 1))
    assert await engine.pool.head() == 1
    await engine.close()


@pytest.mark.parametrize("room", [8_192, 32_768, 65_536])
async def test_a_disk_that_is_full_halfway_through_the_making(disk: SmallDisk, room: int) -> None:
    """What was begun does not stand in the way of the next start."""
    disk.fill(but_for_bytes=room)
    path = disk.path / "eventdemo.db"
    await refusal(path, errors.StorageFull)
    disk.free()
    engine = await open_embedded(path)
    await engine.pool.append(restocks("lamp", 1))
    assert await engine.pool.head() == 1
    await engine.close()


async def test_one_that_another_program_keeps_locked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_MS", 50)
    with locked(path):
        assert "another program" in await refusal(path, errors.StorageBusy)
    engine = await open_embedded(path)
    assert await engine.pool.head() == 500
    await engine.close()
