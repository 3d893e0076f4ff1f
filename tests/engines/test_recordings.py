"""Recordings are checked before any of them is appended."""

import pytest

from eventdemo.engines.recordings import expected_versions, unreadable
from eventdemo.errors import Conflict
from eventdemo.facts import StockReceived
from eventdemo.messages import Recording, Write


def received(version: int, product_id: str = "p") -> Write:
    return Write(f"product-{product_id}", version, StockReceived(product_id, 1))


def recording(cause: str, *writes: Write) -> Recording:
    return Recording(cause, cause, 7, writes)


def test_the_first_version_of_each_stream_is_expected() -> None:
    recordings = [
        recording("a", received(3), received(0, "q")),
        recording("b", received(4), received(5)),
    ]
    assert expected_versions(recordings) == {"product-p": 3, "product-q": 0}
    assert expected_versions([]) == {}


def test_a_gap_within_a_stream_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="product-p would not be at the expected version"):
        expected_versions([recording("a", received(3)), recording("b", received(5))])


def test_a_version_twice_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="product-p"):
        expected_versions([recording("a", received(3), received(3))])


def test_a_cause_twice_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="a would be recorded twice"):
        expected_versions([recording("a", received(0)), recording("a", received(0, "q"))])


def test_the_error_names_the_event_and_what_to_do() -> None:
    error = unreadable("7 (product-p, version 3)", "no JSON")
    assert str(error) == (
        "event 7 (product-p, version 3) is damaged, or was written by a later eventdemo (no JSON): "
        "restore it from a backup, or upgrade eventdemo"
    )
