"""Opens the session cache on Redis, the one part that it holds."""

from contextlib import AsyncExitStack

from eventdemo.engines.redis.session_cache import RedisSessionCache
from eventdemo.engines.registry import FactoryOptions
from eventdemo.ports import SessionCache


class RedisFactory:
    """Connects to the servers that URLs name, and closes the connections together."""

    def __init__(self, options: FactoryOptions) -> None:
        self._opened = AsyncExitStack()
        self._read_only = options.read_only

    async def session_cache(self, url: str, pool_id: str) -> SessionCache:
        cache = await RedisSessionCache.open(url)
        self._opened.push_async_callback(cache.close)
        await cache.claim(pool_id, only_check=self._read_only)
        return cache

    async def close(self) -> None:
        await self._opened.aclose()
