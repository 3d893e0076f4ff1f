"""What the shell completes beside commands and options: services, topics, products, levels."""

from collections.abc import Iterable
from contextlib import suppress

from eventdemo.errors import EventdemoError
from eventdemo.flow import SERVICES, TOPICS
from eventdemo.settings.readers import LOG_LEVELS
from eventdemo.telemetry.instruments import READ_MODELS

#: A shell that waits for products waits at most so long.
TIMEOUT_S = 1.0
PRODUCTS_SHOWN = 1_000


def parts(incomplete: str) -> list[str]:
    """The services, and the read models."""
    return _beginning((*SERVICES, READ_MODELS), incomplete)


def services(incomplete: str) -> list[str]:
    return _beginning(SERVICES, incomplete)


def topics(incomplete: str) -> list[str]:
    return _beginning((topic.name for topic in TOPICS), incomplete)


def levels(incomplete: str) -> list[str]:
    return _beginning(LOG_LEVELS, incomplete)


def products(incomplete: str) -> list[str]:
    """The products of the API that the settings name; none if it does not answer."""
    from eventdemo.cli.client import Client

    with suppress(EventdemoError):
        page = Client(timeout_s=TIMEOUT_S).call("GET", f"/products?limit={PRODUCTS_SHOWN}")
        return _beginning((product["product_id"] for product in page["products"]), incomplete)
    return []


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
