"""The entry point for AWS Lambda: ``eventdemo.aws.serverless.handle``.

One process of Lambda serves one service, named by ``EVENTDEMO_SERVICE``, and one call at a time.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from eventdemo.aws.function import Function, open_function
from eventdemo.errors import Misconfigured
from eventdemo.flow import SERVICES
from eventdemo.settings import Settings
from eventdemo.telemetry import logs


class _Process:
    """What lives between calls: the event loop, with connections and what was folded before."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._function: Function | None = None

    def call(self, event: Mapping[str, Any]) -> dict[str, Any]:
        return self._runner.run(self._called(event))

    async def _called(self, event: Mapping[str, Any]) -> dict[str, Any]:
        if self._function is None:
            self._function = await _open()
        return await self._function(event)


_process = _Process()


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Handles messages as SQS hands them to Lambda, and answers which have to come again."""
    return _process.call(event)


async def _open() -> Function:
    settings = Settings.load()
    logs.configure(settings.log_level)
    service = os.environ.get("EVENTDEMO_SERVICE", "")
    if service not in SERVICES:
        raise Misconfigured(
            f"EVENTDEMO_SERVICE must be one of {', '.join(SERVICES)}, not {service!r}"
        )
    return await open_function(settings, service)
