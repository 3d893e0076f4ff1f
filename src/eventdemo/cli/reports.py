"""Audits, rebuilds and loads, run and reported: progress meanwhile, tables at the end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from eventdemo.audit import Receipt, audit
from eventdemo.cli.client import HOW_TO_REACH, Unreachable
from eventdemo.cli.lifecycle import folder_of_read_models, opened
from eventdemo.cli.limits import FEWEST_FILES, allow_files
from eventdemo.cli.output import err, print_table, say
from eventdemo.engines.registry import file_of
from eventdemo.errors import Misconfigured
from eventdemo.lab.load.load import FOLLOWERS, Load
from eventdemo.lab.load.measures import Latency, LoadResult, Workload
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.readmodels.rebuild import rebuild as rebuild_read_models
from eventdemo.settings import Settings, is_loopback

#: The products in the table of a receipt; --json has them all.
PRODUCTS_SHOWN = 20
REFRESH_S = 0.25


class LoadReport(Struct, frozen=True):
    """A load run and its receipt, or why there is none."""

    load: LoadResult
    receipt: Receipt | None
    no_receipt: str | None
    interrupted: bool = False

    @property
    def promises_kept(self) -> bool:
        """Whether no purchase was lost and no promise is known to be broken."""
        return not self.load.outcomes.lost and (self.receipt is None or self.receipt.clean)


async def audit_of(settings: Settings) -> Receipt:
    """Audits the data that the settings name. Raises a ``StorageError``."""
    async with opened(settings, read_only=True) as engine:
        read_models = ReadModels(
            settings.read_models / await engine.pool.identity(), read_only=True
        )
        try:
            with err.status("auditing"):
                return await audit(engine, read_models)
        finally:
            await read_models.close()


async def rebuild(settings: Settings) -> int:
    """Builds the read models again and returns the position they are at."""
    async with opened(settings, must_exist=True) as engine:
        with _progress("events") as (progress, bar):
            return await rebuild_read_models(
                engine.pool,
                await folder_of_read_models(settings, engine.pool),
                lambda position, head: progress.update(bar, completed=position, total=head),
            )


async def load(settings: Settings, url: str, workload: Workload, *, audited: bool) -> LoadReport:
    """Runs a load with live progress, then the audit where the data is at hand.

    Ctrl-C ends it early, with what was measured until then.
    """
    host, port = _address(url)
    allow_files(FEWEST_FILES + FOLLOWERS + workload.connections)
    run = Load(host, port, workload, settings.operator_token)
    with _progress("sent") as (progress, bar):
        updates = asyncio.ensure_future(_show_progress(run, progress, bar))
        try:
            result = await run.run()
        except asyncio.CancelledError:
            if not run.sent:
                raise
            return LoadReport(run.result, None, "the load was interrupted", interrupted=True)
        except OSError as error:
            reason = HOW_TO_REACH if _refused(error) else str(error)
            raise Unreachable(f"nothing answers at {url}: {reason}") from None
        finally:
            updates.cancel()
    if not audited:
        return LoadReport(result, None, "it was not asked for")
    file = file_of(settings.event_pool)
    if not is_loopback(host) or (file and not _is_here(file)):
        return LoadReport(result, None, "the data is not here: run `eventdemo audit` where it is")
    if not await _accepted_here(settings, run.request_ids[0]):
        return LoadReport(result, None, f"{url} keeps its data elsewhere: name it with --data")
    return LoadReport(result, await audit_of(settings), None)


def print_receipt(receipt: Receipt) -> None:
    """Prints the sums, the products sold most, and the broken promises of a receipt."""
    say(
        f"accepted {receipt.accepted:,} = confirmed {receipt.confirmed:,} + "
        f"failed {receipt.failed:,} + pending {receipt.pending:,}"
    )
    most_sold = sorted(receipt.products.items(), key=lambda item: -item[1].reserved)
    print_table(
        ("product", "received#", "reserved#"),
        ((name, stock.received, stock.reserved) for name, stock in most_sold[:PRODUCTS_SHOWN]),
    )
    if (more := len(most_sold) - PRODUCTS_SHOWN) > 0:
        say(f"and {more:,} more products: --json lists all")
    for line in receipt.broken:
        say(f"BROKEN: {line}")
    for row in receipt.unreadable:
        say(
            f"UNREADABLE: {row.stream} from version {row.version} (position {row.position}) on: "
            f"{row.reason}"
        )
    if not receipt.complete:
        say(
            f"{receipt.unreadable_streams:,} streams are damaged, or hold events of a later "
            "eventdemo: restore them from a backup, or upgrade eventdemo"
        )
    if receipt.clean and receipt.complete:
        say("every promise was kept")
    elif receipt.clean:
        say("every promise was kept, as far as can be read")
    else:
        say(f"{receipt.contradictions:,} contradictions")


def print_report(report: LoadReport) -> None:
    """Prints the clocks of a load run, then the outcomes of its purchases, then the receipt."""
    result, outcomes = report.load, report.load.outcomes
    print_table(
        ("clock", "count#", "per second#", "p50 ms#", "p90 ms#", "p99 ms#", "p99.9 ms#", "max ms#"),
        (
            _clock("accepted", result.accepted, result.accepted_per_s, result.accept_latency),
            _clock("decided", result.decided, result.decided_per_s, result.outcome_latency),
            ("  confirmed", result.confirmed, result.confirmed_per_s),
            ("  refused", result.failed, result.failed_per_s),
        ),
        title=f"load {result.run}: {result.sent:,} purchases at {result.rate:g}/s",
    )
    say(f"outcomes were followed for {result.outcome_latency.count:,} of them")
    failed = "".join(f", {count:,} {code}" for code, count in outcomes.failed.items())
    say(
        f"looked up {outcomes.looked_up:,}: {outcomes.confirmed:,} confirmed{failed}, "
        f"{outcomes.pending:,} pending, {len(outcomes.lost):,} lost"
    )
    for error, count in result.errors.items():
        say(f"not accepted: {count:,} times {error}")
    for request_id in outcomes.lost[:PRODUCTS_SHOWN]:
        say(f"LOST: {request_id} got a 202 and is unknown")
    delay = result.generator_delay
    if result.generator_fell_behind:
        say(
            f"the generator itself fell behind (p99 {delay.p99_ms:g} ms, at most "
            f"{delay.max_ms:g} ms): the latencies above hold its own delay"
        )
    if report.receipt:
        print_receipt(report.receipt)
    else:
        say(f"no receipt: {report.no_receipt}")


def _is_here(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # no such path is possible
        return False


async def _accepted_here(settings: Settings, request_id: str) -> bool:
    """Returns whether the data is that of the system which accepted this purchase."""
    async with opened(settings, read_only=True) as engine:
        return await engine.queue.find(request_id) is not None


def _clock(name: str, count: int, per_s: float, latency: Latency) -> tuple[str | float, ...]:
    percentiles = (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms)
    return (name, count, float(per_s), *map(float, percentiles))


@contextmanager
def _progress(description: str) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield progress, progress.add_task(description, total=None, note="")


async def _show_progress(run: Load, progress: Progress, bar: TaskID) -> None:
    """Updates the bar a few times a second, on a terminal only."""
    while not progress.disable:
        refused = f"  {sum(run.errors.values()):,} not accepted" if run.errors else ""
        progress.update(
            bar,
            description=run.phase,
            completed=run.sent,
            total=run.workload.purchases,
            note=f"accepted {len(run.request_ids):,}  decided {run.decided:,}{refused}",
        )
        await asyncio.sleep(REFRESH_S)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port or parts.path.strip("/"):
        raise Misconfigured(f"load needs an address like http://127.0.0.1:8000, not {url!r}")
    return parts.hostname, port


def _refused(error: OSError) -> bool:
    # uvloop and asyncio gather the errors of several addresses into one without a number.
    return isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower()
