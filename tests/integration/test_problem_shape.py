"""Tests of the services' ports: errors of one shape, a slash at the end of a path, and compressed bodies."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import httpx
import msgspec
import pytest
from pydantic import SecretStr

from kit.gateway import OPERATOR, site
from kit.indexer import settings_of
from kit.raw_client import connected, listening
from zmart.ops.probes import Probes
from zmart.services.aggregator.api import StatsApi
from zmart.services.connection_bounds import ConnectionBounds
from zmart.services.contract import AsgiApp, ProbeMiddleware, Readiness, no_probes, nothing_here
from zmart.services.indexer.routes import webhook_app
from zmart.services.snapshots.api import RunApi
from zmart.services.snapshots.runs import SnapshotRuns
from zmart.services.webhook import WebhookReceiver
from zmart.store.pool import Pool

SECRET = "a secret that Helius echoes"
FIELDS = {"error", "message", "status", "timestamp", "path", "request_id"}


class Hosted:
    """A service that hosts `app` as its ASGI application."""

    name = "hosted"

    def __init__(self, app: AsgiApp | None) -> None:
        self._app = app

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()

    async def readiness(self) -> Readiness:
        return Readiness(ready=True)

    def health(self) -> Mapping[str, object]:
        return {}

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp | None:
        return probes(self._app)


@asynccontextmanager
async def client_of(app: AsgiApp | None) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the port of a service with the application `app`."""
    transport = httpx.ASGITransport(app=Probes(Hosted(app)))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
        yield http


def applications(pool: Pool, database_url: str) -> dict[str, AsgiApp | None]:
    settings = settings_of(database_url, "http://unused", helius_webhook_secret=SecretStr(SECRET))
    return {
        "indexer": webhook_app(WebhookReceiver(pool, settings)),
        "aggregator": StatsApi(pool),
        "monitor": None,
        "snapshots": RunApi(cast("SnapshotRuns", None), OPERATOR),
    }


HELIUS, OPERATORS = {"authorization": SECRET}, {"authorization": f"Bearer {OPERATOR}"}
GZIP = {"content-encoding": "gzip", "content-type": "application/json"}
REFUSED = [
    *((name, "GET", "/nope", {}, b"", 404) for name in ("indexer", "aggregator", "monitor", "snapshots")),
    ("monitor", "POST", "/health", {}, b"", 405),
    ("aggregator", "POST", "/api/stats", {}, b"", 405),
    ("indexer", "GET", "/api/webhooks/helius", HELIUS, b"", 405),
    ("indexer", "POST", "/api/webhooks/helius", {}, b"[]", 401),
    ("indexer", "POST", "/api/webhooks/helius", HELIUS, b"{", 400),
    ("indexer", "POST", "/api/webhooks/helius", HELIUS | GZIP, gzip.compress(b"[]", mtime=0), 415),
    ("indexer", "POST", "/api/webhooks/helius/", HELIUS | {"content-length": "99999999"}, b"[]", 413),
    ("snapshots", "GET", "/api/snapshots/run", OPERATORS, b"", 405),
    ("snapshots", "POST", "/api/snapshots/run", {}, b"{}", 401),
    ("snapshots", "POST", "/api/snapshots/run", OPERATORS, b"{", 400),
    ("snapshots", "POST", "/api/snapshots/run/", OPERATORS, b'{"market_id":7,"more":1}', 400),
    ("snapshots", "POST", "/api/snapshots/run", OPERATORS | GZIP, gzip.compress(b"{}", mtime=0), 415),
    ("snapshots", "POST", "/api/snapshots/run", OPERATORS, b" " * 5000, 413),
]  # fmt: skip


