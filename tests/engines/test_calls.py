"""Calls of servers: tried again, given up, and what their errors become."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from eventdemo.engines.calls import CALLS_AT_ONCE, Backoff, gather_bounded, retrying
from eventdemo.errors import (
    DriverErrors,
    ErrorMeaning,
    OutcomeUnknown,
    StorageBusy,
    StorageDenied,
    StorageError,
    StorageUnreachable,
)

pytestmark = pytest.mark.anyio

ERRORS = DriverErrors(
    (
        ErrorMeaning((PermissionError,), StorageDenied, lambda error, place: f"{place}: {error!r}"),
        ErrorMeaning((ConnectionRefusedError,), StorageUnreachable, "start it", transient=True),
        ErrorMeaning((OSError,), StorageBusy, "wait", {"busy"}, transient=True),
        ErrorMeaning(
            (OSError,),
            StorageUnreachable,
            "{place} says {line} ({attempts})",
            transient=True,
            lost=True,
        ),
    ),
    lambda error: str(error).split(),
)

AT_ONCE = Backoff(jitter=lambda: 0.0)


def failing(*errors: Exception) -> tuple[Callable[[], Awaitable[int]], list[int]]:
    """A call that raises these, one after the other, and then returns 7; and its tries."""
    tries: list[int] = []

    async def call() -> int:
        tries.append(1)
        if len(tries) <= len(errors):
            raise errors[len(tries) - 1]
        return 7

    return call, tries


class TestTranslation:
    @pytest.mark.parametrize(
        ("error", "becomes", "line"),
        [
            (PermissionError("no"), StorageDenied, "db: PermissionError('no')"),
            (ConnectionRefusedError("no"), StorageUnreachable, "start it"),
            (OSError("is busy now"), StorageBusy, "wait"),
            (OSError("first\n second {place}"), StorageUnreachable, "first second {place} (1)"),
            (TimeoutError(), StorageUnreachable, "db says TimeoutError (1)"),
        ],
    )
    def test_the_first_row_that_fits_counts(
        self, error: Exception, becomes: type[StorageError], line: str
    ) -> None:
        translated = ERRORS.translated(error, "db")
        assert type(translated) is becomes
        assert str(translated).endswith(line)

    def test_an_endless_error_is_cut(self) -> None:
        assert len(str(ERRORS.translated(OSError("x" * 10_000), "db"))) < 400

    def test_a_lost_answer_says_so_and_what_to_do(self) -> None:
        unknown = ERRORS.translated(OSError("gone"), "db", 2, unknown=True)
        assert type(unknown) is OutcomeUnknown
        assert str(unknown).startswith("db says gone (2)")
        assert "may have been done" in str(unknown)


class TestRetrying:
    async def test_a_call_is_tried_until_it_succeeds(self) -> None:
        call, tries = failing(*[ConnectionRefusedError()] * 8)
        assert await retrying(call, ERRORS, "db", AT_ONCE) == 7
        assert len(tries) == 9

    async def test_a_call_is_given_up_in_the_end(self) -> None:
        call, tries = failing(*[OSError("gone")] * 9)
        with pytest.raises(StorageUnreachable, match=r"gone \(9\)"):
            await retrying(call, ERRORS, "db", AT_ONCE)
        assert len(tries) == 9

    async def test_what_cannot_pass_is_not_tried_again(self) -> None:
        call, tries = failing(PermissionError())
        with pytest.raises(StorageDenied):
            await retrying(call, ERRORS, "db", AT_ONCE)
        assert len(tries) == 1

    async def test_patience_ends(self) -> None:
        call, tries = failing(OSError("gone"))
        with pytest.raises(StorageUnreachable):
            await retrying(call, ERRORS, "db", Backoff(patience_s=0.0, jitter=lambda: 1.0))
        assert len(tries) == 1

    async def test_errors_of_others_pass_through(self) -> None:
        call, _ = failing(ValueError("ours"))
        with pytest.raises(ValueError, match="ours"):
            await retrying(call, ERRORS, "db")

    async def test_a_write_whose_answer_was_lost_is_unknown_however_it_ends(self) -> None:
        call, _ = failing(OSError("gone"), PermissionError("no"))
        with pytest.raises(OutcomeUnknown, match="PermissionError"):
            await retrying(call, ERRORS, "db", AT_ONCE, writes=True)

    async def test_a_write_that_was_never_sent_is_not(self) -> None:
        call, _ = failing(ConnectionRefusedError(), PermissionError("no"))
        with pytest.raises(StorageDenied):
            await retrying(call, ERRORS, "db", AT_ONCE, writes=True)

    async def test_a_read_is_never_unknown(self) -> None:
        call, _ = failing(OSError("gone"), PermissionError("no"))
        with pytest.raises(StorageDenied):
            await retrying(call, ERRORS, "db", AT_ONCE)

    async def test_delays_grow_and_are_bounded(self) -> None:
        longest = Backoff(jitter=lambda: 1.0)
        delays = [longest.delay_s(attempt) for attempt in range(1, 10)]
        assert delays[:4] == [0.05, 0.1, 0.2, 0.4]
        assert delays[-1] == longest.delay_s(100_000) == 1.5
        assert all(0 <= Backoff().delay_s(attempt) <= 1.5 for attempt in range(1, 10))


class TestGathering:
    async def test_results_come_in_order_and_few_calls_are_under_way(self) -> None:
        under_way, most = 0, 0

        async def call(number: int) -> int:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            return number

        numbers = range(3 * CALLS_AT_ONCE)
        assert await gather_bounded(call, numbers) == list(numbers)
        assert most == CALLS_AT_ONCE

    async def test_the_first_error_is_raised_when_all_have_ended(self) -> None:
        ended: list[int] = []

        async def call(number: int) -> None:
            if number == 1:
                raise ValueError("1")
            await asyncio.sleep(0)
            ended.append(number)

        with pytest.raises(ValueError, match="1"):
            await gather_bounded(call, range(4))
        assert ended == [0, 2, 3]
