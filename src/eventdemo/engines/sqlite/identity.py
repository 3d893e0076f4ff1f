"""The event pool that a file holds or belongs to, by an id that was made with the pool."""

import uuid
from pathlib import Path

import apsw

from eventdemo.codec.sqlfile import load
from eventdemo.engines.sqlite.file import rows
from eventdemo.errors import StorageForeign

SQL = load("eventdemo.engines.sqlite", "identity.sql")


def pool_id_of(connection: apsw.Connection) -> str:
    """Returns the id of the pool that a file belongs to; empty if nobody claimed the file."""
    kept = rows(connection, SQL["identity"])
    return str(kept[0][0]) if kept else ""


def claim(connection: apsw.Connection, path: Path | None, pool_id: str | None) -> None:
    """Makes a file that belongs to no pool a part of one, within the transaction under way, or the
    pool itself if ``pool_id`` is None.

    Raises ``StorageForeign`` if it belongs to another one.
    """
    kept = rows(connection, SQL["identity"])
    if kept:
        check(connection, path, pool_id)
    elif pool_id is None:
        connection.execute(SQL["claim"], (uuid.uuid4().hex, True))
    elif pool_id:
        connection.execute(SQL["claim"], (pool_id, False))


def check(connection: apsw.Connection, path: Path | None, pool_id: str | None) -> None:
    """Raises ``StorageForeign`` if a file belongs to another pool than it is opened for."""
    for kept, holds_pool in rows(connection, SQL["identity"]):
        if pool_id is None and not holds_pool:
            raise StorageForeign(
                f"{path} is no event pool, but a part of the one with the id {kept}: "
                "name that pool, or give another folder with --data"
            )
        if pool_id and kept != pool_id:
            raise StorageForeign(
                f"{path} belongs to the event pool {kept}, not to {pool_id}: restore what belongs "
                "together, or give another place"
            )
