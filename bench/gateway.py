"""Reads of the gateway beside Express 4 + pg with the same statements, and beside a bare ASGI answer of the same bytes.

One gateway process, generated data, wrk. All servers run at once and are loaded in turn, so that whatever else the
machine does meets all of them; the figures are medians over the rounds.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import machine
import market_data
import peers
import psutil
import report
import wrk

from zmart.errors import ZmartError
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
from zmart.store import candles, markets, migrate, trades

Progress = Callable[[str], None]
POOL_SIZE = 8
IDLE = 1_000
TITLES = {
    "markets": "GET /api/markets (20 rows)",
    "market": "GET /api/markets/:id",
    "trades": "GET /api/markets/:id/trades (50 rows)",
    "candles": "GET /api/markets/:id/candles (200)",
}
MARKETS, PAGES = 500, 20
DATABASE_GOAL, CACHE_GOAL, P99_GOAL = 2.0, 2.5, 2.0
STATEMENTS = {
    "page": markets._listed(
        f"SELECT {markets._COLUMNS}", markets.Filters(), markets.Sort.NEWEST, markets.Page(limit=0)
    )[0],
    "one": markets._ONE,
    "exists": markets._EXISTS,
    "trades": trades._OF_MARKET,
    "candles": candles._OF_ID,
}
TERMS = {
    "voting_s": 72 * 3600, "window_s": 259_200 + 60, "dispute_period_s": 259_200, "approval_bps": 7000,
    "dispute_bps": 6000, "pricing_model": "reference",
}  # fmt: skip


class Servers:
    """Ports of the contenders, and what is asked of them: the same addresses in the same order."""

    def __init__(self, market_ids: list[str]) -> None:
        self.fresh, self.cached, self.express, self.bare = (free_port() for _ in range(4))
        pages = [f"/api/markets?limit=20&offset={20 * page}" for page in range(PAGES)]
        ones = [f"/api/markets/{market_id}" for market_id in market_ids]
        self.paths = {
            "markets": pages,
            "market": ones,
            "trades": [f"{one}/trades" for one in ones],
            "candles": [f"{one}/candles" for one in ones],
        }

    def contenders(self, name: str, *, cached: bool) -> dict[str, tuple[str, list[str]]]:
        """Base address and paths by who answers."""
        paths = self.paths[name]
        at_peer = [f"/cached{path}" for path in paths] if cached else paths
        return {
            "ours": (f"http://127.0.0.1:{self.cached if cached else self.fresh}", paths),
            "peer": (f"http://127.0.0.1:{self.express}", at_peer),
            "bare": (f"http://127.0.0.1:{self.bare}", [f"/{name}"]),
        }

    def first(self, name: str, who: str) -> str:
        base, paths = self.contenders(name, cached=False)[who]
        return base + paths[0]


def measure(quick: bool, progress: Progress) -> report.Report:
    """Raises ZmartError with one sentence when something is missing."""
    wrk.find()
    peers.installed("express")
    size = market_data.QUICK if quick else market_data.FULL
    told = report.Report("The gateway, one process", "Express 4 + pg")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zmart-bench-")))
        postgres, valkey = stack.enter_context(_stores(folder))
        progress(f"filling {size.markets:,} markets and {size.trades:,} trades")
        migrate.upgrade(postgres.url())
        servers = Servers(asyncio.run(market_data.fill(postgres.url(), size, MARKETS)))
        fresh = stack.enter_context(_gateway(servers.fresh, postgres, valkey, folder, cache_bytes=0))
        stack.enter_context(_gateway(servers.cached, postgres, valkey, folder, cache_bytes=64 << 20))
        stack.enter_context(_express(servers, postgres, size, folder))
        _same_answers(servers, told)
        stack.enter_context(_bare(servers, folder))
        for cached in (False, True):
            for name in servers.paths:
                _compare(told, servers, name, cached, folder, quick, progress)
        progress(f"{IDLE:,} idle connections")
        told.under(f"{IDLE:,} idle keep-alive connections", _idle_mb(fresh, servers.fresh), 60, "MB")
    told.notes.append(
        f"{wrk.CONNECTIONS} connections of wrk; database pools of {POOL_SIZE}; bare: the same bytes by uvicorn alone"
    )
    told.notes.append(
        "database: the gateway's memory of answers is off; cached: on, checked against the feed's head"
    )
    return told


def _compare(
    told: report.Report,
    servers: Servers,
    name: str,
    cached: bool,
    folder: Path,
    quick: bool,
    progress: Progress,
) -> None:
    where = "cached" if cached else "database"
    progress(f"{TITLES[name]}, {where}")
    rounds, seconds = (3, 1) if quick else (5, 3)
    asked = {}
    for who, (base, paths) in servers.contenders(name, cached=cached).items():
        listed = folder / f"{who}.paths"
        listed.write_text("\n".join(paths) + "\n", "utf-8")
        asked[who] = base, listed
        wrk.run(base, listed, seconds)
    loads: dict[str, list[wrk.Load]] = {who: [] for who in asked}
    for _ in range(rounds):
        for who, (base, listed) in asked.items():
            loads[who].append(wrk.run(base, listed, seconds))
    ours, peer, bare = (wrk.middle(loads[who]) for who in ("ours", "peer", "bare"))
    goal = CACHE_GOAL if cached else DATABASE_GOAL
    told.faster(f"{TITLES[name]}, {where}", ours.per_second, peer.per_second, "/s", goal)
    told.smaller(f"{TITLES[name]}, {where}: p99", ours.p99_ms, peer.p99_ms, "ms", P99_GOAL)
    if cached:
        told.faster("  bare ASGI answer of the same bytes", bare.per_second, peer.per_second, "/s")


@contextmanager
def _stores(folder: Path) -> Iterator[tuple[Postgres, Valkey]]:
    postgres = Postgres(folder / "postgres", free_port())
    valkey = Valkey(folder / "valkey", free_port())
    try:
        postgres.start()
        valkey.start()
        yield postgres, valkey
    finally:
        valkey.stop()
        postgres.stop()
        postgres.erase()


@contextmanager
def _gateway(
    port: int, postgres: Postgres, valkey: Valkey, folder: Path, *, cache_bytes: int
) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "ZMART_ENV": "local",
        "DATABASE_URL": postgres.url(),
        "DATABASE_POOL_SIZE": str(POOL_SIZE),
        "REDIS_URL": valkey.url(),
        "API_PORT": str(port),
        "RATE_LIMIT_READS": "1000000000",
        "ANSWER_CACHE_BYTES": str(cache_bytes),
    }
    command = [machine.fast_python(), "-m", "zmart.cli", "run", "gateway"]
    with _child(command, settings, folder / f"gateway-{port}.log") as process:
        _until_answers(f"http://127.0.0.1:{port}/ready")
        yield process


@contextmanager
def _express(servers: Servers, postgres: Postgres, size: market_data.Size, folder: Path) -> Iterator[None]:
    environment = {
        **os.environ,
        "PORT": str(servers.express),
        "DATABASE_URL": postgres.url(),
        "POOL_SIZE": str(POOL_SIZE),
        "STATEMENTS": json.dumps(STATEMENTS),
        "TERMS": json.dumps({**TERMS, "markets": size.markets}),
    }
    process = peers.start("express", environment, folder / "express.log")
    try:
        _until_answers(servers.first("markets", "peer"))
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _bare(servers: Servers, folder: Path) -> Iterator[None]:
    bodies = folder / "bodies"
    bodies.mkdir()
    for name in servers.paths:
        (bodies / name).write_bytes(_get(servers.first(name, "ours")))
    command = [
        machine.fast_python(),
        str(Path(__file__).with_name("bare.py")),
        str(servers.bare),
        str(bodies),
    ]
    with _child(command, {}, folder / "bare.log"):
        _until_answers(servers.first("markets", "bare"))
        yield


@contextmanager
def _child(command: list[object], settings: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(machine.CHECKOUT / "src"), **settings}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=log.parent, env=environment, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def _until_answers(url: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            _get(url)
            return
        except OSError as problem:
            if time.monotonic() > deadline:
                raise ZmartError(f"{url} does not answer: {problem}") from problem
            time.sleep(0.05)


def _same_answers(servers: Servers, told: report.Report) -> None:
    """Both must say the same, or the comparison means nothing. Cursors are opaque and may differ."""
    for name in servers.paths:
        ours, theirs = (json.loads(_get(servers.first(name, who))) for who in ("ours", "peer"))
        different = {key for key in {*ours, *theirs} - {"next_cursor"} if ours.get(key) != theirs.get(key)}
        if different:
            told.notes.append(f"{name}: the answers differ in {', '.join(sorted(different))}")


def _idle_mb(process: subprocess.Popen[bytes], port: int) -> float:
    """What a thousand connections that have asked once and then stay cost the process."""
    request = b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n"
    before = psutil.Process(process.pid).memory_info().rss
    held = []
    try:
        for _ in range(IDLE):
            client = socket.create_connection(("127.0.0.1", port), timeout=5)
            client.sendall(request)
            client.recv(65_536)
            held.append(client)
        return (psutil.Process(process.pid).memory_info().rss - before) / 1e6
    finally:
        for client in held:
            client.close()


if __name__ == "__main__":
    report.main(measure)
