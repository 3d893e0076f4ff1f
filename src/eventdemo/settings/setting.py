"""One row of the table of settings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from eventdemo.errors import Misconfigured


class Setting(Struct, frozen=True):
    """One row of the table: the sources of a setting, its default and its purpose.

    ``option`` is None for a secret, which the list of processes would show.
    """

    name: str
    read: Callable[[object], Any]
    metavar: str
    default: str
    help: str
    has_option: bool = True

    @property
    def option(self) -> str | None:
        return f"--{self.toml}" if self.has_option else None

    @property
    def environment(self) -> str:
        return f"EVENTDEMO_{self.name.upper()}"

    @property
    def toml(self) -> str:
        return self.name.replace("_", "-")

    @property
    def is_number(self) -> bool:
        """Whether TOML holds it as a number; the other sources hold text."""
        return self.default.isdigit()

    def given(
        self,
        options: Mapping[str, object],
        environ: Mapping[str, str],
        from_file: Mapping[str, Any],
        toml_path: Path,
    ) -> tuple[object, str] | None:
        """The value that the first source has for it, unread, and the name of the source."""
        if (option := options.get(self.name)) is not None:
            return option, self.option or self.name
        if variable := environ.get(self.environment):
            return variable, self.environment
        if self.toml not in from_file:
            return None
        value, source = from_file[self.toml], f"{self.toml} in {toml_path}"
        if self.is_number and isinstance(value, str):
            raise Misconfigured(f"{source} must be a number without quotes: {value!r}")
        return value, source
