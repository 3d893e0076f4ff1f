"""Logs of structlog and the standard library on one stream: text on a terminal, else JSON."""

import logging
import sys
from collections.abc import Sequence

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: Longer values are cut off: what a client sends must not fill the disk.
MAX_CHARACTERS = 2_000


def configure(level: str) -> None:
    """Sends all logs of this process to standard error, from ``level`` upwards."""
    shared: Sequence[Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_number_of(level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=_final_processors()
        )
    )
    logging.basicConfig(handlers=[handler], level=_number_of(level), force=True)
    # The server logs each start and stop, which is no news to the person who started it.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, _number_of(level)))
    # Each export to a collector is a request, and each request would be a line.
    logging.getLogger("urllib3").setLevel(max(logging.WARNING, _number_of(level)))
    # Each client of AWS would log where it found its credentials and addresses.
    for sdk in ("aiobotocore", "botocore"):
        logging.getLogger(sdk).setLevel(max(logging.WARNING, _number_of(level)))


def _final_processors() -> list[Processor]:
    plain = structlog.dev.plain_traceback
    renderer: Processor = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=plain)
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        escape_control_characters,
        renderer,
    ]


def escape_control_characters(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    """Keeps a line one line, and free of what steers a terminal: texts may come from clients."""
    stack = entry.pop("exception", None)
    escaped = {name: _printable(_shortened(value)) for name, value in entry.items()}
    if stack:
        escaped["exception"] = "\n".join(map(str, map(_printable, stack.split("\n"))))
    return escaped


def _shortened(value: object) -> object:
    if not isinstance(value, str) or len(value) <= MAX_CHARACTERS:
        return value
    return f"{value[:MAX_CHARACTERS]}… ({len(value):,} characters)"


def _printable(value: object) -> object:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in value)


def _number_of(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
