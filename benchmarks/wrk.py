"""wrk as a generator: as many purchases as a fixed number of connections can have answered."""

import shutil
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.isolation import output_of
from benchmarks.plan import WRK_CONNECTIONS, WRK_THREADS, BenchmarkFailed

MISSING = "wrk is missing, which makes the load of `floor` and `http`: apt install wrk"
#: How much longer than asked for wrk may run.
GRACE_S = 30.0

#: Requests are made once, so that choosing one costs the generator next to nothing.
_SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local requests = {}
init = function(args)
  for n = 0, PRODUCTS - 1 do
    requests[n] = wrk.format(nil, "/purchases", nil, '{"product_id":"p' .. n .. '","quantity":1}')
  end
end
request = function() return requests[math.random(0, PRODUCTS - 1)] end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests":%d,"refused":%d,"failed":%d,"us":%d,"p50_us":%d,"p99_us":%d}\\n',
    summary.requests, e.status, e.connect + e.read + e.write + e.timeout, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
"""


class WrkResult(Struct, frozen=True):
    """What wrk counted. ``requests`` holds the ``refused``, whose status was not 2xx."""

    requests: int
    refused: int
    failed: int
    us: int
    p50_us: int
    p99_us: int

    @property
    def accepted(self) -> int:
        return self.requests - self.refused

    @property
    def accepted_per_s(self) -> float:
        return self.accepted / self.us * 1_000_000

    def measures(self) -> dict[str, float]:
        """Columns that every table of wrk has."""
        return {
            "accepted/s": self.accepted_per_s,
            "202 p50 ms": self.p50_us / 1_000,
            "202 p99 ms": self.p99_us / 1_000,
        }


def wrk_version() -> str | None:
    """``wrk 4.1.0``, or None where there is none."""
    path = shutil.which("wrk")
    if path is None:
        return None
    # Having no option for it, it tells its version along with how it is used.
    return " ".join("".join(output_of([path, "--version"], Path.cwd(), GRACE_S)).split()[:2])


def run_wrk(port: int, products: int, seconds: float, folder: Path) -> WrkResult:
    """Buys products ``p0`` to ``p<products - 1>`` at random. Raises ``BenchmarkFailed``."""
    script = folder / "purchases.lua"
    script.write_text(_SCRIPT.replace("PRODUCTS", str(products)), encoding="utf-8")
    path = shutil.which("wrk")
    if path is None:
        raise BenchmarkFailed(MISSING)
    command = (
        *(path, f"-t{WRK_THREADS}", f"-c{WRK_CONNECTIONS}", f"-d{max(1, round(seconds))}s"),
        *("--timeout", "10s", "-s", str(script), f"http://127.0.0.1:{port}/purchases"),
    )
    said, errors = output_of(command, folder, seconds + GRACE_S)
    _, found, result = said.partition("RESULT ")
    if not found:
        raise BenchmarkFailed(f"wrk failed: {' '.join((errors + said).split())}")
    counted = msgspec.json.decode(result.splitlines()[0], type=WrkResult)
    if counted.refused or counted.failed:
        raise BenchmarkFailed(
            f"of {counted.requests} requests {counted.refused} were refused and {counted.failed} "
            "failed: their speed says nothing"
        )
    return counted
