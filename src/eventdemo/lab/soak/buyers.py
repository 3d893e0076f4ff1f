"""Buyers at a constant rate, who remember what they were promised and ask what became of it."""

import asyncio
from collections import Counter, deque
from functools import partial
from math import inf
from random import Random
from time import perf_counter

import msgspec
from msgspec import Struct

from eventdemo.lab.load.client import TICK_S, LoadClient, read_accepted, reason, sleep_until
from eventdemo.lab.soak.ledger import Ledger

CONNECTIONS = 32
FOLLOWERS = 64
#: How long a buyer waits before a purchase that failed is sent again with the same key.
AGAIN_AFTER_S = 0.5
#: So many of the purchases with a key are sent once more though they were answered, so much later.
SHARE_SENT_TWICE = 0.2
TWICE_AFTER_S = 10.0
#: Per second, so many purchases are followed to their outcome, and as many earlier ones asked for
#: again, to see that nothing changed.
FOLLOWED_PER_S = 20
LONG_POLL_S = 10
ATTEMPTS = 3
LAST_ANSWERS_S = 60.0


class ProductMix(Struct, frozen=True):
    """The products and their stock. Purchases of ``keyed`` products carry idempotency keys."""

    plenty: tuple[str, ...]
    keyed: tuple[str, ...]
    scarce: tuple[str, ...]
    stock: dict[str, int]

    @classmethod
    def of(cls, purchases: int) -> "ProductMix":
        """For about so many purchases: the scarce ones are sold out one after the other."""
        plenty, keyed, scarce = (
            tuple(f"soak-{name}-{number}" for number in range(1, 9))
            for name in ("plenty", "keyed", "scarce")
        )
        stock = dict.fromkeys((*plenty, *keyed), 2 * purchases)
        purchases_each = purchases / 4 / len(scarce)
        stock |= {name: 1 + int(purchases_each * n / len(scarce)) for n, name in enumerate(scarce)}
        return cls(plenty, keyed, scarce, stock)

    def choice(self, random: Random) -> str:
        """A product: half of the purchases are of plenty, a quarter of each other."""
        return random.choice(random.choice((self.plenty, self.plenty, self.keyed, self.scarce)))


class Buyers:
    """``run`` buys until it is cancelled. Its fields may be looked at meanwhile."""

    def __init__(self, host: str, port: int, mix: ProductMix, rate: float, seed: int) -> None:
        self.ledger = Ledger()
        self.errors: Counter[str] = Counter()
        self.sent = self.answered = self.accepted = self.sent_twice = 0
        self._mix = mix
        self._rate = rate
        self._random = Random(seed)
        self._client = LoadClient(host, port, CONNECTIONS)
        self._asking = LoadClient(host, port, FOLLOWERS)
        self._mark = self._first_after = 0.0
        self._open_keys: dict[str, str] = {}
        self._twice: deque[tuple[float, str, str]] = deque()
        self._followed: list[str] = []
        self._asks = 0

    @property
    def waiting(self) -> int:
        """Requests without an answer."""
        return self.sent - self.answered

    async def open(self) -> None:
        """Connects, and puts the products on the shelf. Raises ``LoadFailed`` and ``OSError``."""
        await self._client.open()
        await self._asking.open()
        for product_id, units in self._mix.stock.items():
            await self._client.put_on_sale(product_id, "Soak", units)

    async def close(self) -> None:
        await self._client.close()
        await self._asking.close()

    def mark(self) -> None:
        """Notes the moment, for ``first_after_s``."""
        self._mark, self._first_after = perf_counter(), 0.0

    @property
    def first_after_s(self) -> float | None:
        """When the first 202 came for a purchase that was due after the mark, from the mark on."""
        return self._first_after - self._mark if self._first_after else None

    # --- buying -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Sends each purchase when it is due, answered or not."""
        began, number = perf_counter(), 0
        while True:
            due = began + number / self._rate
            number += 1
            await sleep_until(due)
            self._send_twice(until=due)
            product_id = self._mix.choice(self._random)
            key = f"soak-{number}" if product_id in self._mix.keyed else None
            if key:
                self._open_keys[key] = product_id
            self._buy(product_id, key)

    async def finish(self) -> None:
        """Waits for the last answers, also to what is sent again."""
        self._send_twice(until=inf)
        deadline = perf_counter() + LAST_ANSWERS_S
        while (self.waiting or self._open_keys) and perf_counter() < deadline:
            await asyncio.sleep(TICK_S)
        self.ledger.unanswered.update(self._open_keys.values())

    def _buy(self, product_id: str, key: str | None) -> None:
        body = msgspec.json.encode({"product_id": product_id})
        headers = f"Idempotency-Key: {key}\r\n" if key else ""
        request = self._client.encode("POST", "/purchases", body, headers)
        self.sent += 1
        self._client.send(request, partial(self._on_answer, perf_counter(), product_id, key))

    def _on_answer(
        self, due: float, product_id: str, key: str | None, status: int, answer: bytes
    ) -> None:
        self.answered += 1
        if status == 202:
            self.accepted += 1
            is_new = self.ledger.promise(read_accepted(answer).request_id, product_id, key)
            if is_new and due >= self._mark and not self._first_after:
                self._first_after = perf_counter()
            if key and self._open_keys.pop(key, None) and self._random.random() < SHARE_SENT_TWICE:
                self._twice.append((perf_counter() + TWICE_AFTER_S, product_id, key))
            return
        self.errors[reason(status, answer)] += 1
        if key in self._open_keys:
            asyncio.get_running_loop().call_later(AGAIN_AFTER_S, self._buy, product_id, key)
        elif status == 0:
            self.ledger.unanswered[product_id] += key is None

    def _send_twice(self, until: float) -> None:
        """What was accepted with a key is sent once more when it is time."""
        while self._twice and self._twice[0][0] <= until:
            self.sent_twice += 1
            self._buy(*self._twice.popleft()[1:])

    # --- asking -----------------------------------------------------------------------------

    async def follow(self) -> None:
        """Follows some purchases to their outcome, and asks for earlier ones again."""
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(1 / FOLLOWED_PER_S)
                if self.ledger.accepted and self._asks < FOLLOWERS - 1:
                    newest = next(reversed(self.ledger.accepted))
                    self._followed.append(newest)
                    earlier = self._random.choice(self._followed)
                    group.create_task(self._ask(newest, wait_s=LONG_POLL_S))
                    group.create_task(self._ask(earlier))

    async def look_up_all(self) -> None:
        """Asks for every purchase that was accepted, until its outcome is known."""
        left = iter(tuple(self.ledger.accepted))

        async def ask_for_many() -> None:
            for request_id in left:
                for _ in range(ATTEMPTS):
                    if await self._ask(request_id, wait_s=LONG_POLL_S):
                        break

        await asyncio.gather(*(ask_for_many() for _ in range(FOLLOWERS)))

    async def _ask(self, request_id: str, wait_s: int = 0) -> bool:
        path = f"/purchases/{request_id}" + (f"?wait={wait_s}" if wait_s else "")
        known = self.ledger.outcomes.get(request_id)
        self._asks += 1
        status, answer = await self._asking.get(path)
        self._asks -= 1
        if status != 200:
            self.errors[reason(status, answer)] += 1
        return self.ledger.hear(request_id, status, answer, known)
