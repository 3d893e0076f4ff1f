"""Where the values of settings come from: the environment and ``eventdemo.toml``, both of which
may hold names of settings only, so that a misspelt one is not without effect in silence."""

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from eventdemo.errors import Misconfigured

PREFIX = "EVENTDEMO_"

#: The variables that begin so and are read elsewhere: a function of Lambda is told its service.
NO_SETTINGS = frozenset({"EVENTDEMO_SERVICE"})


def check_names(environ: Mapping[str, str], known: Sequence[str]) -> None:
    """Raises ``Misconfigured`` for a variable that is not empty and names no setting.

    ``known`` are the names without the prefix.
    """
    names = {*NO_SETTINGS, *(f"{PREFIX}{ending}" for ending in known)}
    for name in sorted(environ):
        if name.startswith(PREFIX) and environ[name] and name not in names:
            meant = suggestion(name.removeprefix(PREFIX), known, prefix=PREFIX)
            raise Misconfigured(f"{name} in the environment is no setting: {meant}")


def read_toml(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """The values in a file, none if there is no file. Raises ``Misconfigured``."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Misconfigured(f"{path} cannot be read: {reason}") from None
    for key in content:
        if key not in known:
            raise Misconfigured(f"{path} has no setting {key!r}: {suggestion(key, known)}")
    return content


def suggestion(name: str, known: Sequence[str], prefix: str = "") -> str:
    """What may have been meant by a name that is not known, or all that are."""
    if similar := get_close_matches(name, known, n=1):
        return f"did you mean {prefix}{similar[0]}?"
    return "there are " + ", ".join(f"{prefix}{ending}" for ending in known)
