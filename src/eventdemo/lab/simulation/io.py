"""How a client of a model reaches it: at once, or through a simulated process's I/O."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Io(Protocol):
    """Asks for something and gets the answer."""

    async def __call__(self, what: str, action: Callable[[], T], *, writes: bool) -> T: ...


async def at_once(what: str, action: Callable[[], T], *, writes: bool) -> T:
    """Nothing goes wrong, but others have their turn."""
    await asyncio.sleep(0)
    return action()
