"""The compared servers as processes: the gateway with and without a cache, Express, Fastify, and bare ASGI."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import peers
from checkout import Checkout
from comparison import BARE, EXPRESS, FASTIFY, GATEWAY

from zmart.errors import ZmartError
from zmart.local.processes import free_port

POOL_SIZE = 8
CACHE_BYTES = 64 << 20
_CACHED_PREFIX = "/cached"
_TERMS = {
    "voting_s": 72 * 3600, "window_s": 259_200 + 60, "dispute_period_s": 259_200, "approval_bps": 7000,
    "dispute_bps": 6000, "pricing_model": "reference",
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A server under comparison: its name, its base URL, and a prefix of every path."""

    name: str
    base: str
    prefix: str = ""

    def url(self, path: str) -> str:
        return f"{self.base}{self.prefix}{path}"


@dataclass(frozen=True)
class Stores:
    """The URLs of the PostgreSQL and the Redis that all servers share."""

    database_url: str
    redis_url: str


class Servers:
    """The ports of all servers; `subjects()` lists those of one comparison."""

    def __init__(self) -> None:
        self.fresh, self.cached, self.express, self.fastify, self.bare = (free_port() for _ in range(5))

    def subjects(self, *, cached: bool) -> list[Subject]:
        prefix = _CACHED_PREFIX if cached else ""
        return [
            Subject(GATEWAY, _base(self.cached if cached else self.fresh)),
            Subject(EXPRESS, _base(self.express), prefix),
            Subject(FASTIFY, _base(self.fastify), prefix),
            Subject(BARE, _base(self.bare)),
        ]


@contextmanager
def gateway(
    measured: Checkout, port: int, stores: Stores, folder: Path, cache_bytes: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one gateway process of the measured checkout within the block; `cache_bytes` 0 switches its cache off."""
    settings = {
        "ZMART_ENV": "local",
        "DATABASE_URL": stores.database_url,
        "DATABASE_POOL_SIZE": str(POOL_SIZE),
        "REDIS_URL": stores.redis_url,
        "API_PORT": str(port),
        "RATE_LIMIT_READS": "1000000000",
        measured.cache_setting: str(cache_bytes),
    }
    log = folder / f"gateway-{port}.log"
    with child(measured.command("run", "gateway"), {**measured.environment, **settings}, log) as process:
        until_answers(f"{_base(port)}/ready", process, log)
        yield process


@contextmanager
def peer(
    name: str,
    port: int,
    stores: Stores,
    statements: Mapping[str, str],
    terms: Mapping[str, object],
    folder: Path,
) -> Iterator[None]:
    """Run a Node.js server of `bench/peers` within the block, with the gateway's statements and terms (`terms_of`)."""
    environment = {
        **os.environ,
        "PORT": str(port),
        "DATABASE_URL": stores.database_url,
        "POOL_SIZE": str(POOL_SIZE),
        "STATEMENTS": json.dumps(statements),
        "TERMS": json.dumps(terms),
    }
    log = folder / f"{name}.log"
    process = peers.start(name, environment, log)
    try:
        until_answers(f"{_base(port)}/api/markets", process, log)
        yield
    finally:
        process.kill()
        process.wait()


def terms_of(ours: Subject, markets: int) -> dict[str, object]:
    """Return the values besides rows that answers depend on.

    When a disputed market is due, and who may vote, differs between commits, so both are read from the gateway.
    """
    listed = json.loads(get(ours.url("/api/markets?state=DISPUTED&limit=1")))["markets"][0]
    detail = json.loads(get(ours.url(f"/api/markets/{listed['id']}")))
    began = datetime.fromisoformat(detail["dispute_window"]["initiated_at"])
    due_s = (datetime.fromisoformat(listed["finalize_after"]) - began).total_seconds()
    voting = {name: detail[name] for name in ("vote_rules",) if name in detail}
    return {**_TERMS, **voting, "markets": markets, "disputed_due_s": due_s}


@contextmanager
def bare(measured: Checkout, port: int, bodies: Mapping[str, bytes], folder: Path) -> Iterator[None]:
    """Run bare.py within the block by the measured checkout's Python, with a body for each kind of path."""
    held = folder / "bodies"
    held.mkdir()
    for kind, body in bodies.items():
        (held / kind).write_bytes(body)
    script = Path(__file__).with_name("bare.py")
    command, log = [str(measured.python), str(script), str(port), str(held)], folder / "bare.log"
    with child(command, measured.environment, log) as process:
        until_answers(f"{_base(port)}/api/markets", process, log)
        yield


@contextmanager
def child(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=log.parent, env=dict(environment), stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def until_answers(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    """Wait until a URL is answered with 2xx.

    Raises ZmartError with the end of the log after `seconds`, or when the process ends.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            get(url)
            return
        except OSError as problem:
            if process.poll() is not None or time.monotonic() > deadline:
                printed = log.read_text("utf-8", errors="replace")[-600:]
                raise ZmartError(f"{url} does not answer ({problem}): {printed}") from problem
            time.sleep(0.05)


def _base(port: int) -> str:
    return f"http://127.0.0.1:{port}"
