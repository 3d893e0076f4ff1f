"""A private nginx that runs a configuration of ``deploy/nginx`` on a free port of loopback."""

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.programs import program

SITES = Path(__file__).parents[2] / "deploy" / "nginx"

_START_WITHIN_S = 20.0


@contextmanager
def nginx(site: str, changes: Mapping[str, str], port: int, folder: Path) -> Iterator[None]:
    """Runs a site with its ``changes``, each of which has to replace something; ``port`` is where
    it listens then."""
    configuration = _written(site, changes, folder)
    command = [
        program("nginx", "nginx-light"),
        "-e",
        "stderr",
        "-p",
        str(folder),
        "-c",
        str(configuration),
    ]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with (folder / "log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            _await_listening(process, port, folder)
            yield
        finally:
            process.terminate()
            process.wait(20)


def _written(site: str, changes: Mapping[str, str], folder: Path) -> Path:
    text = (SITES / site).read_text(encoding="utf-8")
    for before, after in changes.items():
        assert before in text, f"{site} has no {before!r}"
        text = text.replace(before, after)
    (folder / site).write_text(text, encoding="utf-8")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in kinds)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        "daemon off;\nmaster_process off;\nworker_processes 1;\n"
        f"pid {folder}/pid;\nevents {{}}\n"
        f"http {{\n    access_log off;\n{paths}\n    include {folder / site};\n}}\n",
        encoding="utf-8",
    )
    return configuration


def _await_listening(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError(f"nginx does not listen: {(folder / 'log').read_text(encoding='utf-8')}")
