"""One queue as one instance sees it: what it holds, what it handed out, and a poll for more."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from msgspec import Struct

from eventdemo.engines.aws.sqs.deliveries import Parcel
from eventdemo.engines.aws.sqs.leases import Catch, LeaseTerms
from eventdemo.engines.aws.sqs.messaging import MAX_ENTRIES_PER_CALL, Delivery, Messaging
from eventdemo.errors import AlreadyHandled, StorageError

#: Calls that fetch from one queue at the same time.
MAX_CALLS = 8


class Held(Struct, eq=False):
    """A parcel, and the catch with which it is held. ``receipt`` is under which it was handed out
    last."""

    parcel: Parcel
    catch: Catch
    receipt: "Receipt | None" = None


class Receipt:
    """What one ``Received`` took of a queue. It can be settled once, and only while it is held."""

    def __init__(self, source: "Source", held: Sequence[Held]) -> None:
        self.source = source
        self.held = held
        for each in held:
            each.receipt = self

    def check(self) -> None:
        """Raises ``AlreadyHandled`` if these messages may be somebody else's."""
        for each in self.held:
            if each.receipt is not self or each.catch.lost:
                raise AlreadyHandled(
                    f"{self.source.queue}: what was received is no longer held by this instance"
                )
        self.source.touch()

    async def end(self) -> None:
        """Ends the messages. Raises ``AlreadyHandled`` if one was somebody else's already."""
        if not await self.source.end(self.held):
            raise AlreadyHandled(f"{self.source.queue}: another instance was first")

    @property
    def parcels(self) -> list[Parcel]:
        return [each.parcel for each in self.held]


