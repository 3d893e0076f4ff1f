"""The command that shows the settings in force: ``config``."""

import re

from rich.text import Text

from eventdemo.cli.options import Commands, Json
from eventdemo.cli.output import print_json, print_table
from eventdemo.settings import SETTINGS, Setting, Settings

#: What stands for a secret.
MASK = "********"
DEFAULT = "default"


def config(as_json: Json = False) -> None:
    """Show every setting, its value and where it comes from.

    The order is: an option, the environment, eventdemo.toml in this folder, the default. Secrets
    are not shown.

    Example: [bold]eventdemo config --json[/bold]
    """
    settings, sources = Settings.load_with_sources()
    rows = [(s.toml, _value(settings, s), sources.get(s.name, DEFAULT)) for s in SETTINGS]
    if as_json:
        names = ("setting", "value", "source")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(
            ("setting", "value", "source"),
            (
                (name, value, Text(source, "dim" if source == DEFAULT else "green"))
                for name, value, source in rows
            ),
        )


COMMANDS: Commands = {"config": config}


def _value(settings: Settings, setting: Setting) -> str | None:
    """A value as text, without the secrets in it; None if there is none."""
    value = settings.api_url if setting.name == "url" else getattr(settings, setting.name)
    if value is None:
        return None
    if not setting.has_option:
        return MASK
    return re.sub("://.*@", f"://{MASK}@", str(value))
