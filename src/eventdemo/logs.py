"""Logs: structlog and the standard library's, on one stream, for eyes on a terminal, else JSON."""

import logging
import sys
from collections.abc import Sequence

import structlog
from structlog.typing import Processor


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
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_last_steps())
    )
    logging.basicConfig(handlers=[handler], level=_number_of(level), force=True)
    # What the server says of itself at every start and stop is no news to who started it.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, _number_of(level)))


def _last_steps() -> list[Processor]:
    forget_the_record = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if sys.stderr.isatty():
        return [forget_the_record, structlog.dev.ConsoleRenderer()]
    return [
        forget_the_record,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]


def _number_of(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
