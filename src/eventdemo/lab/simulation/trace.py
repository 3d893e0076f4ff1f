"""What happened in a run, line by line."""

import asyncio
from hashlib import blake2b


class Trace:
    """Lines with the simulated time and who did it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, who: str, what: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self.lines.append(f"{now_s:11.6f} s  {who:<12}  {what}")

    @property
    def digest(self) -> str:
        """Two runs went the same way if these are equal."""
        return blake2b("\n".join(self.lines).encode(), digest_size=8).hexdigest()
