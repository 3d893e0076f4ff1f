"""The processes that answer: the API alone, or with worker processes beside it."""

import asyncio
from collections.abc import Sequence

from eventdemo import __version__
from eventdemo.api.metrics import ApiMetrics
from eventdemo.cli.lifetime import (
    opened,
    spare_the_collector,
    stop_on_eof,
    stop_on_signals,
    together,
)
from eventdemo.cli.supervisor import Worker, supervise
from eventdemo.engines.registry import file_of
from eventdemo.http import server
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.samples import add_samples
from eventdemo.settings import Settings
from eventdemo.telemetry.tracing_setup import tracing


async def up(settings: Settings, workers: int, samples: bool, *, until_eof: bool) -> None:
    """The API in this process, and worker processes that end with it."""
    server.bind(settings.host, settings.port).close()  # before anything is created
    stop = stop_on_signals()
    if until_eof:
        await stop_on_eof(stop)
    crew = [Worker(number) for number in range(1, workers + 1)]
    async with opened(settings) as engine:
        added = samples and await add_samples(engine.pool)
        await together(
            stop,
            _serve(settings, engine, stop, crew, added=added),
            *(supervise(settings, worker, stop) for worker in crew),
        )


async def serve(settings: Settings) -> None:
    """The API alone."""
    server.bind(settings.host, settings.port).close()  # before anything is created
    stop = stop_on_signals()
    async with opened(settings) as engine:
        await together(stop, _serve(settings, engine, stop, []))


async def _serve(
    settings: Settings,
    engine: Engine,
    stop: asyncio.Event,
    crew: Sequence[Worker],
    *,
    added: bool = False,
) -> None:
    read_models, metrics = ReadModels(settings.read_models), ApiMetrics(crew)

    def greet(_: int) -> None:
        spare_the_collector()
        print(_greeting(settings, added=added), flush=True)

    try:
        async with tracing() as tracer:
            await server.serve(
                settings,
                engine,
                read_models,
                stop,
                listening=greet,
                metrics=metrics,
                tracer=tracer,
            )
    finally:
        await read_models.close()


def _data(settings: Settings) -> str:
    """Where the events are."""
    return str(settings.data) if file_of(settings.event_pool) else settings.event_pool


def _greeting(settings: Settings, *, added: bool) -> str:
    samples = " (sample products were added)" if added else ""
    json = "-H 'Content-Type: application/json'"
    curl = f'curl -i {settings.url}/purchases {json} -d \'{{"product_id": "sku-1"}}\''
    return "\n".join(
        (
            f"eventdemo {__version__} answers at {settings.url}",
            f"  data   {_data(settings)}{samples}",
            f"  API    {settings.url}/schema",
            f"  buy    {curl}",
            f"  watch  eventdemo flow --watch --url {settings.url}",
            "  stop   Ctrl-C",
        )
    )
