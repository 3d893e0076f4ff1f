"""Clients that well-kept generators make of the OpenAPI document can buy, wait and read."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventdemo.settings import Settings
from tests.api.conftest import Running
from tests.docs.markdown import ROOT

HERE = Path(__file__).parent
TOOLS = ROOT / ".venv" / "clients"
PATIENCE_S = 120.0

needs_python_generator = pytest.mark.skipif(
    not (TOOLS / "bin" / "openapi-python-client").exists(),
    reason="no openapi-python-client in .venv/clients: `make .venv/.clients` installs it",
)
needs_typescript = pytest.mark.skipif(
    not ((TOOLS / "node_modules" / "openapi-typescript").exists() and shutil.which("node")),
    reason="no node, or no TypeScript in .venv/clients: `make .venv/.clients` installs it",
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Running]:
    with Running(Settings(port=0, data=tmp_path / "data")) as running:
        with running.client() as client:
            body = {"name": "Lamp", "price_cents": 1_250}
            client.put("/products/lamp", json=body).raise_for_status()
            client.post("/products/lamp/stock", json={"quantity": 10}).raise_for_status()
            document = client.get("/openapi.json").content
        (tmp_path / "openapi.json").write_bytes(document)
        yield running


def run(folder: Path, *command: str | Path) -> str:
    """Runs a program in a folder and returns what it printed."""
    paths = f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": paths, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_bought(printed: str) -> None:
    answer: dict[str, Any] = json.loads(printed)
    assert answer == {
        "bought": ["lamp", 2, 1_250],
        "total_cents": 2_500,
        "listed": True,
        "reserved": 2,
        "refused": [422, "product_id"],
    }


@needs_python_generator
def test_a_python_client_buys_waits_and_reads(shop: Running, tmp_path: Path) -> None:
    options = ("--path", "openapi.json", "--output-path", "shop_client", "--meta", "none")
    printed = run(
        tmp_path, TOOLS / "bin" / "openapi-python-client", "generate", *options, "--fail-on-warning"
    )
    assert "Warning" not in printed
    assert_bought(run(tmp_path, TOOLS / "bin" / "python", HERE / "buy.py", shop.url))


@needs_typescript
def test_a_typescript_client_buys_waits_and_reads(shop: Running, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "buy.ts", tmp_path)
    programs = TOOLS / "node_modules" / ".bin"
    run(tmp_path, programs / "openapi-typescript", "openapi.json", "-o", "shop_client.d.ts")
    options = ("--strict", "--target", "es2022", "--module", "es2022", "--lib", "es2022,dom")
    run(tmp_path, programs / "tsc", *options, "--moduleResolution", "bundler", "buy.ts")
    assert_bought(run(tmp_path, "node", "buy.js", shop.url))
