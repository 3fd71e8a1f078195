"""A gateway as a process with a port, on a database that holds a market of every state."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from kit import commands, rows
from kit.chain_life import CID, Driver
from kit.gateway import (
    ADMIN,
    NOW,
    OPERATOR,
    add_market,
    add_position,
    add_trade,
)
from kit.waiting import wait_for
from kit.wallets import address, address_of, wallet
from zmart.chain.rpc import Rpc
from zmart.local.processes import free_port
from zmart.local.readiness import fetch_report
from zmart.settings import Settings
from zmart.store.pool import Pool

HERE = Path(__file__).parent
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CREATED = (
    '{"event": "MarketCreated", "market_id": "%s", "creator": "%s", "timestamp": 1768478400, '
    '"b_parameter": 1000000000, "initial_liquidity": 700000000}'
)
STATES = ("PROPOSED", "APPROVED", "ACTIVE", "RESOLVING", "DISPUTED", "FINALIZED", "CANCELLED")


_KEEP_REPORTS = """
CREATE FUNCTION keep_report() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep_reports BEFORE UPDATE ON service_status
FOR EACH ROW WHEN (OLD.instance = 'h:1') EXECUTE FUNCTION keep_report();
"""
"""The reports of services that do not run here stay recent, although the gateway brings back those of the future."""


async def fill(database_url: str) -> None:
    """Fill a database with a market of every state, each with trades, holders, a vote and a comment."""
    pool = await Pool.open(database_url, size=2)
    try:
        await rows.add_config(pool, address_of(ADMIN))
        await rows.index_through(pool, Settings(_env_file=None).solana_program_id_core, 777, tip=777)
        await pool.execute(_KEEP_REPORTS)
        for service in ("indexer", "aggregator", "monitor", "websocket", "snapshots"):
            await pool.execute(
                "INSERT INTO service_status (service, instance, ready, seen_at) "
                "VALUES ($1, 'h:1', true, now() + interval '1 day')", service,
            )  # fmt: skip
        for number, state in enumerate(STATES, 1):
            proposed = NOW if state in ("RESOLVING", "DISPUTED", "FINALIZED") else None
            ended = NOW + timedelta(hours=1) if state == "FINALIZED" else None
            key = await add_market(
                pool, number, state, category="sports" if number % 2 else "crypto", tags=("cup",), proposed_at=proposed,
                finalized_at=ended, final_outcome=True if ended else None, shares=(5 * 10**9, 10**9),
                price_e9=600_000_000, ends_at=NOW + timedelta(days=3000),
            )  # fmt: skip
            for slot in range(3):
                await add_trade(
                    pool, key, address(2 + slot), 10 * number + slot, at=NOW + timedelta(minutes=slot)
                )
                await add_position(pool, key, address(2 + slot), 10**9, slot, 6 * 10**8)
            await add_trade(
                pool, key, address(2), 1000 + number, at=datetime.now(UTC) - timedelta(minutes=number)
            )
            await pool.execute(
                "INSERT INTO ipfs_anchors (kind, market_id, snapshot_day, cid, size_bytes, comments_count, provider, "
                "pinned_at) VALUES ('snapshot', $1, '2026-01-15', $2, 9, 1, 'local', now())", key, CID,
            )  # fmt: skip
            await pool.execute(
                "INSERT INTO chain_events (signature, ordinal, slot, name, market_id, event) VALUES ($1, 0, 1, "
                "'MarketCreated', $2, $3)", f"s{number}", key, CREATED % (key, address(1)),
            )  # fmt: skip
            await pool.execute(
                "INSERT INTO chain_transactions (signature, slot, failed, event_count) VALUES ($1, 1, false, 1)",
                f"s{number}",
            )
            await pool.execute(
                "INSERT INTO discussions (market_id, wallet, content) VALUES ($1, $2, 'It froze in 1963.')",
                key, address(2),
            )  # fmt: skip
            await pool.execute(
                "INSERT INTO onchain_votes (market_id, kind, wallet, choice, signature, slot, voted_at) "
                "VALUES ($1, 'proposal', $2, 'for', 's', 5, now())", key, address(2),
            )  # fmt: skip
    finally:
        await pool.close()


@contextmanager
def server(database_url: str, redis_url: str, port: int | None = None, **environment: str) -> Iterator[str]:
    """Run `zmart run gateway` on `port` (by default a free one) within the block; yield its URL once it is ready."""
    port = port or free_port()
    env = commands.environment(
        database_url=database_url,
        redis_url=redis_url,
        api_port=port,
        operator_token=OPERATOR,
        auth_token_secret="a secret of the tests, of 32 characters",
        log_level="warning",
        votes_require_statement=False,
        **{f"rate_limit_{name}": 1_000_000 for name in ("reads", "writes", "votes", "comments", "nonce")},
    )
    process = subprocess.Popen([*commands.ZMART, "run", "gateway"], env=env | environment)
    try:
        _wait(f"http://127.0.0.1:{port}/ready", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(15)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, "the gateway ended"
        return fetch_report(url).ready

    wait_for(is_ready, 90, every_s=0.05)


def session(url: str, number: int) -> str:
    """Sign in with the test wallet of this number; return the session token."""
    key = wallet(number)
    requested = httpx.post(f"{url}/api/auth/nonce", json={"wallet": address(number)}).json()
    signature = str(key.sign_message(requested["message"].encode()))
    body = {"wallet": address(number), "message": requested["message"], "signature": signature}
    return str(httpx.post(f"{url}/api/auth/verify", json=body).json()["token"])


async def market_on_chain(chain, database_url: str) -> str:
    """Create an ACTIVE market on chain and in the database, so that transactions can be built; return its id."""
    async with Rpc([chain.rpc_url]) as rpc:
        driver = Driver(chain, rpc)
        result: str = await driver.open(await driver.wallet(), await driver.wallet())
    pool = await Pool.open(database_url, size=1)
    await add_market(pool, int(result, 16), "ACTIVE")
    await pool.close()
    return result


@contextmanager
def whole_server(chain, database_url: str, redis_url: str) -> Iterator[tuple[str, str]]:
    """Run a gateway with a filled database, Redis and a chain; yield its base URL and the id of a market on chain."""
    asyncio.run(fill(database_url))
    market = asyncio.run(market_on_chain(chain, database_url))
    backend = {"BACKEND_KEYPAIR_PATH": str(chain.keys.path("backend"))}
    with server(database_url, redis_url, SOLANA_RPC_URL=chain.rpc_url, **backend) as url:
        yield url, market


def hold_against(url: str, market: str, folder: Path, *options: str) -> None:
    """Run schemathesis with the description that the gateway serves; AssertionError with its output on a failure."""
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "kit.schemathesis_hooks",
        "PYTHONPATH": str(HERE.parent),
        "NO_COLOR": "1",
    }
    command = [
        str(SCHEMATHESIS), "--config-file", str(HERE / "schemathesis.toml"), "run", f"{url}/api/openapi.json",
        "--header", f"Authorization: Bearer {session(url, 1)}", "--workers", "1", "--warnings", "off",
        "--continue-on-failure", *options,
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
