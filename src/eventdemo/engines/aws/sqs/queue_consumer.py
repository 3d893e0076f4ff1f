"""One queue as one instance reads it: what it leases, what it handed out, and a poll for more."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from msgspec import Struct

from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.encoding import SqsDelivery
from eventdemo.engines.aws.sqs.messaging import MAX_MESSAGES_PER_CALL, QueueMessage
from eventdemo.errors import AlreadyHandled, StorageError

#: Calls that fetch from one queue at the same time.
MAX_CALLS = 8


class Lease:
    """The time for which SQS hands the messages of one call to no other instance.

    They are held together and lost together, so that a group stays in order. Two clocks measure
    the lease, because each stands still at times: the loop's while the machine sleeps, the wall's
    when it is set back.
    """

    def __init__(self, lease_s: int, clock: Callable[[], int]) -> None:
        self.handles: set[str] = set()
        self._lease_s = lease_s
        self._clock = clock
        self._until_s = 0.0
        self._until_us = 0
        self.renew(*self.now())

    def now(self) -> tuple[float, int]:
        """Both clocks; to be read before a call that begins or prolongs the lease."""
        return asyncio.get_running_loop().time(), self._clock()

    def renew(self, now_s: float, now_us: int) -> None:
        """SQS began or prolonged the lease at this time or later."""
        self._until_s = now_s + self._lease_s
        self._until_us = now_us + self._lease_s * 1_000_000

    @property
    def left_s(self) -> float:
        """The time for which the lease still lasts, by the clock that says less."""
        now_s, now_us = self.now()
        return min(self._until_s - now_s, (self._until_us - now_us) / 1_000_000)

    @property
    def expired(self) -> bool:
        """True when another instance may have the messages."""
        return self.left_s <= 0


class LeasedDelivery(Struct, eq=False):
    """A delivery, its lease, and the receipt with which it was handed out last."""

    delivery: SqsDelivery
    lease: Lease
    receipt: "LeaseReceipt | None" = None


class LeaseReceipt:
    """The receipt of one ``Received``: settles it once, and only while its leases last."""

    def __init__(self, consumer: "QueueConsumer", leased: Sequence[LeasedDelivery]) -> None:
        self.consumer = consumer
        self.leased = leased
        for item in leased:
            item.receipt = self

    @property
    def deliveries(self) -> list[SqsDelivery]:
        return [item.delivery for item in self.leased]

    def check(self) -> None:
        """Raises ``AlreadyHandled`` if these messages may be somebody else's."""
        for item in self.leased:
            if item.receipt is not self or item.lease.expired:
                raise AlreadyHandled(
                    f"{self.consumer.queue}: what was received is no longer held by this instance"
                )
        self.consumer.keep_alive()

    async def end(self) -> None:
        """Ends the messages. Raises ``AlreadyHandled`` if one was somebody else's already."""
        if not await self.consumer.end(self.leased):
            raise AlreadyHandled(f"{self.consumer.queue}: another instance was first")


