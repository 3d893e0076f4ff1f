"""The document store of iteration 1, behind REST: JSON under a key, with an optimistic revision.

The sketch names MongoDB, of which no server can be installed where this is tested; a table of
documents in SQLite plays it, with one fsync per change and a compare-and-swap of one document.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""
READ = "SELECT revision, body FROM documents WHERE id = ?"
CREATE = "INSERT INTO documents VALUES (?, 1, ?) ON CONFLICT DO NOTHING RETURNING revision"
REPLACE = """
UPDATE documents SET revision = revision + 1, body = ? WHERE id = ? AND revision = ?
RETURNING revision
"""


@asynccontextmanager
async def lifespan(application: Starlette) -> AsyncIterator[None]:
    database = apsw.Connection(str(Path(os.environ["COMPARE_DATA"]) / "documents.db"))
    database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    database.execute(SCHEMA)
    application.state.database = database
    yield
    database.close()


async def read(request: Request) -> JSONResponse:
    row: Any = request.app.state.database.execute(READ, (request.path_params["id"],)).fetchone()
    if row is None:
        return JSONResponse({"detail": "There is no such document."}, 404)
    return JSONResponse({"revision": row[0], "body": json.loads(row[1])})


async def write(request: Request) -> JSONResponse:
    """Creates a document (``If-Match: 0``) or replaces the revision that was read, or 409."""
    id_, revision = request.path_params["id"], int(request.headers["if-match"])
    body = (await request.body()).decode()
    database = request.app.state.database
    if revision:
        row = database.execute(REPLACE, (body, id_, revision)).fetchone()
    else:
        row = database.execute(CREATE, (id_, body)).fetchone()
    if row is None:
        return JSONResponse({"detail": "Another revision is there."}, 409)
    return JSONResponse({"revision": row[0]})


app = Starlette(
    routes=[
        Route("/documents/{id}", read),
        Route("/documents/{id}", write, methods=["PUT"]),
    ],
    lifespan=lifespan,
)


class Documents:
    """A client of the store."""

    def __init__(self) -> None:
        self._http = httpx.AsyncClient(base_url=os.environ["COMPARE_DOCUMENTS"], timeout=30)

    async def read(self, id_: str) -> tuple[int, dict[str, Any] | None]:
        """The revision and the document; 0 and None where there is none."""
        response = await self._http.get(f"/documents/{id_}")
        if response.status_code == 404:
            return 0, None
        document = response.raise_for_status().json()
        return document["revision"], document["body"]

    async def write(self, id_: str, revision: int, body: dict[str, Any]) -> bool:
        """Replaces a revision, or creates after 0; returns whether it was still the latest."""
        headers = {"if-match": str(revision)}
        response = await self._http.put(f"/documents/{id_}", json=body, headers=headers)
        return response.status_code != 409 and bool(response.raise_for_status())

    async def close(self) -> None:
        await self._http.aclose()
