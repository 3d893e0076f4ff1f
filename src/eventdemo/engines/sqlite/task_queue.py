"""The task queue: what enters it is in TOPIC-1's log, so it is published by itself."""

from typing import Any

import apsw

from eventdemo.codec import decode_messages
from eventdemo.codec.sqlfile import load
from eventdemo.engines.group_commit import GroupCommit, PendingPurchase, repeated
from eventdemo.engines.peers import Notifier
from eventdemo.engines.sqlite import topic_log
from eventdemo.engines.sqlite.database import Database, check_writable
from eventdemo.engines.sqlite.file import rows
from eventdemo.errors import IdempotencyMismatch
from eventdemo.ids import requested_at_us
from eventdemo.messages import Accepted, IdempotencyKey, Message

SQL = load("eventdemo.engines.sqlite", "queue.sql")

#: When this many purchases arrived during one commit, the next one waits a moment for company, so
#: that more of them share its fixed cost. An idle queue is never made to wait.
BUSY_PURCHASES = 4
GATHER_S = 0.003


class SqliteTaskQueue:
    """Purchases that arrive while one transaction is being made durable share the next one."""

    def __init__(self, database: Database, notifier: Notifier, topic: str) -> None:
        self._database = database
        self._notifier = notifier
        self._topic = topic
        self._commits = GroupCommit(self._write, BUSY_PURCHASES, GATHER_S)

    async def enqueue(self, message: Message, key: IdempotencyKey | None = None) -> Accepted:
        purchase = PendingPurchase.create(message, key)
        self._commits.add(purchase)
        return await purchase.accepted

    async def find_by_key(self, key: IdempotencyKey) -> Accepted | None:
        def query(connection: apsw.Connection) -> list[tuple[Any, ...]]:
            return rows(connection, SQL["key"], {"key": key.key})

        claims = await self._database.read(query)
        result = repeated(key, *claims[0]) if claims else None
        if isinstance(result, IdempotencyMismatch):
            raise result
        return result

    async def find(self, request_id: str) -> Message | None:
        at_us = requested_at_us(request_id)
        bindings = {"topic": self._topic, "from_us": at_us, "to_us": at_us + 1_000}
        text = request_id.encode()

        def query(connection: apsw.Connection) -> bytes | None:
            for (body,) in connection.execute(SQL["batches_at"], bindings):
                if text in body:
                    return bytes(body)
            return None

        body = await self._database.read(query)
        messages, _ = decode_messages(body or "[]", self._topic)
        return next((m for m in messages if m.correlation_id == request_id), None)

    async def check_writable(self) -> None:
        await check_writable(self._database)

    async def accepted(self) -> int:
        def query(connection: apsw.Connection) -> int:
            return sum(topic_log.end_offsets(connection, self._topic))

        return int(await self._database.read(query))

    async def _write(self, purchases: list[PendingPurchase]) -> int:
        # Encoded here and not in the transaction, which would have to wait for this thread.
        plain = topic_log.batches_of(self._topic, [p.message for p in purchases if p.key is None])
        try:
            results = await self._database.write(
                lambda connection: self._accept(connection, purchases, plain)
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, every buyer that waits is told
            results = [error] * len(purchases)
        else:
            self._notifier.notify([self._topic])
        for purchase, result in zip(purchases, results, strict=True):
            purchase.answer(result)
        return len(purchases)

    def _accept(
        self,
        connection: apsw.Connection,
        purchases: list[PendingPurchase],
        plain: list[topic_log.NewRecordBatch],
    ) -> list[Accepted | IdempotencyMismatch]:
        results = [
            _claim(connection, purchase.key, purchase.message.correlation_id)
            if purchase.key
            else Accepted(purchase.message.correlation_id)
            for purchase in purchases
        ]
        admitted = [
            purchase.message
            for purchase, result in zip(purchases, results, strict=True)
            if purchase.key and isinstance(result, Accepted) and not result.repeated
        ]
        topic_log.append(connection, plain + topic_log.batches_of(self._topic, admitted))
        return results


def _claim(
    connection: apsw.Connection, key: IdempotencyKey, request_id: str
) -> Accepted | IdempotencyMismatch:
    bindings = {"key": key.key, "digest": key.digest, "request_id": request_id}
    connection.execute(SQL["claim_key"], bindings)
    if connection.changes():
        return Accepted(request_id)
    return repeated(key, *rows(connection, SQL["key"], bindings)[0])
