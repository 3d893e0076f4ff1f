"""The task queue: what enters it is durable in a table, and published on TOPIC-1 at once.

AWS takes messages from a topic to a queue, not the other way round. So a task enters TOPIC-1 by
itself, and the queue of the service that hears it is the task queue. The table decides what was
accepted; the outbox in the same transaction makes sure that it is published.
"""

import asyncio
from collections import deque
from contextlib import suppress

from eventdemo.codec import decode_singly
from eventdemo.engines.aws.dynamodb.table import (
    MAX_ACTIONS,
    Action,
    Attributes,
    ConditionFailed,
    Key,
    Put,
    Update,
)
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.message_outbox import MessageOutbox, Publisher
from eventdemo.engines.aws.sqs.purchases import (
    ACCEPTED_COUNTS,
    COUNTER_SHARDS,
    accepted_key,
    accepted_texts,
    remembered,
    shard_of,
    totals,
)
from eventdemo.engines.group_commit import GroupCommit, PendingPurchase, repeated
from eventdemo.errors import IdempotencyMismatch, StorageError
from eventdemo.messages import Accepted, IdempotencyKey, Message

#: So many transactions of one process are under way at the same time.
MAX_CONCURRENT_TRANSACTIONS = 8

#: Accepted purchases that wait in memory to be published. What is more is left to the outbox.
MAX_UNPUBLISHED = 20_000

#: What a transaction holds besides its purchases: the counter and the entry of the outbox.
_OVERHEAD = 2

#: Under load a process publishes about this often, so that a hot product's tasks are few and large
#: record batches: its group is handed out ten at a time. What comes alone never waits.
BUSY_PURCHASES = 4
GATHER_S = 0.03

_COUNT = "purchases"

#: What is claimed: an idempotency key, or else the request id that nobody else has.
_Claims = dict[Key, list[PendingPurchase]]


