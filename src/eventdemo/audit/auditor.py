"""Reads everything once, in an order in which a system that runs on raises no false alarm.

1. ``accepted``, dead letters, message counts, dead letters again: what was accepted by then is
   in a topic, set aside, or recorded by the time the pool is read;
2. the read models' totals, which belong to a position that the pool has reached;
3. the events up to the head;
4. the session cache, whose outcomes are recorded at the latest with step 5;
5. the events up to the head of that time;
6. ``accepted`` again: everything decided so far had been accepted before.
"""

from collections.abc import Callable

from msgspec import Struct

from eventdemo.audit.history import History, key_of
from eventdemo.audit.projections import ReadModelCheck
from eventdemo.audit.receipt import MAX_BROKEN, Findings, ProductReceipt, Receipt
from eventdemo.facts import OrderCreated
from eventdemo.messages import (
    DeadLetterFilter,
    DeadLetterState,
    Outcome,
    PoolEvent,
    RecordedEvent,
)
from eventdemo.ports import DeadLetters, Engine, EventPool
from eventdemo.readmodels.read_models import ReadModels

Progress = Callable[[int, int], None]

_PAGE = 2_000


async def audit(
    engine: Engine, read_models: ReadModels | None, progress: Progress | None = None
) -> Receipt:
    """Checks every promise that can be checked from outside, and returns which are broken.

    ``progress`` is called with the position that was checked and the last one to check. Can run
    beside the system and changes nothing. What can't be read is named, and everything else
    checked. Raises ``StorageError``.
    """
    findings = Findings()
    history = History(findings)
    undecided = await _undecided(engine)
    check = await ReadModelCheck.begin(read_models, findings)
    head = await engine.pool.head()
    await _read(engine.pool, history, head, check, progress)
    late = await _compare_cache(engine, history)
    await _read(engine.pool, history, await engine.pool.head(), None, progress)
    for outcome in late:
        _compare_late(history, outcome)
    if check:
        check.end(head)
    history.end()
    await _name_repeated(engine.pool, history)
    _compare_accepted(history, undecided)
    return _receipt(history, await engine.queue.accepted(), check)


class _Undecided(Struct, frozen=True):
    """The purchases that may have no outcome yet: in topics, or among the dead letters. Only if
    ``counts_all`` is it certain that a purchase is in no topic."""

    accepted: int
    in_topics: int
    dead: set[bytes]
    counts_all: bool


async def _undecided(engine: Engine) -> _Undecided:
    accepted = await engine.queue.accepted()
    dead = await _dead(engine.dead_letters)
    counts = (await engine.flow_status.counts()).values()
    in_topics = sum(hop.waiting + hop.in_flight for hop in counts)
    return _Undecided(
        accepted, in_topics, dead | await _dead(engine.dead_letters), engine.flow_status.counts_all
    )


async def _dead(dead_letters: DeadLetters) -> set[bytes]:
    """Returns the purchases with a dead letter, also a discarded one: it decided nothing."""
    dead: set[bytes] = set()
    for state in (DeadLetterState.DEAD, DeadLetterState.DISCARDED):
        filter_, after_id = DeadLetterFilter(state=state), 0
        while page := await dead_letters.find(filter_, after_id=after_id, limit=_PAGE):
            dead.update(key_of(letter.correlation_id) for letter in page)
            after_id = page[-1].id
    return dead


async def _read(
    pool: EventPool,
    history: History,
    head: int,
    check: ReadModelCheck | None,
    progress: Progress | None,
) -> None:
    """Takes the events after those that were taken, up to the head."""
    if check and check.position == 0:
        check.compare_totals(history)
    while history.position < head:
        after = history.position
        page = await pool.read_all(after_position=after, limit=min(_PAGE, head - after))
        if not page or page[-1].position <= after:
            history.findings.add(f"Nothing follows position {after}, but the head is {head}.")
            return
        await _take(history, page, check)
        if progress:
            progress(history.position, head)


async def _take(history: History, page: list[PoolEvent], check: ReadModelCheck | None) -> None:
    """Takes a page; compares the read models' totals after the last event that they hold."""
    held = check.split(page) if check else 0
    for event in page[:held]:
        history.take(event)
    if check:
        await check.compare_orders(page[:held], history)
    if check and held and history.position == check.position:
        check.compare_totals(history)
    for event in page[held:]:
        history.take(event)


async def _compare_cache(engine: Engine, history: History) -> list[Outcome]:
    """Returns the cached outcomes that are not recorded among the events so far."""
    late: list[Outcome] = []
    async for page in engine.cache.scan():
        for outcome in page:
            match history.agrees(outcome):
                case None:
                    late.append(outcome)
                case False:
                    _add_contradicting(history, outcome)
                case True:
                    pass
    return late


def _compare_late(history: History, outcome: Outcome) -> None:
    agrees = history.agrees(outcome)
    if agrees is None:
        history.findings.add(
            f"Session cache: purchase {outcome.request_id} has an outcome that is not recorded."
        )
    elif not agrees:
        _add_contradicting(history, outcome)


def _add_contradicting(history: History, outcome: Outcome) -> None:
    cached = f"order {outcome.order_id}" if outcome.order_id else f"failure {outcome.code}"
    history.findings.add(
        f"Session cache: purchase {outcome.request_id} is told {cached}, "
        "recorded is another outcome."
    )


async def _name_repeated(pool: EventPool, history: History) -> None:
    """Reads the history again, only if an id seems to be in it twice, to name that id."""
    hashes = history.event_ids.repeated() | history.order_ids.repeated()
    seen: set[str] = set()
    position = 0
    while hashes and position < history.position:
        page = await pool.read_all(after_position=position, limit=_PAGE)
        for event in page:
            for name in _names(event):
                if name in seen:
                    history.findings.add(
                        f"{name} stands in the event pool twice, again at {event.position}."
                    )
                elif hash(name) in hashes:
                    seen.add(name)
        position = page[-1].position if page else history.position


def _names(event: PoolEvent) -> tuple[str, ...]:
    """Returns the ids of an event that no other may have."""
    if isinstance(event, RecordedEvent) and isinstance(event.data, OrderCreated):
        return event.id, event.data.order_id
    return (event.id,)


def _compare_accepted(history: History, undecided: _Undecided) -> None:
    """Notes accepted purchases that are neither decided, as far as can be read, nor waiting
    anywhere."""
    open_ = undecided.dead | history.unreadable_purchases()
    dead = sum(key not in history.decided for key in open_)
    lost = undecided.accepted - len(history.decided) - undecided.in_topics - dead
    if lost > 0 and undecided.counts_all:
        history.findings.add(
            f"{lost} accepted purchases are lost: neither decided nor in a topic or dead letter."
        )


def _receipt(history: History, accepted: int, check: ReadModelCheck | None) -> Receipt:
    pending = accepted - len(history.decided)
    if pending < 0:
        history.findings.add(f"{-pending} more purchases are decided than were accepted.")
    return Receipt(
        accepted=accepted,
        confirmed=history.confirmed,
        failed=sum(history.failures.values()),
        pending=pending,
        broken=history.findings.first,
        contradictions=history.findings.count,
        unreadable=list(history.unreadable.values())[:MAX_BROKEN],
        unreadable_streams=len(history.unreadable),
        products={
            stock.product_id: ProductReceipt(stock.received, stock.reserved)
            for stock in history.products.values()
        },
        failures=history.failures,
        position=history.position,
        read_models_position=check.position if check else None,
    )
