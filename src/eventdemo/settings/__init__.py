"""Settings: one table, read from options, then the environment, then ``eventdemo.toml``."""

import ipaddress
import os
from collections.abc import Mapping
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
    http_url,
    log_level,
    networks,
    origins,
    text,
    token,
    url,
    whole_number,
)
from eventdemo.settings.setting import Setting
from eventdemo.settings.sources import check_names, read_toml

__all__ = ["MIN_TOKEN_CHARACTERS", "SETTINGS", "TOML_PATH", "Setting", "Settings", "is_loopback"]

TOML_PATH = Path("eventdemo.toml")

#: The shortest operator token that cannot be guessed from other machines.
MIN_TOKEN_CHARACTERS = 16


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of a command. URLs left empty mean the database in the data folder."""

    host: str = "127.0.0.1"
    port: int = 8000
    url: str | None = None
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
    allowed_origins: str | None = None
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
    def local_url(self) -> str:
        """The address at which a client on this machine reaches the API of this host and port."""
        every_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
        host = every_address.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def api_url(self) -> str:
        """The address at which clients call the API."""
        return self.url or self.local_url

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
        settings, _ = cls.load_with_sources(options, environ, toml_path)
        return settings

    @classmethod
    def load_with_sources(
        cls,
        options: Mapping[str, object] | None = None,
        environ: Mapping[str, str] = os.environ,
        toml_path: Path = TOML_PATH,
    ) -> "tuple[Settings, dict[str, str]]":
        """The settings in force, and for each that has not its default where it comes from."""
        check_names(environ, [setting.name.upper() for setting in SETTINGS])
        from_file = read_toml(toml_path, [setting.toml for setting in SETTINGS])
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for setting in SETTINGS:
            if (given := setting.given(options or {}, environ, from_file, toml_path)) is None:
                continue
            value, source = given
            try:
                values[setting.name], sources[setting.name] = setting.read(value), source
            except ValueError as error:
                raise Misconfigured(f"{source} {error}") from None
        return _guarded(cls(**values), sources), sources


def is_loopback(host: str) -> bool:
    """Returns whether the host is an address of this machine only; as a name, just localhost is."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guarded(settings: Settings, sources: Mapping[str, str]) -> Settings:
    if not is_loopback(settings.host):
        token = settings.operator_token or ""
        open_to_all = f"host {settings.host} can be reached from other machines, where anyone could"
        if not token:
            raise Misconfigured(
                f"{open_to_all} restock: set EVENTDEMO_OPERATOR_TOKEN to a secret, or use "
                "--host 127.0.0.1"
            )
        if len(token) < MIN_TOKEN_CHARACTERS:
            raise Misconfigured(
                f"{open_to_all} guess {sources.get('operator_token', 'the operator token')}: it "
                f"must have at least {MIN_TOKEN_CHARACTERS} characters, as `openssl rand -hex 16` "
                "makes them"
            )
    if scheme_of(settings.topics).shared:
        for part in (Part.EVENT_POOL, Part.SESSION_CACHE):
            if file_of(getattr(settings, part)):
                raise Misconfigured(
                    f"topics are on AWS and the {part.replace('_', ' ')} is a file, which "
                    f"processes elsewhere cannot use: set EVENTDEMO_{part.upper()}"
                )
    return settings


SETTINGS = (
    Setting("host", host, "HOST", "127.0.0.1", "Address that the API listens on."),
    Setting("port", whole_number(1, 65_535), "PORT", "8000", "Port that the API listens on."),
    Setting(
        "url",
        http_url,
        "URL",
        "host and port of the settings",
        "Where commands that call the API find it, such as https://shop.example.",
    ),
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
        "allowed_origins",
        origins,
        "ORIGINS",
        "none",
        "Origins whose pages may buy here and read products and orders, such as "
        "https://shop.example.",
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