class AwsTaskQueue:
    """Purchases that arrive while one transaction is under way share the next one."""

    def __init__(
        self, context: MessagingContext, publisher: Publisher, outbox: MessageOutbox
    ) -> None:
        self._context = context
        self._publisher = publisher
        self._outbox = outbox
        self._purchases: deque[PendingPurchase] = deque()
        self._actions = 0
        self._starting = False
        self._free_lanes = list(range(MAX_CONCURRENT_TRANSACTIONS))
        self._first_shard = shard_of(context.new_id())
        self._under_way: set[asyncio.Task[None]] = set()
        self._unpublished_messages = 0
        self._publications = GroupCommit(self._publish, BUSY_PURCHASES, GATHER_S)

    # --- the port -------------------------------------------------------------------------

    async def enqueue(self, message: Message, key: IdempotencyKey | None = None) -> Accepted:
        purchase = PendingPurchase.create(message, key)
        self._purchases.append(purchase)
        self._actions += _actions(purchase)
        if not self._starting:
            self._starting = True  # as soon as all who call at this moment have done so
            asyncio.get_running_loop().call_soon(self._start)
        return await purchase.accepted

    async def find_by_key(self, key: IdempotencyKey) -> Accepted | None:
        claim = _key_of(key)
        items = await self._context.table.get([claim], settled=True)
        if claim not in items:
            return None
        result = repeated(key, str(items[claim]["digest"]), str(items[claim]["request_id"]))
        if isinstance(result, IdempotencyMismatch):
            raise result
        return result

    async def find(self, request_id: str) -> Message | None:
        texts = await accepted_texts(self._context.table, [request_id])
        messages = [message for text in texts for message in decode_singly(text.encode(), "")[0]]
        return messages[0] if messages else None

    async def check_writable(self) -> None:
        await self.accepted()

    async def accepted(self) -> int:
        return (await totals(self._context.table, ACCEPTED_COUNTS))[_COUNT]

    async def close(self, within_s: float = 2.0) -> None:
        """Finishes what was begun, in time; the outbox knows what was not."""
        while tasks := [*self._under_way, *filter(None, [self._publications.flushing])]:
            _, late = await asyncio.wait(tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- transactions ---------------------------------------------------------------------

    def _start(self) -> None:
        """Starts a transaction if there is none; further ones only if they are full, so that few
        purchases share one at a time and many don't wait for each other."""
        self._starting = False
        while self._purchases and self._free_lanes:
            if self._under_way and self._actions < MAX_ACTIONS - _OVERHEAD:
                return
            task = asyncio.create_task(self._commit(self._take(), self._free_lanes.pop()))
            self._under_way.add(task)

    def _take(self) -> _Claims:
        claims: _Claims = {}
        room = MAX_ACTIONS - _OVERHEAD
        while self._purchases and _actions(self._purchases[0]) <= room:
            purchase = self._purchases.popleft()
            self._actions -= _actions(purchase)
            claim = _claim_key(purchase)
            if claim not in claims:
                room -= _actions(purchase)
            claims.setdefault(claim, []).append(purchase)
        return claims

    async def _commit(self, claims: _Claims, lane: int) -> None:
        try:
            earlier = await self._write(claims, lane)
        except asyncio.CancelledError:
            _answer_all(claims, StorageError("the task queue is being closed"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, every buyer that waits is told
            _answer_all(claims, error)
        else:
            for claim, purchases in claims.items():
                for number, purchase in enumerate(purchases):
                    purchase.answer(_result(purchase, purchases[0], number, earlier.get(claim)))
        finally:
            self._free_lanes.append(lane)
            self._under_way.discard(asyncio.current_task())
            self._start()

    async def _write(self, claims: _Claims, lane: int) -> dict[Key, Attributes]:
        """Writes what nobody claimed before, and returns the earlier claims on the others."""
        entry_id = self._context.new_id()
        earlier: dict[Key, Attributes] = {}
        while fresh := {
            claim: purchases[0] for claim, purchases in claims.items() if claim not in earlier
        }:
            messages = [purchase.message for purchase in fresh.values()]
            waiting = self._outbox.purchases(entry_id, [m.correlation_id for m in messages])
            actions = [
                action
                for claim, purchase in fresh.items()
                for action in self._claim(claim, purchase, entry_id)
            ]
            shard = str((self._first_shard + lane) % COUNTER_SHARDS)
            count = Update(Key(ACCEPTED_COUNTS, shard), add={_COUNT: len(fresh)})
            try:
                await self._context.table.transact([*actions, count, waiting])
            except ConditionFailed:
                items = await self._context.table.get(list(fresh), settled=True)
                if all(item["entry"] != entry_id for item in items.values()):
                    earlier |= items
                    continue
                # Only the answer was lost: this very transaction was carried out.
            if self._unpublished_messages < MAX_UNPUBLISHED:
                self._unpublished_messages += len(messages)
                self._publications.add((waiting, messages))
            break
        return earlier

    def _claim(self, claim: Key, purchase: PendingPurchase, entry_id: str) -> list[Action]:
        message = purchase.message
        accepted = {**remembered(message, self._context.clock()), "entry": entry_id}
        if purchase.key is None:
            return [Put(claim, accepted, absent=True)]
        named = {
            "digest": purchase.key.digest,
            "request_id": message.correlation_id,
            "entry": entry_id,
        }
        return [
            Put(claim, named, absent=True),
            Put(accepted_key(message.correlation_id), accepted),
        ]

    # --- publishing -----------------------------------------------------------------------

    async def _publish(self, transactions: list[tuple[Put, list[Message]]]) -> int:
        """Publishes all that was accepted meanwhile together."""
        messages = [message for _, accepted in transactions for message in accepted]
        with suppress(StorageError):
            await self._publisher.publish(self._context.queue_topic, messages)
            await self._outbox.done([waiting for waiting, _ in transactions])
        self._unpublished_messages -= len(messages)
        return len(messages)


def _actions(purchase: PendingPurchase) -> int:
    """The number of actions that a purchase takes in its transaction."""
    return 2 if purchase.key else 1


def _claim_key(purchase: PendingPurchase) -> Key:
    if purchase.key is None:
        return accepted_key(purchase.message.correlation_id)
    return _key_of(purchase.key)


def _key_of(key: IdempotencyKey) -> Key:
    return Key(f"key-{key.key}", "key")


def _result(
    purchase: PendingPurchase, first: PendingPurchase, number: int, earlier: Attributes | None
) -> Accepted | IdempotencyMismatch:
    """The answer to the nth of the purchases that claim the same; the first of them gets it, if no
    other claimed it earlier."""
    request_id = first.message.correlation_id
    if purchase.key and first.key:
        if earlier:
            return repeated(purchase.key, str(earlier["digest"]), str(earlier["request_id"]))
        if number > 0:
            return repeated(purchase.key, first.key.digest, request_id)
    return Accepted(request_id, repeated=number > 0 or earlier is not None)


def _answer_all(claims: _Claims, error: Exception) -> None:
    for purchases in claims.values():
        for purchase in purchases:
            purchase.answer(error)
