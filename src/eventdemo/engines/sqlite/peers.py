"""Neighbours on one machine: each process has a Unix datagram socket in a folder of the data's.

A socket whose process died refuses connections, so nobody has to send heartbeats.
"""

import asyncio
import contextlib
import hashlib
import os
import socket
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

from eventdemo.errors import Misconfigured

# The kernel limits a socket's path to about a hundred characters, so it can't lie in the data.
_MAX_FOLDER_CHARS = 60


class SocketNeighbours:
    """This process's place among those that share the data; ``path`` None has no neighbours."""

    def __init__(self, path: Path | None) -> None:
        self._channels: dict[str, list[asyncio.Event]] = {}
        self._services: list[str] = []
        self._known: tuple[int, list[str]] = (0, [])
        self._folder = _folder_for(path) if path else None
        self._name = f"{uuid.uuid4().hex[:12]}"
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def subscribe(self, channel: str) -> asyncio.Event:
        event = asyncio.Event()
        self._channels.setdefault(channel, []).append(event)
        self._listen()
        return event

    def join(self, service: str) -> None:
        self._listen()
        if service not in self._services:
            self._services.append(service)
            if self._folder:
                (self._folder / f"{self._name}.{service}").touch()
        self.notify([f"members:{service}"])

    def leave(self) -> None:
        for service in self._services:
            if self._folder:
                (self._folder / f"{self._name}.{service}").unlink(missing_ok=True)
        left = [f"members:{service}" for service in self._services]
        self._services.clear()
        self.notify(left)

    def share(self, service: str) -> tuple[int, int]:
        names = [self._name]
        if self._folder:
            if not (self._folder / self._name).exists():
                self._appear_again()
            others = (path.stem for path in self._folder.glob(f"*.{service}"))
            names += [name for name in others if name != self._name and self._alive(name)]
        names.sort()
        return names.index(self._name), len(names)

    def notify(self, channels: Iterable[str]) -> None:
        names = list(channels)
        self._set(names)
        if self._folder and names:
            with contextlib.suppress(OSError):  # their folder may have been swept
                self._listen()  # who only speaks needs a socket as well
            payload = ",".join(names).encode()
            for name in self._others():
                self._send(payload, name)

    def close(self) -> None:
        self.leave()
        if self._socket and self._folder and self._loop:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._forget(self._name)

    def _listen(self) -> None:
        if self._socket or not self._folder:
            return
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(self._folder / self._name))
        self._loop.add_reader(self._socket.fileno(), self._drain, self._socket)

    def _drain(self, listening: socket.socket) -> None:
        channels: set[str] = set()
        try:
            while True:
                channels.update(listening.recv(4096).decode(errors="replace").split(","))
        except (BlockingIOError, InterruptedError):
            self._set(channels)

    def _set(self, channels: Iterable[str]) -> None:
        for channel in channels:
            for event in self._channels.get(channel, ()):
                event.set()

    def _others(self) -> list[str]:
        """Whom to nudge. Never raises: what is nudged about is done already."""
        assert self._folder
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed != self._known[0]:
                sockets = {path.name for path in self._folder.iterdir() if not path.suffix}
                self._known = (changed, sorted(sockets - {self._name}))
                if self._name not in sockets:
                    self._appear_again()
        except OSError:
            self._appear_again()
        return self._known[1]

    def _appear_again(self) -> None:
        """Temporary folders are swept now and then; whoever is still there says so anew."""
        assert self._folder
        self._known = (0, [])
        if self._socket and self._loop:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._listen()
            for service in self._services:
                (self._folder / f"{self._name}.{service}").touch()

    def _send(self, payload: bytes, name: str) -> None:
        assert self._socket
        assert self._folder
        try:
            self._socket.sendto(payload, str(self._folder / name))
        except BlockingIOError:
            pass  # its buffer is full of nudges: it will look anyway
        except OSError:
            self._forget(name)

    def _alive(self, name: str) -> bool:
        assert self._folder
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(str(self._folder / name))
            except OSError:
                self._forget(name)
                return False
        return True

    def _forget(self, name: str) -> None:
        assert self._folder
        for path in (self._folder / name, *self._folder.glob(f"{name}.*")):
            path.unlink(missing_ok=True)


def _folder_for(path: Path) -> Path:
    base = tempfile.gettempdir()
    if len(base) > _MAX_FOLDER_CHARS:
        base = "/tmp"  # noqa: S108 - a folder of our own in it, checked to be nobody else's
    user = os.getuid() if hasattr(os, "getuid") else 0
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=8).hexdigest()
    folder = Path(base) / f"eventdemo-{user}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != user:
        raise Misconfigured(f"{folder} belongs to another user: remove it, or set TMPDIR")
    return folder
