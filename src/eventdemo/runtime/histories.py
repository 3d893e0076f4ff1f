"""Reads what a batch has to know, so that a history that can't be read harms its own messages only.

A stream may hold what nobody can read: damage, or events of a later version of this program.
"""

import asyncio
from collections.abc import Mapping

from eventdemo.aggregates import Aggregate
from eventdemo.errors import EventdemoError, HistoryUnreadable
from eventdemo.ports import EventPool
from eventdemo.runtime.baselines import Baselines, Recorded

Known = tuple[dict[str, Aggregate], dict[str, Recorded]]

#: So many streams that could not be read are remembered; to forget one costs time only.
MAX_SUSPECTS = 10_000


class Histories:
    """Loads states together, those of streams that gave trouble before one by one.

    So a bad stream makes its whole batch slow once, and from then on costs a read of its own.
    """

    def __init__(self, pool: EventPool, baselines: Baselines) -> None:
        self._pool = pool
        self._baselines = baselines
        self._suspects: dict[str, None] = {}

    async def load(
        self, streams: Mapping[str, type[Aggregate]]
    ) -> tuple[dict[str, Aggregate], dict[str, Recorded], dict[str, Exception]]:
        """States, what each message recorded before, and why a stream can't be read.

        Raises ``StorageError``, which is nobody's history's fault.
        """
        suspects = [stream for stream in streams if stream in self._suspects]
        trusted = {stream: streams[stream] for stream in streams if stream not in self._suspects}
        together = await self._read(trusted)
        if isinstance(together, Exception):
            suspects, together = list(streams), ({}, {})
        alone = await asyncio.gather(*(self._read({s: streams[s]}) for s in suspects))
        (states, recorded), unreadable = together, dict[str, Exception]()
        for stream, found in zip(suspects, alone, strict=True):
            if isinstance(found, Exception):
                unreadable[stream] = found
                self._suspects[stream] = None
            else:
                states |= found[0]
                recorded |= found[1]
                self._suspects.pop(stream, None)
        while len(self._suspects) > MAX_SUSPECTS:
            del self._suspects[next(iter(self._suspects))]
        return states, recorded, unreadable

    async def _read(self, streams: Mapping[str, type[Aggregate]]) -> Known | Exception:
        """What the streams hold, or what reading them raised."""
        try:
            return await self._baselines.load(self._pool, streams)
        except HistoryUnreadable as error:
            return error
        except EventdemoError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a history can do to its reader
            return error