class QueueConsumer:
    """Reads one queue; ``decode`` makes deliveries of its messages. ``has_more`` says that the last
    call came back full.

    Deliveries that were handed out and not settled are handed out again from here, without asking
    SQS for them: so SQS counts how often their holder died, and not how often a database was away.
    """

    def __init__(
        self,
        context: MessagingContext,
        queue: str,
        decode: Callable[[Sequence[QueueMessage]], Awaitable[Sequence[SqsDelivery]]],
    ) -> None:
        self.queue = queue
        self._messaging = context.messaging
        self._decode = decode
        self._settings = context.settings
        self._clock = context.clock
        self._ready: deque[LeasedDelivery] = deque()
        self._unsettled: list[LeasedDelivery] = []
        self._used_s = 0.0
        self.has_more = False
        self._poll: asyncio.Task[int] | None = None
        self._calls: set[asyncio.Task[int]] = set()
        self._prolonging: asyncio.Task[None] | None = None

    # --- handing out ----------------------------------------------------------------------

    @property
    def has_ready(self) -> bool:
        """True when there is something to hand out at once."""
        return bool(self._ready)

    def keep_alive(self) -> None:
        """Prolongs the leases for another while: somebody works on these messages."""
        self._used_s = asyncio.get_running_loop().time()
        self._start_heartbeat()

    def requeue_unsettled(self) -> None:
        """Takes back what was handed out and not settled; it is handed out first."""
        for item in reversed(self._unsettled):
            item.receipt = None
            self._ready.appendleft(item)
        self._unsettled = []
        self._drop_expired()
        self.keep_alive()

    async def fill(self, limit: int) -> bool:
        """Fetches until about ``limit`` messages are ready, or no more are to be had; returns
        whether any came."""
        calls, came = 1, False
        while (lacking := limit - self._size()) > 0:
            fetches = [self._call(0) for _ in range(calls)]
            await asyncio.wait(fetches)
            counts = [fetch.result() for fetch in fetches]
            came = came or sum(counts) > 0
            if min(counts) < MAX_MESSAGES_PER_CALL:
                break
            mean_size = max(1, self._size() // max(1, len(self._ready)))
            calls = min(MAX_CALLS, 1 + lacking // (MAX_MESSAGES_PER_CALL * mean_size))
        return came

    def hand_out(
        self,
        choose: Callable[[Sequence[LeasedDelivery], int], Sequence[LeasedDelivery]],
        limit: int,
    ) -> LeaseReceipt | None:
        """Hands out those that ``choose`` takes of what is ready, if there is anything."""
        self._drop_expired()
        if not self._ready:
            return None
        chosen = choose(self._ready, limit)
        gone = set(chosen)
        self._ready = deque(item for item in self._ready if item not in gone)
        self._unsettled += chosen
        return LeaseReceipt(self, chosen)

    async def end(self, leased: Sequence[LeasedDelivery]) -> bool:
        """Ends messages; returns whether all were still held."""
        handles = [item.delivery.stored.handle for item in leased]
        all_held = await self._messaging.delete(self.queue, handles)
        gone = set(leased)
        self._unsettled = [item for item in self._unsettled if item not in gone]
        for item, handle in zip(leased, handles, strict=True):
            item.receipt = None
            item.lease.handles.discard(handle)
        return all_held

    # --- fetching -------------------------------------------------------------------------

    @property
    def polling(self) -> bool:
        """True while a poll is under way, which says that the queue was empty so far."""
        return self._poll is not None and not self._poll.done()

    def poll(self) -> asyncio.Task[int]:
        """The poll that is under way, or one that begins. It goes on when nobody waits for it any
        more, and the messages that it brings are handed out next."""
        if self._poll is None or self._poll.done():
            self._poll = self._call(self._settings.poll_s)
        return self._poll

    def _call(self, wait_s: int) -> asyncio.Task[int]:
        """A fetch that ends also when the task that began it is cancelled."""
        call = asyncio.create_task(self._fetch(wait_s))
        self._calls.add(call)
        call.add_done_callback(self._end_call)
        return call

    def _end_call(self, call: asyncio.Task[int]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # of a poll for which nobody waits: the next call will meet it too

    async def _fetch(self, wait_s: int) -> int:
        """The number of messages that came."""
        lease = Lease(self._settings.lease_s, self._clock)
        messages = await self._messaging.receive(
            self.queue, visibility_timeout_s=self._settings.lease_s, wait_s=wait_s
        )
        try:
            deliveries = await self._decode(messages) if messages else ()
        except StorageError:
            await self._give_back([message.handle for message in messages])
            raise
        self.has_more = len(messages) == MAX_MESSAGES_PER_CALL
        lease.handles.update(delivery.stored.handle for delivery in deliveries)
        self._ready.extend(LeasedDelivery(delivery, lease) for delivery in deliveries)
        self._start_heartbeat()
        return len(messages)

    def _size(self) -> int:
        return sum(item.delivery.size for item in self._ready)

    # --- leases ---------------------------------------------------------------------------

    def _leases(self) -> list[Lease]:
        return list(dict.fromkeys(item.lease for item in (*self._ready, *self._unsettled)))

    def _drop_expired(self) -> None:
        self._ready = deque(item for item in self._ready if not item.lease.expired)

    def _start_heartbeat(self) -> None:
        idle = self._prolonging is None or self._prolonging.done()
        if idle and (self._ready or self._unsettled):
            self._prolonging = asyncio.create_task(self._heartbeat())

    async def _heartbeat(self) -> None:
        """Prolongs leases, until there is none or nobody works on their messages any more."""
        interval_s = self._settings.heartbeat_s
        while leases := [lease for lease in self._leases() if not lease.expired]:
            if asyncio.get_running_loop().time() - self._used_s > self._settings.idle_s:
                return
            if due := [lease for lease in leases if lease.left_s <= 2 * interval_s]:
                await self._prolong(due)
            await asyncio.sleep(interval_s)

    async def _prolong(self, leases: Sequence[Lease]) -> None:
        now = leases[0].now()
        handles = [handle for lease in leases for handle in lease.handles]
        with suppress(StorageError, TimeoutError):  # it is tried again before the lease ends
            async with asyncio.timeout(self._settings.heartbeat_s / 2):
                await self._messaging.extend(self.queue, handles, self._settings.lease_s)
            for lease in leases:
                if not lease.expired:
                    lease.renew(*now)

    # --- the end --------------------------------------------------------------------------

    async def close(self) -> None:
        """Gives back all that is held, also what calls that are under way bring."""
        if self._calls:
            await asyncio.wait(set(self._calls))
        if self._prolonging:
            self._prolonging.cancel()
        await self._give_back([handle for lease in self._leases() for handle in lease.handles])
        self._ready.clear()
        self._unsettled = []

    async def _give_back(self, handles: Sequence[str]) -> None:
        with suppress(StorageError):  # then they come again when the lease ends
            if handles:
                await self._messaging.extend(self.queue, handles, 0)
