"""The table of the contenders: adding one is adding a file and a row."""

import os

from eventdemo.lab.compare.contender import (
    AS_WRITTEN,
    Contender,
    Durability,
    ServerKind,
    Site,
)
from eventdemo.lab.compare.launch import (
    celery,
    embedded,
    event_driven,
    iteration_1,
    redis_stream,
    uvicorn,
)
from eventdemo.lab.compare.readers import (
    read_aggregates,
    read_documents,
    read_event_pool,
    read_event_table,
    read_postgresql,
    read_redis_and_postgresql,
    read_sqlite,
    read_workflows,
)

CORES = os.cpu_count() or 1
#: The pool that PostgreSQL's wiki advises: two connections per core, and one for the disk. More of
#: them would only wait for each other, above all for a hot product's row.
ADVISED_POOL = {"COMPARE_CONNECTIONS": str(2 * CORES + 1)}
SAME_POOL = {"COMPARE_CONNECTIONS": "10"}
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
        AS_WRITTEN: {},
        "same pool": SAME_POOL,
        "tuned": ADVISED_POOL | {"COMPARE_WORKERS": str(CORES)},
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
        AS_WRITTEN: {},
        "same pool": SAME_POOL,
        "tuned": ADVISED_POOL,
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
    modes={AS_WRITTEN: {"COMPARE_CONNECTIONS": "20"}},
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

BARE_ASGI = Contender(
    name="group-commit-asgi",
    title="Monolith with group commit, SQLite, bare ASGI",
    family="traditional",
    description="The same without a web framework: the strongest traditional design there is.",
    durability=Durability.BEFORE,
    objection="Nobody gives up a web framework for a shop that sells less than this.",
    file="bare_asgi.py",
    commands=lambda site: uvicorn("bare_asgi", site),
    read=read_sqlite,
    needs=_WEB,
)

MODULAR_MONOLITH = Contender(
    name="modular-monolith",
    title="Modular monolith",
    family="traditional",
    description=(
        "This project's own services, called one after the other in one process on one database:"
        " the same deciders without queue and topics."
    ),
    durability=Durability.BEFORE,
    objection="It is bound to one process as it stands; its modules could be split later.",
    file="modular_monolith.py",
    commands=lambda site: uvicorn("modular_monolith", site),
    read=read_event_table,
    needs=_WEB,
    modes={AS_WRITTEN: {}, "tuned": {"COMPARE_BATCH": "500"}},
)

ITERATION_1 = Contender(
    name="iteration-1",
    title="Iteration 1 of the sketch",
    family="event-driven",
    description=(
        "A queue in Redis; a notification over HTTP to nginx, which wakes a worker that changes"
        " the stock in a document store behind REST and announces the order on a topic."
    ),
    durability=Durability.BEFORE,
    objection=(
        "MongoDB is played by a table of documents, since no server of it can be installed here;"
        " and a first iteration is there to be learnt from."
    ),
    file="iteration_1.py",
    commands=iteration_1,
    read=read_documents,
    needs=("redis", *_WEB),
    servers=(ServerKind.REDIS, ServerKind.NGINX),
    max_instances=4,
    decides_later=True,
)

EVENT_DRIVEN = Contender(
    name="event-driven",
    title="Event-driven, embedded engine",
    family="event-driven",
    description=(
        "This project, `eventdemo up`: a purchase is durable in the task queue before its 202, and"
        " decided behind it."
    ),
    durability=Durability.BEFORE,
    objection="A buyer who wants the outcome asks twice, and a team has more to understand.",
    file="src/eventdemo/flow.py",
    commands=lambda site: event_driven(site, embedded(site)),
    read=lambda site: read_event_pool(embedded(site)),
    extra=None,
    max_instances=8,
    decides_later=True,
)

CELERY = Contender(
    name="celery",
    title="Celery, Redis, PostgreSQL",
    family="peer",
    description="A pending order in PostgreSQL, a task in Redis, and workers that decide it.",
    durability=Durability.BEFORE,
    objection="RabbitMQ is the better broker; and Celery is for jobs, not for transactions.",
    file="celery_tasks.py",
    commands=celery,
    read=read_postgresql,
    needs=("celery", "sqlalchemy", "psycopg", "redis", "asyncpg", *_WEB),
    extra="peers",
    servers=(ServerKind.REDIS, ServerKind.POSTGRESQL),
    max_instances=4,
    decides_later=True,
)

EVENTSOURCING = Contender(
    name="eventsourcing",
    title="eventsourcing, PostgreSQL",
    family="peer",
    description="Event-sourced aggregates of the library, saved together in one transaction.",
    durability=Durability.BEFORE,
    objection="It is a library for models that change often, not for hot products.",
    file="eventsourced.py",
    commands=lambda site: uvicorn("eventsourced", site, _workers(site)),
    read=read_aggregates,
    needs=("eventsourcing", "psycopg", "psycopg_pool", "asyncpg", *_WEB),
    extra="peers",
    servers=(ServerKind.POSTGRESQL,),
    max_instances=4,
)

DBOS = Contender(
    name="dbos",
    title="DBOS, PostgreSQL",
    family="peer",
    description="A durable workflow for each purchase, whose steps PostgreSQL remembers.",
    durability=Durability.BEFORE,
    objection="Workflows are for many steps; a purchase of one step pays for what it does not use.",
    file="dbos_workflow.py",
    commands=lambda site: uvicorn("dbos_workflow", site),
    read=read_workflows,
    needs=("dbos", "sqlalchemy", "psycopg", "asyncpg", *_WEB),
    extra="peers",
    servers=(ServerKind.POSTGRESQL,),
    decides_later=True,
)

REDIS_STREAM = Contender(
    name="redis-stream",
    title="Redis script and stream, PostgreSQL",
    family="peer",
    description="A script in Redis decides, and a worker writes the orders from a stream.",
    durability=Durability.BEFORE,
    objection="With `appendfsync everysec`, as most run it, it is faster and may lose a second.",
    file="redis_stream.py",
    commands=redis_stream,
    read=read_redis_and_postgresql,
    needs=("redis", "asyncpg", *_WEB),
    extra="compare",
    servers=(ServerKind.REDIS, ServerKind.POSTGRESQL),
    max_instances=4,
)

CONTENDERS = (
    MONOLITH,
    TUNED,
    VERTICAL,
    GROUP_COMMIT_POSTGRESQL,
    GROUP_COMMIT_SQLITE,
    BARE_ASGI,
    MODULAR_MONOLITH,
    ITERATION_1,
    EVENT_DRIVEN,
    CELERY,
    EVENTSOURCING,
    DBOS,
    REDIS_STREAM,
)


def _workers(site: Site) -> int:
    return site.instances * int(site.mode.get("COMPARE_WORKERS", "1"))
