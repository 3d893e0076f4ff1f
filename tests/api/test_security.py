"""Who may do what: the operator's token, other sites' pages, and what answers give away."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from eventdemo.api.context import AppContext
from tests.api.conftest import Running, Start, assert_problem
from tests.api.wire import LAMP, exchange, post

TOKEN = "correct-horse-battery-staple"
OPERATOR_CALLS = (
    ("PUT", "/products/lamp", {"name": "Lamp", "price_cents": 1}),
    ("POST", "/products/lamp/stock", {"quantity": 1}),
    ("GET", "/dead-letters", None),
    ("POST", "/dead-letters/1/redrive", None),
)
CHANGES = (
    ("POST", "/purchases", {"product_id": "lamp"}),
    *(call for call in OPERATOR_CALLS if call[0] != "GET"),
)
each_operator_call = pytest.mark.parametrize(
    ("method", "path", "body"), OPERATOR_CALLS, ids=lambda value: str(value)[:20]
)
each_change = pytest.mark.parametrize(
    ("method", "path", "body"), CHANGES, ids=lambda value: str(value)[:20]
)


@pytest.fixture(scope="module")
def guarded(start: Start) -> Iterator[httpx.Client]:
    """A server with an operator token."""
    with start(services=(), projector=False, operator_token=TOKEN).client() as client:
        yield client


# --- the operator's token -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured(guarded: httpx.Client) -> list[tuple[str, str]]:
    """Every call of the API that is an operator's."""
    paths = guarded.get("/schema/openapi.json").json()["paths"]
    found = [
        (method.upper(), path.replace("{product_id}", "lamp").replace("{dead_letter_id}", "1"))
        for path, item in paths.items()
        for method, call in item.items()
        if call.get("security")
    ]
    assert {(method, path) for method, path, _ in OPERATOR_CALLS} <= set(found)
    return found


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xfftoken",
    ],
)
def test_an_operators_call_without_the_token_is_401(
    guarded: httpx.Client, secured: list[tuple[str, str]], authorization: str
) -> None:
    for method, path in secured:
        headers = {b"Authorization": authorization.encode("latin-1")}
        answer = guarded.request(method, path, headers=headers)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_every_call_that_changes_something_but_buying_is_an_operators(
    guarded: httpx.Client, secured: list[tuple[str, str]]
) -> None:
    paths = guarded.get("/schema/openapi.json").json()["paths"]
    changing = [
        path for path, item in paths.items() for method in item if method not in {"get", "head"}
    ]
    assert len(changing) == 1 + sum(method != "GET" for method, _ in secured)


@each_operator_call
def test_an_operators_call_with_the_token_is_heard(
    guarded: httpx.Client, method: str, path: str, body: Any
) -> None:
    headers = {"Authorization": f"bearer {TOKEN}"}
    answer = guarded.request(method, path, json=body, headers=headers)
    assert answer.status_code in {200, 201, 404}


