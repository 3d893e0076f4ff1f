"""The command lines of the contenders' programs."""

import sys
from pathlib import Path

from eventdemo.lab.compare import contenders
from eventdemo.lab.compare.contender import Command, Site
from eventdemo.lab.compare.programs import find, free_port
from eventdemo.settings import Settings

#: As many workers as the sketch has at least.
ITERATION_1_WORKERS = 2


def uvicorn(program: str, site: Site, workers: int = 1) -> tuple[Command, ...]:
    """The command of a program in ``contenders`` that is an ASGI application named ``app``."""
    return (_served(program, program, site.port, site.environment(), workers),)


def embedded(site: Site) -> Settings:
    """The settings of this project on its embedded engine."""
    return Settings(port=site.port, data=site.data / "data", log_level="warning")


def event_driven(site: Site, settings: Settings) -> tuple[Command, ...]:
    """This project by its command line, with a worker for each instance."""
    environment = site.environment() | settings.environment()
    eventdemo = (sys.executable, "-m", "eventdemo")
    if site.payment is None:
        up = (*eventdemo, "up", "--no-samples", "--workers", str(site.instances))
        return (Command("up", up, environment),)
    worker = (sys.executable, "-m", f"{contenders.__name__}.paying_worker")
    return (
        Command("serve", (*eventdemo, "serve"), environment),
        *(Command(f"worker-{n}", worker, environment) for n in range(1, site.instances + 1)),
    )


def iteration_1(site: Site) -> tuple[Command, ...]:
    """The document store, the workers, nginx before them, and the program that takes purchases."""
    documents, nginx = free_port(), free_port()
    environment = site.environment() | {
        "COMPARE_DOCUMENTS": f"http://127.0.0.1:{documents}",
        "COMPARE_NGINX": f"http://127.0.0.1:{nginx}",
    }
    ports = [free_port() for _ in range(max(ITERATION_1_WORKERS, site.instances))]
    workers = [
        _served(f"worker-{n}", "iteration_1_worker", port, environment | {"COMPARE_WORKER": str(n)})
        for n, port in enumerate(ports, start=1)
    ]
    return (
        _served("documents", "documents", documents, environment),
        *workers,
        _nginx(site.data, nginx, ports),
        _served("iteration_1", "iteration_1", site.port, environment),
    )


def celery(site: Site) -> tuple[Command, ...]:
    """The web program and as many worker programs as there are instances, a process per core."""
    line = (
        *(sys.executable, "-m", "celery", "-A", f"{contenders.__name__}.celery_tasks:celery"),
        *(
            "worker",
            "--loglevel",
            "WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ),
    )
    workers = [
        Command(f"worker-{n}", (*line, "-n", f"worker-{n}@%h"), site.environment())
        for n in range(1, site.instances + 1)
    ]
    return (*workers, *uvicorn("celery_tasks", site))


def redis_stream(site: Site) -> tuple[Command, ...]:
    """The web program, in several instances if wanted, and the worker behind the stream."""
    line = (sys.executable, "-m", f"{contenders.__name__}.redis_stream")
    worker = Command("writer", line, site.environment())
    return (*uvicorn("redis_stream", site, site.instances), worker)


def _nginx(folder: Path, port: int, workers: list[int]) -> Command:
    template = Path(contenders.__file__).with_name("iteration_1.conf").read_text(encoding="utf-8")
    upstream = " ".join(f"server 127.0.0.1:{worker};" for worker in workers)
    configuration = folder / "nginx.conf"
    text = template.replace("FOLDER", str(folder)).replace("WORKERS", upstream)
    configuration.write_text(text.replace("PORT", str(port)), encoding="utf-8")
    line = (find("nginx") or "nginx", "-e", "stderr", "-p", str(folder), "-c", str(configuration))
    return Command("nginx", line)


def _served(
    name: str, program: str, port: int, environment: dict[str, str], workers: int = 1
) -> Command:
    line = (
        *(sys.executable, "-m", "uvicorn", f"{contenders.__name__}.{program}:app"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)),
        *("--no-access-log", "--log-level", "warning", "--backlog", "4096"),
    )
    return Command(name, line, environment)
