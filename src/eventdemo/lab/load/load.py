"""Load at a constant arrival rate: purchases are sent when they are due, answered or not.

A generator that waits for answers sends less when the server is slow, and so hides the slowness
("coordinated omission"). Here every latency counts from the moment that the request was due.
"""

import asyncio
import secrets
from array import array
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from math import ceil
from time import perf_counter
from typing import Any

import msgspec

from eventdemo.facts import MAX_QUANTITY_PER_RESTOCK
from eventdemo.lab.load.client import (
    Counts,
    LoadClient,
    LoadFailed,
    read_accepted,
    read_counts,
    read_status,
    reason,
    sleep_until,
)
from eventdemo.lab.load.measures import Latency, LoadResult, Outcomes, Workload

#: At most about so many purchases per second are followed to their outcome, each by a long-poll.
FOLLOWED_PER_S = 25
FOLLOWERS = 128
LONG_POLL_S = 20
#: How often the flow's counts are asked for while the load runs, and while it drains.
COUNT_EVERY_S = 0.25
COUNT_EVERY_DRAINING_S = 0.05
#: How many purchases that are overdue are sent before answers are read.
SENT_AT_ONCE = 32
#: How long the answers to the last requests are waited for.
LAST_ANSWERS_S = 30.0


class Load:
    """One run against one server. Its fields may be looked at while it runs."""

    def __init__(self, host: str, port: int, workload: Workload, token: str | None = None) -> None:
        self.workload = workload
        self.run_id = secrets.token_hex(3)
        self.phase = "preparing"
        self.sent = 0
        self.request_ids: list[str] = []
        self.errors: Counter[str] = Counter()
        self.outcomes = Outcomes()
        self._client = LoadClient(host, port, workload.connections)
        self._followers = LoadClient(host, port, FOLLOWERS)
        self._operator = f"Authorization: Bearer {token}\r\n" if token else ""
        self._accept_s, self._outcome_s, self._late_s = array("d"), array("d"), array("d")
        self._answered = 0
        self._last_answer_at = self._last_outcome_at = 0.0
        self._all_answered = asyncio.Event()
        self._following: set[asyncio.Task[None]] = set()
        self._follow_every = max(1, ceil(workload.rate / FOLLOWED_PER_S))
        self._before = self._now = Counts()
        self._on_sale: list[str] = []
        self._began = 0.0

    @property
    def decided(self) -> int:
        """Outcomes since the run began, of all buyers."""
        return self._now.decided - self._before.decided

    @property
    def accept_latency(self) -> Latency:
        return Latency.of(self._accept_s)

    @property
    def outcome_latency(self) -> Latency:
        return Latency.of(self._outcome_s)

    async def run(self) -> LoadResult:
        """Prepares products, sends, waits for the outcomes, looks them up again, and takes the
        products off sale, also when it is interrupted.

        Raises ``OSError`` if nothing answers and ``LoadFailed`` with the server's reason.
        """
        try:
            await self._client.open()
            await self._followers.open()
            requests = await self._prepare()
            self._before = self._now = await self._count()
            await self._send(requests)
            await self._drain()
            await self._look_up()
            return self.result
        finally:
            await self._retire_all()
            await self._client.close()
            await self._followers.close()

    # --- before -----------------------------------------------------------------------------

    async def _prepare(self) -> list[bytes]:
        """Registers and stocks the products; returns each one's purchase as a request."""
        ids = [f"load-{self.run_id}-{n:04}" for n in range(1, self.workload.products + 1)]
        units = self.workload.stock
        if units is None:
            units = self.workload.purchases * self.workload.quantity
        units = min(units, MAX_QUANTITY_PER_RESTOCK)
        await self._each(self._put_on_sale(product_id, units) for product_id in ids)
        encode, quantity = msgspec.json.encode, self.workload.quantity
        return [
            self._client.encode(
                "POST", "/purchases", encode({"product_id": product_id, "quantity": quantity})
            )
            for product_id in ids
        ]

    async def _put_on_sale(self, product_id: str, units: int) -> None:
        self._on_sale.append(product_id)
        await self._client.put_on_sale(product_id, "Load", units, self._operator)

    async def _retire_all(self) -> None:
        """Takes what was put on sale off it; a server that is gone keeps it."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_S):
                await self._each(self._retire(product_id) for product_id in self._on_sale)

    async def _retire(self, product_id: str) -> None:
        request = self._client.encode("DELETE", f"/products/{product_id}", b"", self._operator)
        await self._client.call(request)

    async def _each(self, works: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Does many things, as many at once as there are connections."""
        waiting = iter(works)

        async def worker() -> None:
            for work in waiting:
                await work

        workers = [asyncio.create_task(worker()) for _ in range(self.workload.connections)]
        try:
            await asyncio.gather(*workers)
        finally:
            for task in workers:
                task.cancel()

    # --- the load ---------------------------------------------------------------------------

    async def _send(self, requests: Sequence[bytes]) -> None:
        """Sends each purchase when it is due."""
        self.phase = "sending"
        counting = asyncio.create_task(self._keep_counting())
        self._began, interval = perf_counter(), 1 / self.workload.rate
        for number, product in enumerate(self.workload.choices(self.run_id)):
            due = self._began + number * interval
            self._late_s.append(await sleep_until(due))
            follow = number % self._follow_every == 0
            self._client.send(requests[product], partial(self._on_answer, due, follow))
            self.sent += 1
            if number % SENT_AT_ONCE == 0:
                await asyncio.sleep(0)  # one that is behind has to read answers all the same
        self.phase = "waiting for the last answers"
        try:
            async with asyncio.timeout(LAST_ANSWERS_S):
                await self._all_answered.wait()
        except TimeoutError:
            self.errors["no answer"] += self.sent - self._answered
        counting.cancel()

    def _on_answer(self, due: float, follow: bool, status: int, answer: bytes) -> None:
        answered_at = perf_counter()
        self._answered += 1
        if self._answered == self.workload.purchases:
            self._all_answered.set()
        if status != 202:
            self.errors[str(status) if status else answer.decode()] += 1
            return
        self._accept_s.append(answered_at - due)
        self._last_answer_at = answered_at
        request_id = read_accepted(answer).request_id
        self.request_ids.append(request_id)
        if follow:
            task = asyncio.get_running_loop().create_task(self._follow(request_id, due))
            self._following.add(task)
            task.add_done_callback(self._following.discard)

    async def _follow(self, request_id: str, due: float) -> None:
        """Waits for one outcome, as its buyer would."""
        while True:
            status, answer = await self._followers.get(
                f"/purchases/{request_id}?wait={LONG_POLL_S}"
            )
            if status != 200:
                return
            if read_status(answer).status != "pending":
                self._outcome_s.append(perf_counter() - due)
                return

    # --- after ------------------------------------------------------------------------------

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(COUNT_EVERY_S)
            self._now = await self._count()

    async def _count(self) -> Counts:
        status, answer = await self._followers.get("/flow")
        if status != 200:
            return self._now
        counts = read_counts(answer)
        if counts.decided != self._now.decided:
            self._last_outcome_at = perf_counter()
        return counts

    async def _drain(self) -> None:
        """Waits until the flow has nothing left to do, or for as long as the workload says."""
        self.phase = "waiting for the outcomes"
        deadline = perf_counter() + self.workload.drain_s
        self._now = await self._count()
        while self._now.open and perf_counter() < deadline:
            await asyncio.sleep(COUNT_EVERY_DRAINING_S)
            self._now = await self._count()
        if self._following:
            left = max(0.0, deadline - perf_counter())
            await asyncio.wait(self._following, timeout=left)
        for task in tuple(self._following):
            task.cancel()

    async def _look_up(self) -> None:
        """Asks for the accepted purchases again, all or a sample that is spread over the run."""
        self.phase = "looking up"
        accepted, checked = self.request_ids, self.workload.check
        if not accepted:
            common = self.errors.most_common(3)
            reasons = ", ".join(f"{error} ({count} times)" for error, count in common)
            raise LoadFailed(f"nothing was accepted: {reasons}")
        step = 1 if checked is None else max(1, ceil(len(accepted) / checked)) if checked else 0
        chosen = accepted[::step] if step else []
        await self._each(self._ask_again(request_id) for request_id in chosen)

    async def _ask_again(self, request_id: str) -> None:
        outcomes = self.outcomes
        status, answer = await self._client.get(f"/purchases/{request_id}")
        if status not in (200, 404):
            raise LoadFailed(f"a purchase could not be looked up: {reason(status, answer)}")
        outcomes.looked_up += 1
        if status == 404:
            outcomes.lost.append(request_id)
            return
        purchase = read_status(answer)
        if purchase.failure:
            code = purchase.failure.code
            outcomes.failed[code] = outcomes.failed.get(code, 0) + 1
        elif purchase.status == "confirmed":
            outcomes.confirmed += 1
        else:
            outcomes.pending += 1

    @property
    def result(self) -> LoadResult:
        """What was measured so far."""
        confirmed = self._now.confirmed - self._before.confirmed
        failed = self._now.failed - self._before.failed
        accepting_s = max(self._last_answer_at - self._began, 1e-9)
        deciding_s = max(self._last_outcome_at - self._began, 1e-9)
        return LoadResult(
            run=self.run_id,
            rate=self.workload.rate,
            duration_s=self.workload.duration_s,
            sent=self.sent,
            accepted=len(self.request_ids),
            decided=self.decided,
            confirmed=confirmed,
            failed=failed,
            accepted_per_s=round(len(self.request_ids) / accepting_s, 1),
            decided_per_s=round(self.decided / deciding_s, 1),
            confirmed_per_s=round(confirmed / deciding_s, 1),
            failed_per_s=round(failed / deciding_s, 1),
            accept_latency=self.accept_latency,
            outcome_latency=self.outcome_latency,
            errors=dict(self.errors),
            generator_delay=Latency.of(self._late_s),
            outcomes=self.outcomes,
        )