def test_the_token_is_compared_in_constant_time(
    guarded: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append((given, expected))
        return False

    monkeypatch.setattr("hmac.compare_digest", compare)
    headers = {"Authorization": "Bearer guess"}
    assert guarded.get("/dead-letters", headers=headers).status_code == 401
    assert compared == [(b"guess", TOKEN.encode())]


@each_operator_call
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_without_a_token_a_proxy_is_not_the_operator(
    client: httpx.Client, method: str, path: str, body: Any, header: str
) -> None:
    answer = client.request(method, path, json=body, headers={header: "203.0.113.7"})
    assert_problem(answer, 401, "unauthorized")


# --- pages of other sites -------------------------------------------------------------------------

OTHER_SITES = (
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
)


@each_change
@pytest.mark.parametrize("headers", OTHER_SITES, ids=str)
def test_a_page_of_another_site_changes_nothing(
    client: httpx.Client, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    answer = client.request(method, path, json=body, headers=headers)
    assert_problem(answer, 403, "cross-origin")


@pytest.mark.parametrize("headers", OTHER_SITES, ids=str)
def test_it_changes_nothing_where_there_is_a_token_either(
    guarded: httpx.Client, headers: dict[str, str]
) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    answer = guarded.put(
        "/products/lamp", json={"name": "Lamp", "price_cents": 1}, headers=headers | bearer
    )
    assert_problem(answer, 403, "cross-origin")
    answer = guarded.post("/purchases", json={"product_id": "lamp"}, headers=headers)
    assert_problem(answer, 403, "cross-origin")


@pytest.mark.parametrize("headers", OTHER_SITES, ids=str)
def test_a_link_from_another_site_can_be_followed(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    assert client.get("/products", headers=headers).status_code == 200


def test_pages_of_this_address_and_programs_may_change_things(running: Running) -> None:
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": running.url},
        {"Sec-Fetch-Site": "none"},
        {"Origin": running.url},
        {},
    ):
        with running.client() as client:
            put = client.put(
                "/products/lamp", json={"name": "Lamp", "price_cents": 1}, headers=headers
            )
            assert put.status_code in {200, 201}
            buy = client.post("/purchases", json={"product_id": "lamp"}, headers=headers)
            assert buy.status_code == 202


# --- names that are resolved to this machine (DNS rebinding) --------------------------------------


@pytest.mark.parametrize("path", ["/", "/products", "/dead-letters", "/metrics", "/nope"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "127.0.0.1@evil.example",
        "[evil]",
        "[::1]evil",
        "",
        ":8000",
    ],
)
def test_without_a_token_another_name_is_not_answered(
    client: httpx.Client, path: str, host: str
) -> None:
    assert_problem(client.get(path, headers={"Host": host}), 421, "misdirected")


def test_without_a_token_another_name_buys_nothing(client: httpx.Client) -> None:
    answer = client.post("/purchases", content=LAMP, headers={"Host": "evil.example"})
    assert_problem(answer, 421, "misdirected")


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:8000", "shop.localhost", "127.0.0.1:80", "[::1]:8000", "[::1]"]
)
def test_this_machines_names_are_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/products", headers={"Host": host}).status_code == 200


def test_with_a_token_any_name_is_answered(guarded: httpx.Client) -> None:
    assert guarded.get("/flow", headers={"Host": "shop.example"}).status_code == 200


@pytest.mark.parametrize("path", ["/flow", "/purchases"])
@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: evil.example\r\n"])
def test_a_request_has_one_host(running: Running, path: str, hosts: bytes) -> None:
    method = b"POST" if path == "/purchases" else b"GET"
    head = b"%b %b HTTP/1.1\r\n%bContent-Length: 0\r\nConnection: close\r\n\r\n"
    (answer,) = exchange(running, head % (method, path.encode(), hosts))
    assert (answer.status, answer.problem) == (400, "malformed-request")


def test_a_client_of_http_1_0_needs_no_host(running: Running) -> None:
    (answer,) = exchange(running, b"GET /health/live HTTP/1.0\r\n\r\n")
    assert answer.status == 200


# --- what answers carry, and what they give away --------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/schema", "/schema/openapi.json", "/products", "/problems/invalid", "/metrics", "/nope"],
)
def test_every_answer_tells_browsers_to_be_careful(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if path == "/products" else "no-store")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert not {"server", "x-powered-by", "access-control-allow-origin"} & set(headers)


def test_a_purchase_and_what_is_no_http_are_answered_with_nosniff_too(running: Running) -> None:
    answers = [*exchange(running, post() + b"garbage\r\n\r\n"), *exchange(running, b"garbage\r\n")]
    assert [answer.status for answer in answers] == [202, 400]
    assert all(a.headers["x-content-type-options"] == "nosniff" for a in answers)


@pytest.mark.parametrize("path", ["/purchases", "/flow", "/products"])
def test_what_goes_wrong_inside_stays_inside(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/srv/secret.db of the inside")

    monkeypatch.setattr("eventdemo.http.requests.OriginCheck.check", fail)
    answer = client.post(path, json={"product_id": "x"})
    assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_the_guard_stands_without_its_neighbours(running: Running) -> None:
    """A server that was made to listen beyond loopback without a token has no operator."""
    settings = type(running.settings)(host="0.0.0.0")
    context = AppContext(settings, running.engine, running.read_models)
    with pytest.raises(Exception, match="has no operator token"):
        context.authorize({})