def check_shape(answer: httpx.Response, status: int, path: str) -> None:
    """Assert that an answer is an error of the shape that docs/api.md describes."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert FIELDS <= body.keys() <= FIELDS | {"details"}
    assert (body["status"], body["path"]) == (status, path)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    assert body["error"][0].isupper()
    assert body["message"].endswith(".") or status == 400
    assert ("allow" in answer.headers) is (status == 405)


@pytest.mark.parametrize(("name", "method", "path", "headers", "body", "status"), REFUSED)
async def test_every_port_refuses_in_one_shape(
    pool: Pool,
    database_url: str,
    name: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
) -> None:
    """U14: every port refuses wrong requests with errors of one shape."""
    async with client_of(applications(pool, database_url)[name]) as http:
        check_shape(await http.request(method, path, headers=headers, content=body), status, path)
        own = await http.request(method, path, headers=headers | {"x-request-id": "mine.1"}, content=body)
        assert own.json()["request_id"] == "mine.1"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /x?y HTTP/1.1\r\nNo colon\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["nonsense", "a header without a colon", "TLS"],
)
async def test_what_is_no_http_is_refused_in_the_same_shape(request_bytes: bytes) -> None:
    """U14: bytes that are no HTTP are refused with an error of the same shape, and the connection ends."""
    async with listening(nothing_here, ConnectionBounds()) as port, connected(port) as client:
        client.writer.write(request_bytes)
        status, headers, body = await client.answer()
        problem = msgspec.json.decode(body, type=dict[str, object])
        assert (status, problem["status"], problem.keys()) == (400, 400, FIELDS)
        assert (headers["x-request-id"], headers["connection"]) == (problem["request_id"], "close")
        assert await client.is_closed()


async def test_an_operator_is_told_the_wrong_fields_of_a_run(pool: Pool, database_url: str) -> None:
    """U9, U14: the answer to a snapshot run with wrong fields names each of them."""
    async with client_of(applications(pool, database_url)["snapshots"]) as http:
        sent = {"market_id": 7, "more": 1}
        answer = await http.post("/api/snapshots/run", json=sent, headers=OPERATORS)
        assert answer.json()["details"] == [
            {"field": "more", "message": "more is not a field of this body."},
            {"field": "market_id", "message": "market_id must be a string or null, not an integer."},
        ]


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [("/" + "p" * 9_000, "", 414), ("/", "X-A: b\r\n" * 101, 431), ("/?" + "a&" * 101, "", 400)],
    ids=[414, 431, 400],
)
async def test_a_head_above_its_bounds_is_refused_in_the_same_shape(
    path: str, lines: str, status: int
) -> None:
    """U14: a head above its bounds, which no application sees, is refused with an error of the same shape."""
    async with listening(nothing_here, ConnectionBounds()) as port, connected(port) as client:
        client.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        answered, headers, body = await client.answer()
        problem = msgspec.json.decode(body, type=dict[str, object])
        assert (answered, problem["status"], problem.keys()) == (status, status, FIELDS)
        assert problem["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_a_slash_at_the_end_of_a_probe_is_forgiven(
    pool: Pool, database_url: str, redis_url: str, path: str
) -> None:
    """The probes of every port accept a slash at the end of their path, as the gateway's routes do."""
    for name, app in applications(pool, database_url).items():
        async with client_of(app) as http:
            for method in ("GET", "HEAD"):
                assert (await http.request(method, path + "/")).status_code == 200, name
    async with site(database_url, redis_url) as here:
        app = Probes(here.gateway)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            assert (await http.get(path + "/")).status_code == 200


async def test_a_slash_at_the_end_of_the_webhook_is_forgiven(
    pool: Pool, database_url: str, redis_url: str
) -> None:
    async with client_of(applications(pool, database_url)["indexer"]) as http:
        for path in ("/api/webhooks/helius", "/api/webhooks/helius/"):
            assert (await http.post(path, content=b"[]", headers=HELIUS)).status_code == 200, path
    async with client_of(applications(pool, database_url)["aggregator"]) as http:
        assert (await http.get("/api/stats/")).status_code == 200
    async with site(database_url, redis_url) as here:
        for path in ("/api/webhooks/helius", "/api/webhooks/helius/"):
            assert (await here.http.post(path, content=b"[]")).status_code == 200, path


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate, gzip"])
async def test_a_compressed_body_is_415(database_url: str, encoding: str) -> None:
    """A compressed body is 415, also at the webhook on the gateway's port."""
    async with site(database_url, helius_webhook_secret=SecretStr(SECRET)) as here:
        headers = {"content-encoding": encoding, "content-type": "application/json", **HELIUS}
        for path in ("/api/auth/nonce", "/api/trades/buy", "/api/webhooks/helius"):
            answer = await here.http.post(path, content=gzip.compress(b"{}", mtime=0), headers=headers)
            check_shape(answer, 415, path)
            assert "Content-Encoding" in answer.json()["message"]
        plain = headers | {"content-encoding": "identity"}
        assert (await here.http.post("/api/auth/nonce", content=b"{}", headers=plain)).status_code == 400
