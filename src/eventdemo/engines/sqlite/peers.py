"""Peers on one machine: each process has a Unix datagram socket in a folder of the data's.

A socket whose process died refuses connections, so nobody has to send heartbeats. The last process
that stops removes the folder; what killed ones left is removed by the next that starts.
"""

import asyncio
import contextlib
import hashlib
import os
import socket
import stat
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

from eventdemo.engines.sqlite.file import file_id_of
from eventdemo.errors import Misconfigured

# Linux takes 107 bytes for a socket's path and others 103, so it can't lie in the data.
_MAX_PATH_BYTES = 103
_NAME_CHARS = 8
#: A socket is bound under a name that ends so, and then renamed: one without it always answers.
_UNBORN = ".new"


class SocketPeers:
    """The membership of this process among those on one file; ``path`` None has no peers."""

    def __init__(self, path: Path | None) -> None:
        self._channels: dict[str, list[asyncio.Event]] = {}
        self._services: list[str] = []
        self._known: tuple[int, list[str]] = (0, [])
        self._folder = _folder_for(path) if path else None
        self._name = f"{uuid.uuid4().hex[:_NAME_CHARS]}"
        self._socket: socket.socket | None = None
        self._swept = False
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
            self._mark()
        self.notify([f"members:{service}"])

    def leave(self) -> None:
        for service in self._services:
            if self._folder:
                (self._folder / f"{self._name}.{service}").unlink(missing_ok=True)
        left = [f"members:{service}" for service in self._services]
        self._services.clear()
        self.notify(left)

    def rank(self, service: str) -> tuple[int, int]:
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
            with contextlib.suppress(OSError, Misconfigured):  # it may be lost, or another's
                self._listen()  # who only speaks needs a socket as well
            payload = ",".join(names).encode()
            for name in self._others():
                self._send(payload, name)

    def close(self) -> None:
        self.leave()
        self._hang_up()
        if self._folder:
            _sweep(self._folder)
        self._folder = None  # what is still told is told to nobody

    def _listen(self) -> None:
        if self._socket or not self._folder:
            return
        if not self._swept:
            self._swept = True
            _sweep_all_like(self._folder)
        self._loop = asyncio.get_running_loop()
        self._socket = _bound(self._folder, self._name)
        self._loop.add_reader(self._socket.fileno(), self._drain, self._socket)

    def _hang_up(self) -> None:
        if self._socket and self._loop:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _mark(self) -> None:
        """Marks the services that run here; if the folder is lost, ``rank`` does it anew."""
        if self._folder:
            with contextlib.suppress(OSError):
                for service in self._services:
                    (self._folder / f"{self._name}.{service}").touch()

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
        """Returns the peers to notify. Never raises: the news is committed already."""
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
        """Joins anew: temporary folders are swept now and then."""
        self._known = (0, [])
        self._hang_up()
        with contextlib.suppress(OSError, Misconfigured):
            self._listen()
            self._mark()

    def _send(self, payload: bytes, name: str) -> None:
        assert self._socket
        assert self._folder
        try:
            self._socket.sendto(payload, str(self._folder / name))
        except BlockingIOError:
            pass  # its buffer is full of notifications: it will look anyway
        except OSError:
            _forget(self._folder, name)

    def _alive(self, name: str) -> bool:
        assert self._folder
        alive = _answers(self._folder / name)
        if not alive:
            _forget(self._folder, name)
        return alive


def _bound(folder: Path, name: str) -> socket.socket:
    """Binds a socket in the folder, which is made for it."""
    path, unborn = folder / name, folder / f"{name}{_UNBORN}"
    while True:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            _check(folder)
            bound.setblocking(False)
            bound.bind(str(unborn))
            unborn.rename(path)
        except FileNotFoundError:
            bound.close()  # somebody has just removed the folder, which was empty, or swept it
        except BaseException:
            bound.close()
            raise
        else:
            return bound


def _answers(path: Path) -> bool:
    """Returns whether a process holds the socket, also where that can't be seen."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(str(path))
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    return True


def _forget(folder: Path, name: str) -> None:
    for path in (folder / name, *folder.glob(f"{name}.*")):
        path.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Removes what dead processes left in a folder, and the folder if nobody lives there."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):  # a socket comes before the files named after it
            if not _answers(path if path.suffix == _UNBORN else path.with_suffix("")):
                path.unlink(missing_ok=True)
        folder.rmdir()


def _sweep_all_like(folder: Path) -> None:
    """Sweeps the folders of all data that this user's processes have had here."""
    user = folder.name.rpartition("-")[0]
    for path in folder.parent.glob(f"{user}-{'[0-9a-f]' * 16}"):
        with contextlib.suppress(OSError, Misconfigured):
            _check(path)
            _sweep(path)


def _check(folder: Path) -> None:
    """Raises ``Misconfigured`` if another user made it, and ``FileNotFoundError`` if nobody."""
    status = folder.lstat()
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
        raise Misconfigured(f"{folder} belongs to another user: remove it, or set TMPDIR")


def _folder_for(path: Path) -> Path:
    """Names the folder of all peers on one file, by what it is and not by its path; the first of
    them makes it."""
    digest = hashlib.blake2b(repr(file_id_of(path)).encode(), digest_size=8).hexdigest()
    name = f"eventdemo-{os.getuid()}-{digest}"
    folder = Path(tempfile.gettempdir()) / name
    if len(os.fsencode(folder)) + len("/") + _NAME_CHARS + len(_UNBORN) > _MAX_PATH_BYTES:
        folder = Path("/tmp") / name  # noqa: S108 - a folder of our own, checked to be nobody else's
    with contextlib.suppress(FileNotFoundError):
        _check(folder)
    return folder
