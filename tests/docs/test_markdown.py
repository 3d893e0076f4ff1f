"""The convention by which answers are compared can fail."""

import pytest

from tests.docs.markdown import matches


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("a b", " a\r\n b\n"),
        ("a ... c", "a b c"),
        ("a ... c", "a c"),
        ("{...}", "{1, 2}"),
        ("<id> and <id>", "1 and 1"),
    ],
)
def test_what_fits(expected: str, printed: str) -> None:
    assert matches(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("a", "ab"),
        ("a", "A"),
        ("a ... c", "a b"),
        ("a.c", "abc"),
        ("<id> and <id>", "1 and 2"),
    ],
)
def test_what_does_not_fit(expected: str, printed: str) -> None:
    assert not matches(expected, printed)
