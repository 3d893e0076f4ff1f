"""The session cache on Redis when Redis is restarted, full, locked, misnamed or not there."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from eventdemo.codec import encode_text
from eventdemo.engines.redis import session_cache
from eventdemo.engines.redis.session_cache import CHANNEL, KEEP_S, PREFIX, RedisSessionCache
from eventdemo.errors import (
    EventdemoError,
    Misconfigured,
    StorageBusy,
    StorageDenied,
    StorageError,
    StorageForeign,
    StorageFull,
    StorageReadOnly,
    StorageUnreachable,
)
from tests.conformance.samples import PATIENCE_S, confirmed
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def cache(server: RedisServer) -> AsyncIterator[RedisSessionCache]:
    cache = await RedisSessionCache.open(server.url)
    yield cache
    await cache.close()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        yield redis


async def subscribed(redis: Redis) -> None:
    """Returns when somebody hears the channel."""
    while (await redis.pubsub_numsub(CHANNEL))[0][1] == 0:  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.005)


class TestKeeping:
    async def test_outcomes_expire(self, cache: RedisSessionCache, redis: Redis) -> None:
        await cache.put([confirmed("r1")])
        assert KEEP_S - 60 < await redis.ttl(f"{PREFIX}r1") <= KEEP_S

    async def test_the_first_event_pool_has_it(self, cache: RedisSessionCache) -> None:
        await cache.claim("one", only_check=True)  # by who only looks it is not taken
        for pool_id in ("other", "other", ""):
            await cache.claim(pool_id)
        with pytest.raises(StorageForeign, match="of the event pool other, not of one"):
            await cache.claim("one")

    async def test_other_keys_are_left_alone(self, cache: RedisSessionCache, redis: Redis) -> None:
        await redis.set("r1", "someone else's")
        await redis.set("eventdemo:other", "someone else's")
        await cache.put([confirmed("r1")])
        assert [page async for page in cache.scan()] == [[confirmed("r1")]]
        assert await redis.get("r1") == "someone else's"

    async def test_what_cannot_be_read_is_not_there(
        self, cache: RedisSessionCache, redis: Redis
    ) -> None:
        await redis.set(f"{PREFIX}r1", "no outcome")
        await cache.put([confirmed("r2")])
        assert await cache.get("r1") is None
        assert [page async for page in cache.scan()] == [[confirmed("r2")]]

    async def test_many_are_listed_once_each(self, cache: RedisSessionCache) -> None:
        outcomes = [confirmed(f"r{number}") for number in range(3_000)]
        await cache.put(outcomes)
        pages = [page async for page in cache.scan()]
        assert len(pages) > 1
        assert sorted(o.request_id for page in pages for o in page) == sorted(
            o.request_id for o in outcomes
        )

    async def test_thousands_at_once_wait_for_each_other(self, cache: RedisSessionCache) -> None:
        outcomes = [confirmed(f"r{number}") for number in range(2_000)]
        await asyncio.gather(*(cache.put([outcome]) for outcome in outcomes))
        found = await asyncio.gather(*(cache.get(f"r{number}") for number in range(2_000)))
        assert found == outcomes


class TestWaiting:
    async def test_nonsense_on_the_channel_stops_nobody(
        self, cache: RedisSessionCache, redis: Redis
    ) -> None:
        waiting = asyncio.create_task(cache.wait("r1", PATIENCE_S))
        await subscribed(redis)
        await redis.publish(CHANNEL, "{")
        await redis.publish(CHANNEL, '{"a": 1}')
        await cache.put([confirmed("r1")])
        assert await waiting == confirmed("r1")

    async def test_an_outcome_that_was_not_announced_is_found(
        self, cache: RedisSessionCache, redis: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session_cache, "_LOOK_ANYWAY_S", 0.02)
        waiting = asyncio.create_task(cache.wait("r1", PATIENCE_S))
        await subscribed(redis)
        await redis.set(f"{PREFIX}r1", encode_text(confirmed("r1")))
        assert await waiting == confirmed("r1")

    async def test_all_who_wait_share_one_connection(
        self, cache: RedisSessionCache, redis: Redis
    ) -> None:
        waiting = [asyncio.create_task(cache.wait(f"r{n}", PATIENCE_S)) for n in range(50)]
        await subscribed(redis)
        assert await redis.pubsub_numsub(CHANNEL) == [(CHANNEL, 1)]
        await cache.put([confirmed(f"r{n}") for n in range(50)])
        assert await asyncio.gather(*waiting) == [confirmed(f"r{n}") for n in range(50)]

    async def test_closing_ends_the_connection_of_those_who_wait(
        self, server: RedisServer, redis: Redis
    ) -> None:
        cache = await RedisSessionCache.open(server.url)
        waiting = asyncio.create_task(cache.wait("r1", PATIENCE_S))
        await subscribed(redis)
        await cache.close()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await redis.pubsub_numsub(CHANNEL) == [(CHANNEL, 0)]


class TestRestart:
    async def test_who_waits_is_told_after_a_restart(
        self, server: RedisServer, cache: RedisSessionCache, redis: Redis
    ) -> None:
        waiting = asyncio.create_task(cache.wait("r1", PATIENCE_S))
        await subscribed(redis)
        server.kill()
        server.start()
        await cache.put([confirmed("r1")])
        assert await waiting == confirmed("r1")

    async def test_what_came_while_nobody_was_connected_is_told(
        self, server: RedisServer, cache: RedisSessionCache, redis: Redis
    ) -> None:
        """Written before the follower has found the restarted server."""
        waiting = asyncio.create_task(cache.wait("r1", PATIENCE_S))
        await subscribed(redis)
        server.kill()
        server.start()
        await redis.connection_pool.disconnect()
        await redis.set(f"{PREFIX}r1", encode_text(confirmed("r1")))
        assert await waiting == confirmed("r1")

    async def test_an_idle_connection_survives_a_restart(
        self, server: RedisServer, cache: RedisSessionCache
    ) -> None:
        await cache.put([confirmed("r1")])
        server.kill()
        server.start()
        assert await cache.get("r1") is None
        await cache.put([confirmed("r1", "AGAIN")])
        assert await cache.get("r1") == confirmed("r1", "AGAIN")

    async def test_while_it_is_down_callers_learn_so(
        self, server: RedisServer, cache: RedisSessionCache
    ) -> None:
        server.kill()
        try:
            for call in (cache.put([confirmed("r1")]), cache.get("r1"), cache.wait("r1", 1)):
                with pytest.raises(StorageError, match=r"check that it runs"):
                    await call
        finally:
            server.start()


class TestTrouble:
    async def test_nobody_listens(self) -> None:
        port = free_port()
        with pytest.raises(
            StorageUnreachable, match=rf"redis://127.0.0.1:{port}/0 gives no answer"
        ):
            await RedisSessionCache.open(f"redis://127.0.0.1:{port}")

    async def test_a_name_that_does_not_exist(self) -> None:
        with pytest.raises(StorageUnreachable, match=r"redis://no-such-host.invalid:6379/0"):
            await RedisSessionCache.open("redis://no-such-host.invalid")

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("redis://127.0.0.1:port/0", "the port of the Redis URL is no number"),
            ("redis://127.0.0.1/orders", "a Redis database has a number, not 'orders'"),
            ("redis://127.0.0.1/0?colour=red", "an option of redis://127.0.0.1:6379/0 cannot"),
            ("redis://127.0.0.1/0?socket_timeout=x", "an option of"),
        ],
    )
    async def test_a_url_that_cannot_be_right(self, url: str, said: str) -> None:
        with pytest.raises(Misconfigured, match=said):
            await RedisSessionCache.open(url)

    @pytest.mark.parametrize("login", ["", ":wrong-secret@", "nobody:wrong-secret@"])
    async def test_wrong_passwords_are_refused_and_never_shown(self, login: str) -> None:
        with RedisServer("--requirepass", "right-secret") as server:
            with pytest.raises(StorageDenied, match=r"refuses the login") as refused:
                await RedisSessionCache.open(f"redis://{login}127.0.0.1:{server.port}/0")
            assert "secret" not in str(refused.value)

    async def test_the_right_password_is_taken(self) -> None:
        with RedisServer("--requirepass", "right-secret") as server:
            cache = await RedisSessionCache.open(f"redis://:right-secret@127.0.0.1:{server.port}/0")
            await cache.put([confirmed("r1")])
            assert await cache.get("r1") == confirmed("r1")
            await cache.close()

    async def test_a_database_that_is_not_there(self, server: RedisServer) -> None:
        with pytest.raises(StorageError, match=r"refuses: .*out of range"):
            await RedisSessionCache.open(f"redis://127.0.0.1:{server.port}/99999")

    async def test_a_user_who_may_not_write(self, server: RedisServer, redis: Redis) -> None:
        await redis.acl_setuser(
            "reader", enabled=True, nopass=True, keys=["*"], commands=["+@read", "+ping"]
        )
        cache = await RedisSessionCache.open(f"redis://reader:x@127.0.0.1:{server.port}/0")
        with pytest.raises(StorageDenied, match=r"let the user read, write"):
            await cache.put([confirmed("r1")])
        await cache.close()

    async def test_no_memory_left(self, cache: RedisSessionCache, redis: Redis) -> None:
        await redis.config_set("maxmemory", "1")
        with pytest.raises(StorageFull, match=r"raise its maxmemory"):
            await cache.put([confirmed("r1")])
        await redis.config_set("maxmemory", "0")
        await cache.put([confirmed("r1")])

    async def test_a_read_only_replica(self, cache: RedisSessionCache, redis: Redis) -> None:
        await redis.replicaof("127.0.0.1", str(free_port()))
        with pytest.raises(StorageReadOnly, match=r"name its primary"):
            await cache.put([confirmed("r1")])

    async def test_a_node_of_a_cluster(self) -> None:
        cluster = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        with RedisServer(*cluster) as server:
            cache = await RedisSessionCache.open(server.url)
            with pytest.raises(StorageError, match=r"use a Redis without cluster mode"):
                await cache.put([confirmed("r1")])
            await cache.close()

    @pytest.mark.parametrize(
        ("raised", "kind"),
        [
            ("LOADING Redis is loading the dataset in memory", StorageBusy),
            ("MISCONF Redis is configured to save RDB snapshots", StorageReadOnly),
            ("ERR something else", StorageError),
        ],
    )
    async def test_what_a_server_says_now_and_then(
        self, raised: str, kind: type[EventdemoError]
    ) -> None:
        """Of a server that answers everything with one error."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(4_096):
                writer.write(f"-{raised}\r\n".encode())
            writer.close()

        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(kind) as error:
            await RedisSessionCache.open(f"redis://127.0.0.1:{port}/0")
        assert type(error.value) is kind
        listener.close()
        await listener.wait_closed()
