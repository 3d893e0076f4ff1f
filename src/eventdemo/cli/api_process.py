"""The API's process, alone or with worker processes beside it."""

import asyncio
from collections.abc import Sequence

from eventdemo import __version__
from eventdemo.api import app
from eventdemo.api.metrics import ApiMetrics
from eventdemo.cli.lifecycle import (
    Worker,
    freeze_gc,
    opened,
    stop_on_eof,
    stop_on_signals,
    supervise,
    together,
    watch_data,
)
from eventdemo.cli.program import program
from eventdemo.engines.registry import file_of
from eventdemo.http import server
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.samples import add_samples, first_sample
from eventdemo.settings import Settings
from eventdemo.telemetry.tracing_setup import tracing


async def up(settings: Settings, workers: int, samples: bool, *, until_eof: bool) -> None:
    """Runs the API in this process, and worker processes that end with it."""
    server.bind(settings.host, settings.port).close()  # before anything is created
    stop = stop_on_signals()
    if until_eof:
        stop_on_eof(stop)
    supervised = [Worker(number) for number in range(1, workers + 1)]
    async with opened(settings) as engine:
        added = samples and await add_samples(engine.pool)
        await together(
            stop,
            _serve(settings, engine, stop, supervised, samples_added=added),
            watch_data(engine.pool, stop),
            *(supervise(settings, worker, stop, engine.pool) for worker in supervised),
        )


async def serve(settings: Settings) -> None:
    """Runs the API alone."""
    server.bind(settings.host, settings.port).close()  # before anything is created
    stop = stop_on_signals()
    async with opened(settings) as engine:
        await together(stop, _serve(settings, engine, stop, []), watch_data(engine.pool, stop))


async def _serve(
    settings: Settings,
    engine: Engine,
    stop: asyncio.Event,
    workers: Sequence[Worker],
    *,
    samples_added: bool = False,
) -> None:
    read_models = ReadModels(settings.read_models / await engine.pool.identity())
    greeting = _greeting(
        settings, await first_sample(engine.pool), added=samples_added, decides=bool(workers)
    )
    metrics = ApiMetrics(workers)

    def greet(_: int) -> None:
        freeze_gc()
        print(greeting, flush=True)

    try:
        async with tracing() as tracer:
            await app.serve(
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


def _greeting(settings: Settings, product_id: str | None, *, added: bool, decides: bool) -> str:
    """Offers what there is: a product that can be bought, and who decides if nobody does here."""
    data = settings.data if file_of(settings.event_pool) else settings.event_pool
    samples = " (sample products were added)" if added else ""
    lines = [
        f"eventdemo {__version__} answers at {settings.local_url}",
        f"  data   {data}{samples}",
        f"  API    {settings.local_url}/schema",
    ]
    if product_id:
        json = "-H 'Content-Type: application/json'"
        body = f'{{"product_id": "{product_id}"}}'
        lines.append(f"  buy    curl -i {settings.local_url}/purchases {json} -d '{body}'")
    if not decides:
        lines.append(f"  work   purchases wait until a worker decides them: {program()} work --all")
    lines.append(f"  watch  {program()} flow --watch --url {settings.local_url}")
    lines.append("  stop   Ctrl-C")
    return "\n".join(lines)
