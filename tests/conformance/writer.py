"""Appends in a process of its own: ``python -m tests.conformance.writer ADAPTER FOLDER NAME N``."""

import asyncio
import sys
from pathlib import Path

from tests.adapters import adapter_of
from tests.conformance.test_event_pool import write_beside


async def main(adapter: str, folder: str, name: str, count: str) -> None:
    engine = await adapter_of(adapter).open(Path(folder))
    await write_beside(engine.pool, name, int(count))
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
