"""Load from wrk: as many purchases as a fixed number of connections can have answered.

A closed loop: it sends less while a server is slow, so it tells a server's capacity, and nothing
about how long buyers wait. That is why others' figures stand beside ours, in a column of their own.
"""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from eventdemo.errors import EventdemoError

MISSING = "wrk is missing, which makes the load of a closed loop: apt-get install wrk"
CONNECTIONS = 64
#: How much longer than asked for wrk may run.
GRACE_S = 30.0

#: Requests are made once, so that choosing one costs the generator next to nothing.
_SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local names, requests = NAMES, {}
init = function(args)
  for n, name in ipairs(names) do
    requests[n] = wrk.format(nil, "/purchases", nil, '{"product_id":"' .. name .. '","quantity":1}')
  end
end
request = function() return requests[math.random(1, #requests)] end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests":%d,"refused":%d,"failed":%d,"us":%d,"p50_us":%d,"p99_us":%d}\\n',
    summary.requests, e.status, e.connect + e.read + e.write + e.timeout, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
"""


class WrkFailed(EventdemoError):
    """wrk is not there, or its figures say nothing."""


class WrkResult(Struct, frozen=True):
    """The counts of wrk. ``requests`` holds the ``refused``, whose status was not 2xx."""

    requests: int
    refused: int
    failed: int
    us: int
    p50_us: int
    p99_us: int


async def run_wrk(port: int, products: Sequence[str], seconds: float, folder: Path) -> WrkResult:
    """Buys products at random, each as often as the others. Raises ``WrkFailed``."""
    path = shutil.which("wrk")
    if path is None:
        raise WrkFailed(MISSING)
    script = folder / f"wrk-{port}.lua"
    names = "{" + ",".join(f'"{name}"' for name in products) + "}"
    script.write_text(_SCRIPT.replace("NAMES", names), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(path, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"),
        *("-s", str(script), f"http://127.0.0.1:{port}/purchases"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds + GRACE_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        script.unlink()
    _, found, result = output.decode(errors="replace").partition("RESULT ")
    if not found:
        raise WrkFailed(f"wrk failed: {' '.join(output.decode(errors='replace').split())}")
    return msgspec.json.decode(result.splitlines()[0], type=WrkResult)
