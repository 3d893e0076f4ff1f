"""The event pool that a table holds or belongs to, by an id that was made with the pool."""

from contextlib import suppress

from eventdemo.engines.aws.dynamodb.table import ConditionFailed, Key, Put, Table
from eventdemo.errors import StorageForeign

#: The item of every table that holds the id.
IDENTITY = Key("identity", "identity")


async def pool_id_of(table: Table) -> str:
    """Returns the id of the pool that a table belongs to; empty if nobody claimed the table."""
    items = await table.get([IDENTITY])
    return str(items[IDENTITY]["pool_id"]) if items else ""


async def claim(table: Table, pool_id: str) -> str:
    """Makes a table that belongs to no pool a part of one, and returns the id of its pool."""
    kept = await pool_id_of(table)
    if kept or not pool_id:
        return kept
    with suppress(ConditionFailed):  # another process was first
        await table.transact([Put(IDENTITY, {"pool_id": pool_id}, absent=True)])
    return await pool_id_of(table)


def check(name: str, kept: str, pool_id: str) -> None:
    """Raises ``StorageForeign`` if a table belongs to another pool than it is opened for."""
    if kept and pool_id and kept != pool_id:
        raise StorageForeign(
            f"the table {name} belongs to the event pool {kept}, not to {pool_id}: name the parts "
            "that belong together"
        )
