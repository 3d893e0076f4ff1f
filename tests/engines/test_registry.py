"""Every scheme's row is true: what it names exists, and what is mixed is told apart."""

import sys
from pathlib import Path

import pytest

from eventdemo.engines.registry import (
    SCHEMES,
    FactoryOptions,
    Part,
    Scheme,
    file_of,
    file_url,
    scheme_of,
    schemes_of,
)
from eventdemo.errors import Misconfigured

OPTIONS = FactoryOptions({"stock_check": "stock-check-needed"}, "purchase-requested")

METHODS = {
    Part.EVENT_POOL: "event_pool",
    Part.TOPICS: "messaging",
    Part.SESSION_CACHE: "session_cache",
}

by_prefix = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.prefix)


@by_prefix
def test_its_factory_opens_what_it_holds(scheme: Scheme, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    factory = scheme.open(OPTIONS)
    assert all(hasattr(factory, METHODS[part]) for part in scheme.parts)


@by_prefix
def test_a_missing_extra_is_named(scheme: Scheme, monkeypatch: pytest.MonkeyPatch) -> None:
    extra, module = scheme.extra, scheme.factory.partition(":")[0]
    if not extra:
        return
    driver = {"aws": "aiobotocore", "redis": "redis"}[extra]
    for name in [name for name in sys.modules if name.startswith(f"{module.rpartition('.')[0]}.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == driver]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(Misconfigured, match=rf"eventdemo\[{extra}\]"):
        scheme.open(OPTIONS)


@pytest.mark.parametrize("part", Part)
def test_every_part_can_be_held(part: Part) -> None:
    assert len(schemes_of(part)) > 1


def test_a_url_belongs_to_the_scheme_that_it_begins_with() -> None:
    assert scheme_of("rediss://cache:6379/0").prefix == "rediss://"
    with pytest.raises(LookupError):
        scheme_of("kafka://broker")


def test_only_files_are_files() -> None:
    assert file_of(file_url(Path("/var/shop/eventdemo.db"))) == Path("/var/shop/eventdemo.db")
    assert file_of("dynamodb://shop.events") is None
