"""Builds the read models again from the first event, while readers and the projector go on."""

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from eventdemo import errors
from eventdemo.ports import EventPool
from eventdemo.readmodels import generations
from eventdemo.readmodels.generation import Generation, open_in_thread

Progress = Callable[[int, int], None]

PAGE_EVENTS = 2_000
_LOCK = "rebuild.lock"


async def rebuild(pool: EventPool, folder: Path, progress: Progress) -> int:
    """Makes the next generation, switches to it, and returns the position it has then reached.

    ``progress`` is called with the position reached and the pool's head. Raises ``StorageBusy``
    if another rebuild runs. The file that a killed rebuild leaves is removed by the next one.
    """
    try:
        with generations.hold(folder / _LOCK):
            return await _rebuild(pool, folder, progress)
    except generations.LockHeld:
        raise errors.StorageBusy(
            f"The read models in {folder} are being built already: wait until that ends."
        ) from None


async def _rebuild(pool: EventPool, folder: Path, progress: Progress) -> int:
    generations.remove_unowned(folder.parent)
    generations.remove_all_but(folder, generations.current(folder))
    generation = await open_in_thread(lambda: Generation.create(generations.following(folder)))
    try:
        while (head := await pool.head()) - generation.position > PAGE_EVENTS:
            await _catch_up(pool, generation, head, progress)
        await _take_over(pool, generation, progress)
    except BaseException:
        if generations.current(folder) != generation.path:
            generations.discard_corrupt(generation.path)
        raise
    finally:
        await generation.close()
    generations.remove_all_but(folder, generation.path)
    return generation.position


async def _catch_up(
    pool: EventPool, generation: Generation, position: int, progress: Progress
) -> None:
    """Applies events of the pool up to a position at least."""
    while generation.position < position:
        page = await pool.read_all(after_position=generation.position, limit=PAGE_EVENTS)
        if not page:
            return
        await generation.apply(page)
        progress(generation.position, max(position, generation.position))


async def _take_over(pool: EventPool, generation: Generation, progress: Progress) -> None:
    """Replaces the pointer while the old model cannot be written.

    Its write lock keeps the projector waiting until the new model has come at least as far, so
    that no reader sees time go back; the projector reads the pointer again once it has the lock,
    so that it writes nothing more to the old model.
    """
    await _catch_up(pool, generation, await pool.head(), progress)
    async with AsyncExitStack() as stack:
        if old := await open_in_thread(lambda: _open_current(generation.path.parent)):
            stack.push_async_callback(old.close)
            with suppress(errors.StorageCorrupt):
                position = await stack.enter_async_context(old.writes_blocked())
                await _catch_up(pool, generation, position, progress)
        if not generation.path.exists():
            raise errors.StorageMissing(
                f"{generation.path.parent} was removed while the read models were built: "
                "run the rebuild again."
            )
        generations.point_at(generation.path)
    progress(generation.position, generation.position)


def _open_current(folder: Path) -> Generation | None:
    path = generations.current(folder)
    try:
        return Generation.open(path) if path else None
    except (errors.StorageCorrupt, errors.StorageMissing, errors.StorageTooNew):
        return None
