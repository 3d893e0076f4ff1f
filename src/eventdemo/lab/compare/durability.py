"""Tests a contender's word: it is killed in mid-load, and asked for all that it has answered.

Everything is killed at once with ``kill -9``, the servers too, as when a machine goes down; what
the operating system had not yet written survives that, so the check finds answers that came
before the write, not a disk that lies.
"""

import asyncio
from collections import Counter

import msgspec
from msgspec import Struct

from eventdemo.lab.compare.state import (
    CONFIRMED,
    PENDING,
    ClientView,
    RunReceipt,
    read_answer,
    receipt,
)
from eventdemo.lab.compare.system import RunningContender
from eventdemo.lab.load.client import LoadClient

BUYERS = 32
DECIDED_WITHIN_S = 60.0
LOOK_EVERY_S = 0.1


class KillReport(Struct, frozen=True, kw_only=True):
    """The answers that buyers held when everything was killed, and their fate.

    ``forgotten`` are request ids that were answered and are unknown afterwards, ``changed`` those
    whose outcome is another, ``undecided`` those that have none after a minute.
    """

    answered: int
    confirmed: int
    unanswered: int
    forgotten: list[str]
    changed: list[str]
    undecided: list[str]
    receipt: RunReceipt

    @property
    def kept_its_word(self) -> bool:
        return not (self.forgotten or self.changed or self.undecided) and self.receipt.clean


async def kill_and_ask(
    system: RunningContender, product_ids: list[str], answers: int = 200
) -> KillReport:
    """Buys until so many purchases were answered, kills everything, starts it, asks again."""
    outcomes: dict[str, str] = {}
    unanswered = await _buy_until_killed(system, product_ids, answers, outcomes)
    for server in system.servers.values():
        await server.start()
    await system.start()
    after = await _ask(system, list(outcomes))
    state = await system.read()
    known = {id_: outcome for id_, outcome in outcomes.items() if outcome != PENDING}
    return KillReport(
        answered=len(outcomes),
        confirmed=Counter(after.values())[CONFIRMED],
        unanswered=unanswered,
        forgotten=[id_ for id_ in outcomes if id_ not in after],
        changed=[id_ for id_, outcome in known.items() if after.get(id_, outcome) != outcome],
        undecided=[id_ for id_, outcome in after.items() if outcome == PENDING],
        receipt=receipt(state, ClientView(set(outcomes), after)),
    )


async def _buy_until_killed(
    system: RunningContender, product_ids: list[str], answers: int, outcomes: dict[str, str]
) -> int:
    client = LoadClient("127.0.0.1", system.site.port, BUYERS)
    await client.open()
    unanswered = 0

    async def buyer(number: int) -> None:
        nonlocal unanswered
        body = {"product_id": product_ids[number % len(product_ids)], "quantity": 1}
        request = client.encode("POST", "/purchases", msgspec.json.encode(body))
        while True:
            status, answer = await client.call(request)
            if status not in (200, 202):
                unanswered += 1
                return
            purchase = read_answer(answer)
            outcomes[purchase.request_id] = purchase.outcome

    buyers = [asyncio.create_task(buyer(number)) for number in range(BUYERS)]
    while len(outcomes) < answers and not all(task.done() for task in buyers):
        await asyncio.sleep(0)
    system.kill()
    for server in system.servers.values():
        server.kill()
    await client.close()
    await asyncio.gather(*buyers)
    return unanswered


async def _ask(system: RunningContender, request_ids: list[str]) -> dict[str, str]:
    """The outcomes of all that are known, as soon as they are decided."""
    client = LoadClient("127.0.0.1", system.site.port, BUYERS)
    await client.open()
    outcomes: dict[str, str] = {}

    async def ask(request_id: str) -> None:
        request = client.encode("GET", f"/purchases/{request_id}")
        for _ in range(round(DECIDED_WITHIN_S / LOOK_EVERY_S)):
            status, answer = await client.call(request)
            if status == 404:
                return
            if status == 200:
                outcomes[request_id] = read_answer(answer).outcome
                if outcomes[request_id] != PENDING:
                    return
            await asyncio.sleep(LOOK_EVERY_S)

    try:
        await asyncio.gather(*map(ask, request_ids))
    finally:
        await client.close()
    return outcomes