class Source:
    """One queue. ``open_all`` makes parcels of deliveries.

    What was handed out and not settled is handed out again from here, without asking SQS for it:
    so that what SQS counts is how often its holder died, and not how often a database was away.
    """

    def __init__(
        self,
        messaging: Messaging,
        queue: str,
        open_all: Callable[[Sequence[Delivery]], Awaitable[Sequence[Parcel]]],
        terms: LeaseTerms,
        clock: Callable[[], int],
    ) -> None:
        self.queue = queue
        self._messaging = messaging
        self._open_all = open_all
        self._terms = terms
        self._clock = clock
        self._ready: deque[Held] = deque()
        self._out: list[Held] = []
        self._touched_s = 0.0
        self._poll: asyncio.Task[int] | None = None
        self._calls: set[asyncio.Task[int]] = set()
        self._heart: asyncio.Task[None] | None = None

    # --- handing out ----------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether there is something to hand out at once."""
        return bool(self._ready)

    def touch(self) -> None:
        """Somebody works on what this source hands out."""
        self._touched_s = _now_s()
        self._keep_alive()

    def take_back(self) -> None:
        """Whoever receives again gave up what it did not settle; that comes first."""
        for each in reversed(self._out):
            each.receipt = None
            self._ready.appendleft(each)
        self._out = []
        self._drop_lost()
        self.touch()

    async def fill(self, limit: int) -> bool:
        """Fetches until about ``limit`` messages are held, or no more are to be had; whether the
        first call brought any."""
        calls, brought = 1, False
        while (lacking := limit - self._size()) > 0:
            fetches = [self._call(0) for _ in range(calls)]
            await asyncio.wait(fetches)
            counts = [fetch.result() for fetch in fetches]
            brought = brought or sum(counts) > 0
            if min(counts) < MAX_ENTRIES_PER_CALL:
                break
            calls = min(MAX_CALLS, 1 + lacking // (MAX_ENTRIES_PER_CALL * self._mean_size()))
        return brought

    def hand_out(self, choose: Callable[[Sequence[Held]], Sequence[Held]]) -> "Receipt | None":
        """Hands out what ``choose`` takes of what is ready, if there is anything."""
        self._drop_lost()
        if not self._ready:
            return None
        taken = choose(self._ready)
        gone = set(map(id, taken))
        self._ready = deque(each for each in self._ready if id(each) not in gone)
        self._out += taken
        return Receipt(self, taken)

    async def end(self, held: Sequence[Held]) -> bool:
        """Ends messages; whether all were still held."""
        handles = [each.parcel.delivery.handle for each in held]
        all_held = await self._messaging.delete(self.queue, handles)
        gone = set(map(id, held))
        self._out = [each for each in self._out if id(each) not in gone]
        for each in held:
            each.receipt = None
            each.catch.handles.discard(each.parcel.delivery.handle)
        return all_held

    # --- fetching -------------------------------------------------------------------------

    @property
    def polling(self) -> bool:
        """Whether a poll is under way, which says that the queue was empty so far."""
        return self._poll is not None and not self._poll.done()

    def poll(self) -> asyncio.Task[int]:
        """The poll that is under way, or one that begins. It goes on when nobody waits for it any
        more, and what it brings is handed out next."""
        if self._poll is None or self._poll.done():
            self._poll = self._call(self._terms.poll_s)
        return self._poll

    def _call(self, wait_s: int) -> asyncio.Task[int]:
        """A call that brings what it brings also when whoever began it is cancelled."""
        call = asyncio.create_task(self._fetch(wait_s))
        self._calls.add(call)
        call.add_done_callback(self._end_call)
        return call

    def _end_call(self, call: asyncio.Task[int]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # of a poll for which nobody waits: the next call will meet it too

    async def _fetch(self, wait_s: int) -> int:
        """How many deliveries came."""
        catch = Catch(self._terms.lease_s, self._clock)
        deliveries = await self._messaging.receive(
            self.queue, visibility_timeout_s=self._terms.lease_s, wait_s=wait_s
        )
        try:
            parcels = await self._open_all(deliveries) if deliveries else ()
        except StorageError:
            await self._give_back([delivery.handle for delivery in deliveries])
            raise
        catch.handles.update(parcel.delivery.handle for parcel in parcels)
        self._ready.extend(Held(parcel, catch) for parcel in parcels)
        self._keep_alive()
        return len(deliveries)

    def _size(self) -> int:
        return sum(each.parcel.size for each in self._ready)

    def _mean_size(self) -> int:
        return max(1, self._size() // max(1, len(self._ready)))

    # --- holding --------------------------------------------------------------------------

    def _catches(self) -> list[Catch]:
        return list({id(each.catch): each.catch for each in (*self._ready, *self._out)}.values())

    def _drop_lost(self) -> None:
        self._ready = deque(each for each in self._ready if not each.catch.lost)

    def _keep_alive(self) -> None:
        if (self._ready or self._out) and (self._heart is None or self._heart.done()):
            self._heart = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        """Prolongs what is held, until nothing is or nobody works on it any more."""
        while held := [catch for catch in self._catches() if not catch.lost]:
            if _now_s() - self._touched_s > self._terms.idle_s:
                return
            await self._prolong([each for each in held if each.left_s <= 2 * self._terms.beat_s])
            await asyncio.sleep(self._terms.beat_s)

    async def _prolong(self, catches: Sequence[Catch]) -> None:
        if not catches:
            return
        now = catches[0].now()
        handles = [handle for catch in catches for handle in catch.handles]
        with suppress(StorageError, TimeoutError):  # it is tried again before the lease ends
            async with asyncio.timeout(self._terms.beat_s / 2):
                await self._messaging.extend(self.queue, handles, self._terms.lease_s)
            for catch in catches:
                if not catch.lost:
                    catch.hold_from(*now)

    # --- the end --------------------------------------------------------------------------

    async def close(self) -> None:
        """Gives back all that is held, also what calls that are under way bring."""
        if self._calls:
            await asyncio.wait(set(self._calls))
        if self._heart:
            self._heart.cancel()
        await self._give_back([handle for catch in self._catches() for handle in catch.handles])
        self._ready.clear()
        self._out = []

    async def _give_back(self, handles: Sequence[str]) -> None:
        with suppress(StorageError):  # then they come again when the lease ends
            if handles:
                await self._messaging.extend(self.queue, handles, 0)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
