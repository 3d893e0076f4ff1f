"""A contender while it runs: its processes and its part of the servers, all gone afterwards."""

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec

from msgspec.structs import replace

from eventdemo.lab.compare.contender import Contender, ServerKind, Site
from eventdemo.lab.compare.programs import NotStarted, Program, free_port
from eventdemo.lab.compare.servers import CompareServer, Servers
from eventdemo.lab.compare.state import DatabaseState
from eventdemo.lab.load.client import LoadClient

START_WITHIN_S = 60.0


class RunningContender:
    """``site.port`` answers HTTP; ``servers`` are those that this contender uses."""

    def __init__(
        self, contender: Contender, site: Site, servers: Mapping[ServerKind, CompareServer]
    ) -> None:
        self.contender = contender
        self.site = site
        self.servers = servers
        self.programs = {
            command.name: Program(
                command.line, site.data / f"{command.name}.log", command.environment
            )
            for command in contender.commands(site)
        }

    async def start(self) -> None:
        """Returns when ``/health/ready`` says so; on the data that was there, if any was."""
        for program in self.programs.values():
            if not program.alive:
                program.start()
        deadline = time.monotonic() + START_WITHIN_S
        while not await self.ready():
            for name, program in self.programs.items():
                if not program.alive:
                    raise NotStarted(f"{self.contender.name}: {name}: {program.last_words()}")
            if time.monotonic() > deadline:
                raise NotStarted(f"{self.contender.name} is not ready after {START_WITHIN_S:g} s")
            await asyncio.sleep(0.05)

    async def ready(self) -> bool:
        client = LoadClient("127.0.0.1", self.site.port, 1)
        try:
            await client.open()
            status, _ = await client.call(client.encode("GET", "/health/ready"))
        except OSError:
            return False
        finally:
            await client.close()
        return status == 200

    def pids(self) -> list[int]:
        """All processes of the contender, without those of its servers."""
        return [pid for program in self.programs.values() for pid in program.pids()]

    def kill(self) -> None:
        """``kill -9`` of all its processes at once; ``start`` brings them back."""
        for program in self.programs.values():
            program.send(signal.SIGKILL)
        for program in self.programs.values():
            program.kill()

    def stop(self) -> None:
        """Ends its processes, last first."""
        for program in reversed(self.programs.values()):
            program.stop()

    async def read(self) -> DatabaseState:
        """Reads its database; nothing may be under way."""
        return await self.contender.read(self.site)


def lacking(contender: Contender, servers: Servers) -> str | None:
    """Returns in one line why a contender cannot run here and what to do, None if it can."""
    missing = [name for name in contender.needs if find_spec(name) is None]
    if missing:
        hint = f"make compare, or pip install 'eventdemo[{contender.extra}]'"
        return f"{', '.join(missing)}: not installed ({hint})"
    return servers.lacking(contender.servers)


@asynccontextmanager
async def running(
    contender: Contender,
    servers: Servers,
    *,
    mode: str | None = None,
    instances: int = 1,
    payment: str | None = None,
) -> AsyncIterator[RunningContender]:
    """Runs a contender with an empty database. Raises ``NotStarted``."""
    if reason := lacking(contender, servers):
        raise NotStarted(f"{contender.name}: {reason}")
    environment = contender.modes[mode] if mode else next(iter(contender.modes.values()))
    port = free_port()
    site = Site(
        port=port,
        data=servers.folder / f"{contender.name}-{port}",
        instances=instances,
        mode=environment,
        payment=payment,
    )
    async with AsyncExitStack() as opened:
        used: dict[ServerKind, CompareServer] = {}
        if ServerKind.POSTGRESQL in contender.servers:
            assert servers.postgresql
            used[ServerKind.POSTGRESQL] = servers.postgresql
            url = await servers.postgresql.database()
            opened.push_async_callback(servers.postgresql.drop, url)
            site = replace(site, postgresql=url)
        if ServerKind.REDIS in contender.servers:
            redis = await opened.enter_async_context(servers.redis())
            used[ServerKind.REDIS] = redis
            site = replace(site, redis=redis.url)
        site.data.mkdir()
        opened.callback(shutil.rmtree, site.data, ignore_errors=True)
        system = RunningContender(contender, site, used)
        opened.callback(system.stop)
        await system.start()
        yield system
