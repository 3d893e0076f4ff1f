"""The table of the contenders: adding one is adding a file and a row."""

import os

from eventdemo.lab.compare.contender import Contender, Durability, ServerKind, Site, uvicorn
from eventdemo.lab.compare.readers import read_postgresql, read_sqlite

CORES = os.cpu_count() or 1
_WEB = ("starlette", "uvicorn", "httpx")

MONOLITH = Contender(
    name="monolith",
    title="Monolith, as people write it",
    family="traditional",
    description=(
        "One synchronous FastAPI service: SQLAlchemy locks the product's row, and the order is"
        " written in the same transaction of PostgreSQL."
    ),
    durability=Durability.BEFORE,
    objection="Nobody with this load leaves it so: an ORM and a row lock are where one starts.",
    file="monolith.py",
    commands=lambda site: uvicorn("monolith", site, _workers(site)),
    read=read_postgresql,
    needs=("fastapi", "sqlalchemy", "psycopg", "asyncpg", "uvicorn", "httpx"),
    servers=(ServerKind.POSTGRESQL,),
    modes={
        "as written": {},
        "same pool": {"COMPARE_CONNECTIONS": "10"},
        "tuned": {"COMPARE_CONNECTIONS": str(2 * CORES + 1), "COMPARE_WORKERS": str(CORES)},
    },
    max_instances=8,
)

TUNED = Contender(
    name="monolith-tuned",
    title="Monolith, tuned",
    family="traditional",
    description="One SQL statement per purchase over an asyncpg pool: one round trip, one commit.",
    durability=Durability.BEFORE,
    objection="A hot product is one row; shops spread its stock over several rows.",
    file="monolith_tuned.py",
    commands=lambda site: uvicorn("monolith_tuned", site, _workers(site)),
    read=read_postgresql,
    needs=("asyncpg", *_WEB),
    servers=(ServerKind.POSTGRESQL,),
    modes={
        "as written": {},
        "same pool": {"COMPARE_CONNECTIONS": "10"},
        "tuned": {"COMPARE_CONNECTIONS": str(2 * CORES + 1)},
    },
    max_instances=8,
)

VERTICAL = Contender(
    name="vertical-scaling",
    title="Vertical scaling",
    family="traditional",
    description=(
        "The tuned monolith with a worker per core and as many connections as the machine bears."
    ),
    durability=Durability.BEFORE,
    objection="A machine of two cores is no machine to scale up to; 64 cores are for rent.",
    file="monolith_tuned.py",
    commands=lambda site: uvicorn("monolith_tuned", site, CORES * site.instances),
    read=read_postgresql,
    needs=("asyncpg", *_WEB),
    servers=(ServerKind.POSTGRESQL,),
    modes={"as written": {"COMPARE_CONNECTIONS": "20"}},
    max_instances=4,
)

GROUP_COMMIT_POSTGRESQL = Contender(
    name="group-commit-postgresql",
    title="Monolith with group commit, PostgreSQL",
    family="traditional",
    description=(
        "Purchases that arrive during one transaction are decided in memory and committed"
        " together in the next."
    ),
    durability=Durability.BEFORE,
    objection="A batch fails as a whole, and hand-made batching is code that few teams keep.",
    file="group_commit_postgresql.py",
    commands=lambda site: uvicorn("group_commit_postgresql", site, _workers(site)),
    read=read_postgresql,
    needs=("asyncpg", *_WEB),
    servers=(ServerKind.POSTGRESQL,),
    max_instances=4,
)

GROUP_COMMIT_SQLITE = Contender(
    name="group-commit-sqlite",
    title="Monolith with group commit, SQLite",
    family="traditional",
    description="Group commit into a file of the same process: no server, no round trip.",
    durability=Durability.BEFORE,
    objection="One process on one machine: when it is down, so is the shop.",
    file="group_commit_sqlite.py",
    commands=lambda site: uvicorn("group_commit_sqlite", site),
    read=read_sqlite,
    needs=_WEB,
)

CONTENDERS = (MONOLITH, TUNED, VERTICAL, GROUP_COMMIT_POSTGRESQL, GROUP_COMMIT_SQLITE)


def _workers(site: Site) -> int:
    return site.instances * int(site.mode.get("COMPARE_WORKERS", "1"))
