"""Builds the read models again from the first event, while readers and the projector go on."""

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from eventdemo import errors
from eventdemo.ports import EventPool
from eventdemo.readmodels import generations
from eventdemo.readmodels.generation import Generation, opened

Progress = Callable[[int, int], None]

PAGE_EVENTS = 2_000
_LOCK = "rebuild.lock"


async def rebuild(pool: EventPool, folder: Path, progress: Progress) -> int:
    """Makes the next generation, hands over to it, and returns the position it stood at.

    ``progress`` is called with the position reached and the pool's head. Raises ``StorageBusy``
    if another rebuild runs. One that is killed leaves a file that the next one removes.
    """
    try:
        with generations.hold(folder / _LOCK):
            return await _rebuild(pool, folder, progress)
    except generations.Held:
        raise errors.StorageBusy(
            f"The read models in {folder} are being built already: wait until that ends."
        ) from None


async def _rebuild(pool: EventPool, folder: Path, progress: Progress) -> int:
    generations.remove_all_but(folder, generations.current(folder))
    generation = await opened(lambda: Generation.create(generations.following(folder)))
    try:
        while (head := await pool.head()) - generation.position > PAGE_EVENTS:
            await _catch_up(pool, generation, head, progress)
        await _take_over(pool, generation, progress)
    except BaseException:
        if generations.current(folder) != generation.path:
            generations.condemn(generation.path)
        raise
    finally:
        await generation.close()
    generations.remove_all_but(folder, generation.path)
    return generation.position


async def _catch_up(
    pool: EventPool, generation: Generation, position: int, progress: Progress
) -> None:
    """Applies what the pool holds, to a position at least."""
    while generation.position < position:
        page = await pool.read_all(after_position=generation.position, limit=PAGE_EVENTS)
        if not page:
            return
        await generation.apply(page)
        progress(generation.position, max(position, generation.position))


async def _take_over(pool: EventPool, generation: Generation, progress: Progress) -> None:
    """Replaces the pointer at a moment when the model that is read cannot move on.

    Its write lock keeps the projector waiting until the new model has come at least as far, so
    that no reader sees time go back; the projector looks at the pointer again once it has the
    lock, so that it writes nothing more to the old one.
    """
    await _catch_up(pool, generation, await pool.head(), progress)
    async with AsyncExitStack() as stack:
        if live := await opened(lambda: _open_live(generation.path.parent)):
            stack.push_async_callback(live.close)
            with suppress(errors.StorageCorrupt):
                position = await stack.enter_async_context(live.standing_still())
                await _catch_up(pool, generation, position, progress)
        if not generation.path.exists():
            raise errors.StorageMissing(
                f"{generation.path.parent} was removed while the read models were built: "
                "run the rebuild again."
            )
        generations.point_at(generation.path)
    progress(generation.position, generation.position)


def _open_live(folder: Path) -> Generation | None:
    path = generations.current(folder)
    try:
        return Generation.open(path) if path else None
    except (errors.StorageCorrupt, errors.StorageMissing):
        return None
