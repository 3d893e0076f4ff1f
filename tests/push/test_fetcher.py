"""Downloads are bounded, and go nowhere but where they were sent."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from eventdemo.aws.push.envelope import PushUndecided
from eventdemo.aws.push.fetcher import MAX_BYTES, Fetcher, PublicAddresses
from tests.push.authority import DAY, Certified
from tests.push.hosts import Host, client_context, listening, page
from tests.servers.ports import free_port

pytestmark = pytest.mark.anyio

TODAY = datetime.now(UTC)


@pytest.fixture(scope="module")
def root() -> Certified:
    return Certified.root()


def serving(root: Certified, name: str = "localhost") -> Certified:
    return root.leaf(name, not_before=TODAY - DAY, not_after=TODAY + DAY)


@pytest.fixture
async def host(root: Certified) -> AsyncIterator[Host]:
    async with listening(serving(root)) as host:
        yield host


@pytest.fixture
def fetcher(root: Certified) -> Fetcher:
    return Fetcher(tls=client_context(root))


async def nothing(fetcher: Fetcher, url: str, why: str) -> None:
    with pytest.raises(PushUndecided, match=why):
        await fetcher.get(url)


async def test_what_is_there_is_brought(host: Host, fetcher: Fetcher) -> None:
    body = b"x" * MAX_BYTES
    host.pages["/a.pem"] = page(body)
    assert await fetcher.get(f"https://localhost:{host.port}/a.pem") == body


async def test_the_query_is_sent_but_not_told(host: Host, fetcher: Fetcher) -> None:
    url = f"https://localhost:{host.port}/?Action=ConfirmSubscription&Token=secret"
    with pytest.raises(PushUndecided) as error:
        await fetcher.get(url)
    assert host.asked == ["/?Action=ConfirmSubscription&Token=secret"]
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_redirects_are_not_followed(host: Host, fetcher: Fetcher, status: str) -> None:
    target = f"https://localhost:{host.port}/inside"
    host.pages["/a.pem"] = page(b"", status, f"Location: {target}\r\n")
    host.pages["/inside"] = page(b"secret")
    await nothing(fetcher, f"https://localhost:{host.port}/a.pem", "status 30")
    assert host.asked == ["/a.pem"]


@pytest.mark.parametrize("status", ["204 None", "206 Part", "404 Not Found", "500 Broken"])
async def test_only_a_200_counts(host: Host, fetcher: Fetcher, status: str) -> None:
    host.pages["/a.pem"] = page(b"", status)
    await nothing(fetcher, f"https://localhost:{host.port}/a.pem", "status")


async def test_more_than_is_needed_is_not_read(host: Host, fetcher: Fetcher) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    host.pages["/a.pem"] = endless
    await nothing(fetcher, f"https://localhost:{host.port}/a.pem", "more than")


async def test_a_slow_answer_is_not_waited_for(host: Host, root: Certified) -> None:
    gone = asyncio.Event()

    async def dripping(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while not gone.is_set():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    host.pages["/a.pem"] = dripping
    fetcher = Fetcher(tls=client_context(root), timeout_s=0.1)
    await nothing(fetcher, f"https://localhost:{host.port}/a.pem", "Timeout")
    gone.set()


async def test_a_compressed_answer_is_not_blown_up(host: Host, fetcher: Fetcher) -> None:
    host.pages["/a.pem"] = page(b"\x1f\x8b0123", headers="Content-Encoding: gzip\r\n")
    assert await fetcher.get(f"https://localhost:{host.port}/a.pem") == b"\x1f\x8b0123"


async def test_no_proxy_of_the_environment_is_used(
    host: Host, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    host.pages["/a.pem"] = page(b"here")
    assert await fetcher.get(f"https://localhost:{host.port}/a.pem") == b"here"


async def test_who_answers_is_checked(root: Certified) -> None:
    """A name that leads elsewhere meets somebody without the host's certificate."""
    for other in (serving(root, "sns.example"), serving(Certified.root())):
        async with listening(other) as impostor:
            impostor.pages["/a.pem"] = page(b"forged")
            fetcher = Fetcher(tls=client_context(root))
            await nothing(fetcher, f"https://localhost:{impostor.port}/a.pem", "Certificate")
            assert impostor.asked == []


async def test_this_machines_trust_store_counts_if_nothing_else_is_said(host: Host) -> None:
    await nothing(Fetcher(), f"https://localhost:{host.port}/a.pem", "Certificate")


async def test_nobody_answers(fetcher: Fetcher) -> None:
    await nothing(fetcher, f"https://localhost:{free_port()}/a.pem", "gives nothing")


async def test_no_such_host(fetcher: Fetcher) -> None:
    await nothing(fetcher, "https://no-such-host.invalid/a.pem", "gives nothing")


class TestPlainHttp:
    async def test_a_name_that_leads_into_this_network_is_not_followed(self) -> None:
        async with listening(None) as inside:
            inside.pages["/a.cer"] = page(b"secret")
            fetcher = Fetcher(resolver=PublicAddresses())
            await nothing(fetcher, f"http://localhost:{inside.port}/a.cer", "no public address")
            assert inside.asked == []
            assert await Fetcher().get(f"http://localhost:{inside.port}/a.cer") == b"secret"

    @pytest.mark.parametrize(
        ("addresses", "public"),
        [
            (["127.0.0.1"], []),
            (["10.1.2.3", "192.168.1.1", "172.16.0.1", "100.64.0.1"], []),
            (["169.254.169.254"], []),
            (["::1", "fd00:ec2::254", "fe80::1"], []),
            (["::ffff:169.254.169.254"], []),
            (["0.0.0.0"], []),
            (["52.94.5.1", "10.0.0.1"], ["52.94.5.1"]),
        ],
    )
    async def test_only_addresses_of_the_internet_count(
        self, monkeypatch: pytest.MonkeyPatch, addresses: list[str], public: list[str]
    ) -> None:
        async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
            return [
                (
                    socket.AF_INET6 if ":" in address else socket.AF_INET,
                    socket.SOCK_STREAM,
                    6,
                    "",
                    (address, port, 0, 0) if ":" in address else (address, port),
                )
                for address in addresses
            ]

        resolver = PublicAddresses()
        monkeypatch.setattr(resolver._loop, "getaddrinfo", getaddrinfo)
        if public:
            found = await resolver.resolve("crt.r2m01.amazontrust.com", 80)
            assert [place["host"] for place in found] == public
        else:
            with pytest.raises(OSError, match="no public address"):
                await resolver.resolve("crt.r2m01.amazontrust.com", 80)
