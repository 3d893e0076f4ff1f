"""Settings: one table, read from options, then the environment, then ``eventdemo.toml``."""

import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import force_setattr

from eventdemo.engines.registry import Part, file_of, file_url, scheme_of
from eventdemo.errors import Misconfigured
from eventdemo.settings.readers import (
    LOG_LEVELS,
    folder,
    host,
    host_and_port,
    log_level,
    networks,
    text,
    token,
    url,
    whole_number,
)

TOML_PATH = Path("eventdemo.toml")


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of a command. URLs left empty mean the database in the data folder."""

    host: str = "127.0.0.1"
    port: int = 8000
    data: Path = Path("eventdemo-data")
    event_pool: str = ""
    topics: str = ""
    session_cache: str = ""
    operator_token: str | None = None
    max_waiting: int = 50_000
    max_body_bytes: int = 16_384
    max_head_bytes: int = 16_384
    max_connections: int = 2_048
    client_timeout_s: int = 10
    rate_limit: int = 0
    rate_burst: int = 20
    trusted_proxies: str | None = None
    message_retention_s: int = 86_400
    push_topic: str | None = None
    push_listen: str | None = None
    log_level: str = "info"

    def __post_init__(self) -> None:
        for part in Part:
            if not getattr(self, part):
                force_setattr(self, part, file_url(self.data / "eventdemo.db"))

    @property
    def read_models(self) -> Path:
        """The folder of the read models, which can be rebuilt at any time."""
        return self.data / "readmodels"

    @property
    def url(self) -> str:
        """The address at which a client on this machine reaches the API."""
        every_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
        host = every_address.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def environment(self) -> dict[str, str]:
        """These settings as the environment of another process."""
        values = {setting.environment: getattr(self, setting.name) for setting in SETTINGS}
        return {name: str(value) for name, value in values.items() if value is not None}

    @classmethod
    def load(
        cls,
        options: Mapping[str, object] | None = None,
        environ: Mapping[str, str] = os.environ,
        toml_path: Path = TOML_PATH,
    ) -> "Settings":
        """The settings in force: an option that is not None beats the environment, a variable
        that is not empty beats the file. Raises ``Misconfigured`` naming the source at fault."""
        values: dict[str, Any] = {}
        options, from_file = options or {}, _read_toml(toml_path)
        for setting in SETTINGS:
            if (option := options.get(setting.name)) is not None:
                source, value = setting.option or setting.name, option
            elif variable := environ.get(setting.environment):
                source, value = setting.environment, variable
            elif setting.toml in from_file:
                source, value = f"{setting.toml} in {toml_path}", from_file[setting.toml]
                if setting.is_number and isinstance(value, str):
                    raise Misconfigured(f"{source} must be a number without quotes: {value!r}")
            else:
                continue
            try:
                values[setting.name] = setting.read(value)
            except ValueError as error:
                raise Misconfigured(f"{source} {error}") from None
        return _guarded(cls(**values))


def is_loopback(host: str) -> bool:
    """Returns whether the host is an address of this machine only; as a name, just localhost is."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guarded(settings: Settings) -> Settings:
    if not is_loopback(settings.host) and not settings.operator_token:
        raise Misconfigured(
            f"host {settings.host} can be reached from other machines, where anyone could restock: "
            "set EVENTDEMO_OPERATOR_TOKEN to a secret, or use --host 127.0.0.1"
        )
    if scheme_of(settings.topics).shared:
        for part in (Part.EVENT_POOL, Part.SESSION_CACHE):
            if file_of(getattr(settings, part)):
                raise Misconfigured(
                    f"topics are on AWS and the {part.replace('_', ' ')} is a file, which "
                    f"processes elsewhere cannot use: set EVENTDEMO_{part.upper()}"
                )
    return settings


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Misconfigured(f"{path} cannot be read: {reason}") from None
    known = [setting.toml for setting in SETTINGS]
    for key in content:
        if key not in known:
            raise Misconfigured(f"{path} has no setting {key!r}: it may hold {', '.join(known)}")
    return content


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
        return isinstance(getattr(_DEFAULTS, self.name), int)


_DEFAULTS = Settings()


SETTINGS = (
    Setting("host", host, "HOST", "127.0.0.1", "Address that the API listens on."),
    Setting("port", whole_number(1, 65_535), "PORT", "8000", "Port that the API listens on."),
    Setting(
        "data", folder, "DIR", "eventdemo-data", "Folder of all that the embedded engine keeps."
    ),
    Setting(
        "event_pool",
        url(Part.EVENT_POOL),
        "URL",
        "SQLite in the data folder",
        "Where events are recorded: sqlite:///… or dynamodb://TABLE.",
    ),
    Setting(
        "topics",
        url(Part.TOPICS),
        "URL",
        "SQLite in the data folder",
        "Where the queue and topics are kept: sqlite:///… or aws://PREFIX.",
    ),
    Setting(
        "session_cache",
        url(Part.SESSION_CACHE),
        "URL",
        "SQLite in the data folder",
        "Where outcomes are looked up: sqlite:///…, dynamodb://TABLE or redis://….",
    ),
    Setting(
        "operator_token",
        token,
        "SECRET",
        "none: operator calls on loopback only",
        "Secret that the operator's calls carry as a bearer token.",
        has_option=False,
    ),
    Setting(
        "max_waiting",
        whole_number(1, 100_000_000),
        "N",
        "50000",
        "Waiting purchases beyond which buyers are asked to come back (503).",
    ),
    Setting(
        "max_body_bytes",
        whole_number(64, 100_000_000),
        "BYTES",
        "16384",
        "Largest body of an HTTP request, in bytes.",
    ),
    Setting(
        "max_head_bytes",
        whole_number(1_024, 1_000_000),
        "BYTES",
        "16384",
        "Largest head of an HTTP request, address and headers, in bytes (431).",
    ),
    Setting(
        "max_connections",
        whole_number(1, 1_000_000),
        "N",
        "2048",
        "Connections that one server keeps open; those beyond are refused (503).",
    ),
    Setting(
        "client_timeout_s",
        whole_number(1, 3_600),
        "SECONDS",
        "10",
        "How long a client may take to send a request, or read nothing of its answer, in seconds.",
    ),
    Setting(
        "rate_limit",
        whole_number(0, 1_000_000),
        "N",
        "0",
        "Purchases per second from one client, beyond which it has to wait (429); 0: any number.",
    ),
    Setting(
        "rate_burst",
        whole_number(1, 1_000_000),
        "N",
        "20",
        "Purchases that a client may send at once before its rate is limited.",
    ),
    Setting(
        "trusted_proxies",
        networks,
        "NETWORKS",
        "none",
        "Proxies whose X-Forwarded-For tells who the client is, such as 10.0.0.0/8,::1.",
    ),
    Setting(
        "message_retention_s",
        whole_number(1, 3_153_600_000),
        "SECONDS",
        "86400",
        "How long messages are remembered after they were handled, in seconds.",
    ),
    Setting(
        "push_topic",
        text,
        "ARN",
        "none",
        "SNS topic whose notifications wake idle workers; every process needs to know it.",
    ),
    Setting(
        "push_listen",
        host_and_port,
        "HOST:PORT",
        "none",
        "Where a worker listens for wake-ups of the push topic, and sleeps between them.",
    ),
    Setting(
        "log_level",
        log_level,
        "LEVEL",
        "info",
        "Least level that is logged: " + ", ".join(LOG_LEVELS),
    ),
)
