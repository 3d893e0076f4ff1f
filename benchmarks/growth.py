"""Growth: memory while a system takes ever more purchases, and what each leaves on the disk."""

import tempfile
from pathlib import Path

import apsw

from benchmarks.feeding import feed
from benchmarks.isolation import isolated
from benchmarks.plan import GROWTH_PURCHASES, PRODUCTS, Plan
from benchmarks.processes import Server, free_port, system
from benchmarks.purchases import drain, receipt_of, stock_products
from benchmarks.report import Case, Section, progress
from eventdemo.settings import Settings

_STEPS = 10
#: How much longer than at its rate a step may take, where the system asks to come back later.
_SLOWER = 4
_GRACE_S = 120.0

#: Which part of the flow's file a table or index belongs to, by what its name begins with.
_PARTS = {
    "event": "event pool",
    "sqlite_autoindex_event": "event pool",
    "snapshot": "event pool",
    "record_batch": "topics",
    "sqlite_autoindex_record_batch": "topics",
    "session": "session cache",
    "sqlite_autoindex_session": "session cache",
}


def measure(plan: Plan) -> list[Section]:
    step = max(1, (plan.purchases or GROWTH_PURCHASES) // _STEPS)
    purchases = step * _STEPS
    with tempfile.TemporaryDirectory(prefix="growth-", dir=plan.folder) as temporary:
        folder = Path(temporary)
        settings = Settings(port=free_port(), data=folder / "data")
        with system(settings, folder) as running:
            products = max(PRODUCTS.values())
            stock_products(running.port, products)
            memory = [_sample("0 purchases", running, settings.data, {})]
            for number in range(1, _STEPS + 1):
                name = f"{number * step:,} purchases"
                progress(f"growth: up to {name}")
                timeout_s = step / plan.rate * _SLOWER + _GRACE_S
                fed = isolated(timeout_s, feed, running.port, step, products, plan.rate)
                memory.append(_sample(name, running, settings.data, fed))
            drain(running.port)
            memory.append(_sample("all decided", running, settings.data, {}))
        receipt = receipt_of(settings.data, purchases)
        disk = Case("bytes per purchase", [_bytes_per_purchase(settings, purchases)], [receipt])
    return [
        Section("Growth: memory and files", _memory_note(plan, purchases, products), memory),
        Section("Growth: what a purchase leaves on the disk", _DISK_NOTE, [disk]),
    ]


def _sample(name: str, running: Server, data: Path, fed: dict[str, float]) -> Case:
    measures = {
        "API MiB": running.api().rss_bytes / 2**20,
        "worker MiB": running.workers().rss_bytes / 2**20,
        "files MiB": sum(_size(path) for path in data.rglob("*")) / 2**20,
    }
    return Case(name, [measures | fed])


def _bytes_per_purchase(settings: Settings, purchases: int) -> dict[str, float]:
    """Of a system that has ended, so that its logs are in its files."""
    flow, queue = settings.data / "eventdemo.db", settings.data / "eventdemo.queue.db"
    parts = _parts(flow)
    sizes = {f"flow: {part}": size for part, size in parts.items()}
    sizes["flow: all of its file"] = _size(flow)
    sizes["task queue"] = _size(queue)
    sizes["read models"] = sum(_size(path) for path in settings.read_models.rglob("*"))
    sizes["all"] = sum(_size(path) for path in settings.data.rglob("*"))
    return {name: size / purchases for name, size in sizes.items()}


def _parts(flow: Path) -> dict[str, int]:
    """Bytes of the pages of each part of the flow's file."""
    connection = apsw.Connection(str(flow), flags=apsw.SQLITE_OPEN_READONLY)
    parts = dict.fromkeys(_PARTS.values(), 0)
    for name, size in connection.execute("SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE"):
        for beginning, part in _PARTS.items():
            if name.startswith(beginning):
                parts[part] += size
    connection.close()
    return parts


def _size(path: Path) -> int:
    """Bytes of a file, 0 for one that has just gone."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def _memory_note(plan: Plan, purchases: int, products: int) -> str:
    return (
        f"{purchases:,} purchases of {products:,} products at {plan.rate:,.0f} per second, or "
        "later where the system asks for it; resident memory and file sizes at every tenth. One "
        "run."
    )


_DISK_NOTE = (
    "Sizes of the files of the system after it has ended. The pages of topics and task queue are "
    "used again once their messages are forgotten (`--message-retention-s`)."
)
