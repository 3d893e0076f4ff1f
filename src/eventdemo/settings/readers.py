"""Readers, which check the value that a source has for a setting.

Each reader takes text from the environment, or a typed value from TOML or an option, and returns
the value, or raises ``ValueError`` with the rest of a sentence about it.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from eventdemo.engines.registry import Part, schemes_of

LOG_LEVELS = ("debug", "info", "warning", "error")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def url(part: Part) -> Callable[[object], str]:
    """Returns a reader of URLs of the engines that can hold a part."""

    def read(value: object) -> str:
        address = text(value)
        schemes = schemes_of(part)
        if any(scheme.fits(address) for scheme in schemes):
            return address
        # The rest of a URL may hold a password, which stays out of messages.
        prefix, separator, _ = address.partition("://")
        redacted = f"{prefix}://…" if separator else repr(address)
        can_be = ", ".join(scheme.form for scheme in schemes)
        raise ValueError(f"can be {can_be}, not {redacted}")

    return read


def text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"must be a text that is not empty, not {value!r}")
    return value.strip()


def host(value: object) -> str:
    return text(value).removeprefix("[").removesuffix("]")


def host_and_port(value: object) -> str:
    """An address to listen on, as ``split_address`` reads it."""
    address = text(value)
    split_address(address)
    return address


def split_address(address: str) -> tuple[str, int]:
    """The parts of an address such as ``127.0.0.1:8080`` or ``[::1]:8080``."""
    name, colon, port = address.rpartition(":")
    if not colon or not name or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise ValueError(f"must be like 127.0.0.1:8080 or [::1]:8080, not {address!r}")
    return host(name), int(port)


def http_url(value: object) -> str:
    """The address of an API, without a slash at its end; there may be a path before it."""
    address = text(value).rstrip("/")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[^!-~]|[@?#]", address):
        raise ValueError(f"must be like http://127.0.0.1:8000, not {value!r}")
    return address


def folder(value: object) -> Path:
    return value if isinstance(value, Path) else Path(text(value))


def whole_number(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if type(number) is not int or not least <= number <= most:
            raise ValueError(f"must be a whole number from {least} to {most}, not {value!r}")
        return number

    return read


def token(value: object) -> str:
    if not isinstance(value, str) or not value or any(not "!" <= char <= "~" for char in value):
        raise ValueError("must be a text of visible ASCII characters without spaces")
    return value


def log_level(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}, not {value!r}")
    return value.lower()


def origins(value: object) -> str:
    """Origins of pages, as ``origins_in`` reads them."""
    listed = text(value)
    for origin in origins_in(listed):
        if not re.fullmatch(
            r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+](:[0-9]{1,5})?", origin
        ):
            example = "https://shop.example,http://localhost:3000"
            raise ValueError(
                f"must be origins as browsers name them, like {example}, not {origin!r}"
            )
    return listed


def origins_in(listed: str) -> list[str]:
    """The origins of a list, in the letters that browsers send."""
    return [origin.strip().lower() for origin in listed.split(",") if origin.strip()]


def networks(value: object) -> str:
    """Addresses and networks, as ``networks_in`` reads them."""
    listed = text(value)
    networks_in(listed)
    return listed


def networks_in(listed: str) -> tuple[Network, ...]:
    """The networks of a list such as ``10.0.0.0/8, ::1``."""
    try:
        return tuple(ipaddress.ip_network(network.strip()) for network in listed.split(","))
    except ValueError:
        example = "10.0.0.0/8,::1"
        raise ValueError(f"must be addresses or networks like {example}, not {listed!r}") from None
