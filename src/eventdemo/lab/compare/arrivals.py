"""Buyers who arrive at a constant rate, whether they are answered or not, with both clocks.

A latency counts from the moment at which a purchase was due. A generator that waits for answers
sends less while a server stands still, and so hides that it did.
"""

import asyncio
from array import array
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, islice
from math import ceil
from random import Random
from time import perf_counter

import msgspec
from msgspec import Struct

from eventdemo.lab.compare.state import PENDING, AnsweredPurchase, ClientView, read_answer
from eventdemo.lab.load.client import LoadClient

#: Accepted purchases are followed to their outcome by so many buyers per second.
FOLLOWED_PER_S = 50
FOLLOWERS = 64
#: A contender that does not wait with its answer is asked again after this long.
ASK_AGAIN_S = 0.02
LONG_POLL_S = 10
#: The shortest sleep that is one.
TICK_S = 0.001
#: Purchases that are overdue are sent in such portions, between which answers are read.
SENT_AT_ONCE = 32
#: After the last purchase was due, answers and outcomes are waited for this long.
PATIENCE_S = 30.0


class Buying(Struct, frozen=True, kw_only=True):
    """``rate`` purchases per second for ``seconds``, of ``products`` products whose popularity
    follows Zipf's law with exponent ``alpha``: 0 is uniform."""

    rate: float
    seconds: float
    products: int = 1
    alpha: float = 0.0
    connections: int = 256

    @property
    def purchases(self) -> int:
        return max(1, round(self.rate * self.seconds))

    def choices(self, seed: int) -> Iterator[int]:
        """Draws the numbers of the products that are bought, without end."""
        random = Random(seed)
        shares = list(accumulate(1 / rank**self.alpha for rank in range(1, self.products + 1)))
        while True:
            yield bisect(shares, random.random() * shares[-1])


class Arrivals:
    """One run of buyers against one server. Its fields may be looked at while it runs.

    ``accept_s`` and ``decide_s`` are seconds from when a purchase was due to its answer and to its
    outcome; ``late_s`` is how late the generator itself sent it.
    """

    def __init__(self, port: int, buying: Buying, products: Sequence[str], seed: int) -> None:
        self.sent = 0
        self.refused: Counter[str] = Counter()
        self.accept_s, self.decide_s, self.late_s = array("d"), array("d"), array("d")
        self.accept_due_s = array("d")
        self.accepted: list[str] = []
        self.outcomes: dict[str, str] = {}
        self.began = 0.0
        self.last_accepted_at = self.last_decided_at = 0.0
        self._buying = buying
        self._seed = seed
        self._client = LoadClient("127.0.0.1", port, buying.connections)
        self._followers = LoadClient("127.0.0.1", port, FOLLOWERS)
        self._requests = [
            self._client.encode(
                "POST", "/purchases", msgspec.json.encode({"product_id": name, "quantity": 1})
            )
            for name in products[: buying.products]
        ]
        self._answered = 0
        self._all_answered = asyncio.Event()
        self._follow_every = max(1, ceil(buying.rate / FOLLOWED_PER_S))
        self._following: set[asyncio.Task[None]] = set()

    @property
    def view(self) -> ClientView:
        """What the buyers know."""
        return ClientView(set(self.accepted), self.outcomes)

    async def run(self) -> None:
        """Sends each purchase when it is due, and waits for the answers and for the outcome of
        the last. Raises ``OSError`` if nothing listens."""
        try:
            await self._client.open()
            await self._followers.open()
            await self._send()
            await self._finish()
        finally:
            for task in self._following:
                task.cancel()
            await self._client.close()
            await self._followers.close()

    async def _send(self) -> None:
        self.began, interval = perf_counter(), 1 / self._buying.rate
        choices = islice(self._buying.choices(self._seed), self._buying.purchases)
        for number, product in enumerate(choices):
            due = self.began + number * interval
            while (early := due - perf_counter()) > 0:
                await asyncio.sleep(max(early, TICK_S))
            self.late_s.append(-early)
            self._client.send(self._requests[product], partial(self._on_answer, number, due))
            self.sent += 1
            if number % SENT_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _on_answer(self, number: int, due: float, status: int, body: bytes) -> None:
        now = perf_counter()
        self._answered += 1
        if self._answered == self._buying.purchases:
            self._all_answered.set()
        if status not in (200, 201, 202):
            self.refused[str(status) if status else body.decode()] += 1
            return
        answer = read_answer(body)
        self.accepted.append(answer.request_id)
        self.accept_s.append(now - due)
        self.accept_due_s.append(due - self.began)
        self.last_accepted_at = now
        if answer.status != PENDING:
            self._decided(answer, due)
        elif number % self._follow_every == 0 or number == self._buying.purchases - 1:
            self._start_following(answer.request_id, due)

    def _start_following(self, request_id: str, due: float) -> None:
        task = asyncio.get_running_loop().create_task(self._follow(request_id, due))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, request_id: str, due: float) -> None:
        """Asks for one outcome until it is there, as its buyer would."""
        request = self._followers.encode("GET", f"/purchases/{request_id}?wait={LONG_POLL_S}")
        while True:
            status, body = await self._followers.call(request)
            if status == 200 and (answer := read_answer(body)).status != PENDING:
                self._decided(answer, due)
                return
            await asyncio.sleep(ASK_AGAIN_S)

    def _decided(self, answer: AnsweredPurchase, due: float) -> None:
        self.outcomes[answer.request_id] = answer.outcome
        self.last_decided_at = perf_counter()
        self.decide_s.append(self.last_decided_at - due)

    async def _finish(self) -> None:
        """Waits until all is answered, and until what was accepted last has its outcome."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._all_answered.wait()
        except TimeoutError:
            self.refused["no answer"] += self.sent - self._answered
        if self.accepted and self.accepted[-1] not in self.outcomes:
            self._start_following(self.accepted[-1], self.last_accepted_at)
        if self._following:
            await asyncio.wait(self._following, timeout=PATIENCE_S)
