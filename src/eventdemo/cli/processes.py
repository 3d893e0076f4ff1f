"""Commands that run the system: ``up`` everything, ``serve`` the API, ``work`` some services."""

from typing import Annotated

import typer

from eventdemo.cli import completion
from eventdemo.cli.options import (
    AllowedOrigins,
    ClientTimeout,
    Commands,
    Data,
    EventPool,
    Host,
    LogLevel,
    MaxBodyBytes,
    MaxConnections,
    MaxHeadBytes,
    MaxWaiting,
    MessageRetention,
    Port,
    PushListen,
    PushTopic,
    RateBurst,
    RateLimit,
    SessionCache,
    Topics,
    TrustedProxies,
    run_async,
    settings_of,
)
from eventdemo.errors import Misconfigured
from eventdemo.flow import SERVICES
from eventdemo.settings import Settings
from eventdemo.telemetry.instruments import READ_MODELS


def up(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    event_pool: EventPool = None,
    topics: Topics = None,
    session_cache: SessionCache = None,
    max_waiting: MaxWaiting = None,
    max_body_bytes: MaxBodyBytes = None,
    max_head_bytes: MaxHeadBytes = None,
    max_connections: MaxConnections = None,
    client_timeout_s: ClientTimeout = None,
    rate_limit: RateLimit = None,
    rate_burst: RateBurst = None,
    trusted_proxies: TrustedProxies = None,
    allowed_origins: AllowedOrigins = None,
    message_retention_s: MessageRetention = None,
    push_topic: PushTopic = None,
    log_level: LogLevel = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, help="Worker processes beside the API.")
    ] = 1,
    samples: Annotated[
        bool,
        typer.Option(
            "--samples/--no-samples", help="Add sample products to an event pool that is empty."
        ),
    ] = True,
    stop_on_eof: Annotated[bool, typer.Option("--stop-on-eof", hidden=True)] = False,
) -> None:
    """Run everything on this machine: the API, the services and the read models.

    Creates what is missing, restarts a worker that dies, and stops within 5 seconds on Ctrl-C or
    SIGTERM.

    Example: [bold]eventdemo up --port 8080 --data /var/lib/eventdemo[/bold]
    """
    settings = _loaded(locals())
    from eventdemo.cli import api_process

    run_async(api_process.up(settings, workers, samples, until_eof=stop_on_eof))


def serve(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    event_pool: EventPool = None,
    topics: Topics = None,
    session_cache: SessionCache = None,
    max_waiting: MaxWaiting = None,
    max_body_bytes: MaxBodyBytes = None,
    max_head_bytes: MaxHeadBytes = None,
    max_connections: MaxConnections = None,
    client_timeout_s: ClientTimeout = None,
    rate_limit: RateLimit = None,
    rate_burst: RateBurst = None,
    trusted_proxies: TrustedProxies = None,
    allowed_origins: AllowedOrigins = None,
    push_topic: PushTopic = None,
    log_level: LogLevel = None,
) -> None:
    """Run the API alone; purchases wait until a worker decides them.

    Example: [bold]eventdemo serve --port 8080[/bold]
    """
    settings = _loaded(locals())
    from eventdemo.cli import api_process

    run_async(api_process.serve(settings))


AllServices = Annotated[bool, typer.Option("--all", help="All services and the read models.")]


def work(
    services: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SERVICE",
            help=f"Rows of the flow to run: {', '.join((*SERVICES, READ_MODELS))}.",
            show_default=False,
            autocompletion=completion.parts,
        ),
    ] = None,
    all_services: AllServices = False,
    data: Data = None,
    event_pool: EventPool = None,
    topics: Topics = None,
    session_cache: SessionCache = None,
    message_retention_s: MessageRetention = None,
    push_topic: PushTopic = None,
    push_listen: PushListen = None,
    log_level: LogLevel = None,
    stop_on_eof: Annotated[
        bool, typer.Option("--stop-on-eof", help="Stop when standard input ends.")
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            metavar="PORT",
            min=1,
            max=65_535,
            help="Answer Prometheus on this port, at /metrics.",
        ),
    ] = None,
    metrics_host: Annotated[
        str,
        typer.Option("--metrics-host", metavar="HOST", help="Address of --metrics-port."),
    ] = "127.0.0.1",
    count_into: Annotated[int | None, typer.Option("--count-into", hidden=True)] = None,
    only_on: Annotated[str, typer.Option("--only-on", metavar="POOL", hidden=True)] = "",
) -> None:
    """Run some services, or all, without the API. Several instances may run at once.

    Example: [bold]eventdemo work stock_check process_order[/bold]
    """
    names = _selected(services or [], all_services)
    settings = _loaded(locals())
    from eventdemo.cli import worker_process

    target = worker_process.MetricsTarget(metrics_host, metrics_port, count_into)
    run_async(worker_process.work(settings, names, target, until_eof=stop_on_eof, pool_id=only_on))


COMMANDS: Commands = {"up": up, "serve": serve, "work": work}


def _selected(services: list[str], all_services: bool) -> list[str]:
    """The rows to run, without repeats; raises ``Misconfigured`` for names not in the flow."""
    valid = (*SERVICES, READ_MODELS)
    unknown = [name for name in services if name not in valid]
    if unknown:
        raise Misconfigured(f"no service is called {unknown[0]!r}: there are {', '.join(valid)}")
    if bool(services) == all_services:
        raise Misconfigured(f"name services or say --all: there are {', '.join(valid)}")
    return list(valid) if all_services else list(dict.fromkeys(services))


def _loaded(parameters: dict[str, object]) -> Settings:
    """The settings in force, with logs configured by them."""
    from eventdemo.telemetry import logs

    settings = settings_of(parameters)
    logs.configure(settings.log_level)
    return settings
