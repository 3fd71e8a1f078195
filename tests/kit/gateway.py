"""What the gateway's tests share: a gateway on a fresh database and Redis, rows as the indexer writes them, wallets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
from solders.keypair import Keypair

from zmart.services.gateway.service import Gateway, open_gateway
from zmart.settings import Settings
from zmart.store.pool import Pool

OPERATOR = "operator-token-of-the-tests"
NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)
ADMIN = Keypair.from_seed(b"admin".ljust(32, b"."))

_CONFIG = """
INSERT INTO program_config (admin, backend_authority, protocol_fee_bps, resolver_reward_bps, liquidity_provider_fee_bps,
    proposal_approval_threshold, dispute_success_threshold, min_resolution_delay, dispute_period, is_paused,
    updated_slot)
VALUES ($1, $1, 300, 200, 500, 7000, 6000, 86400, 259200, false, 1)
"""
_MARKET = """
INSERT INTO markets (market_id, address, creator, state, b_parameter, initial_liquidity, current_liquidity, shares_yes,
    shares_no, price_yes_e9, total_volume, traders, created_at, activated_at, resolution_proposed_at, finalized_at,
    final_outcome, question_cid, created_slot, updated_slot, events_count)
VALUES ($1, $2, $3, $4, 1000000000, 700000000, 700000000, $5, $6, $7, $8, 1, $9, $10, $11, $12, $13, 'QmX', 1, 1, 1)
"""
_DOCUMENT = """
INSERT INTO market_documents (market_id, creator, question, description, category, tags, ends_at, cid, document)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'QmX', ''::bytea)
"""
_TRADE = """
INSERT INTO trades (signature, ordinal, market_id, wallet, side, outcome, shares, cost_lamports, protocol_fee_lamports,
    resolver_fee_lamports, lp_fee_lamports, price_yes_after_e9, slot, index_in_block, traded_at)
VALUES ($1, 0, $2, $3, $4, $5, $6, $7, 30, 20, 50, $8, $9, 0, $10)
"""
_POSITION = """
INSERT INTO positions (market_id, wallet, shares_yes, shares_no, total_invested, trades_count, cost_basis_yes,
    cost_basis_no, first_trade_at, last_trade_at, updated_slot)
VALUES ($1, $2, $3, $4, $5::numeric, 1, $5::numeric, 0, $6, $6, 1)
"""
_PROGRESS = """
INSERT INTO index_progress (program_id, genesis_hash, gap_free_through_slot, tip_slot) VALUES ($1, 'g', $2, $2)
"""


class Site:
    """A gateway and a client of it."""

    def __init__(self, gateway: Gateway, http: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.http = http

    @property
    def pool(self) -> Pool:
        return self.gateway.context.pool

    async def get(self, path: str, **options: object) -> httpx.Response:
        return await self.http.get(path, **options)  # type: ignore[arg-type]

    async def post(self, path: str, body: object = None, token: str = "") -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await self.http.post(path, json=body, headers=headers)

    async def sign_in(self, key: Keypair) -> str:
        """A session token."""
        asked = await self.post("/api/auth/nonce", {"wallet": str(key.pubkey())})
        signature = str(key.sign_message(asked.json()["message"].encode()))
        body = {"wallet": str(key.pubkey()), "message": asked.json()["message"], "signature": signature}
        answer = await self.post("/api/auth/verify", body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])


@asynccontextmanager
async def site(
    database_url: str, redis_url: str = "", *, with_rules: bool = True, **settings: object
) -> AsyncIterator[Site]:
    """A gateway, reached without a socket; `with_rules`: the database gets the program's rules and an indexed
    slot, which otherwise the indexer writes."""
    values: dict[str, object] = {
        "zmart_env": "local",
        "database_url": database_url,
        "redis_url": redis_url,
        "operator_token": OPERATOR,
        "auth_token_secret": "a secret of the tests",
    }
    gateway = await open_gateway(Settings(_env_file=None, **{**values, **settings}))
    if with_rules:
        await gateway.context.pool.execute(_CONFIG, str(ADMIN.pubkey()))
        await gateway.context.pool.execute(_PROGRESS, gateway.context.program.address, 777)
    transport = httpx.ASGITransport(app=gateway.asgi(), raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            yield Site(gateway, http)
    finally:
        await gateway.close()


def market_id(number: int) -> str:
    return f"{number:064x}"


def wallet(number: int) -> Keypair:
    return Keypair.from_seed(number.to_bytes(32, "big"))


def address(number: int) -> str:
    return str(wallet(number).pubkey())


async def add_market(
    pool: Pool,
    number: int,
    state: str = "ACTIVE",
    *,
    question: str = "Will it rain tomorrow?",
    category: str = "weather",
    tags: tuple[str, ...] = (),
    shares: tuple[int, int] = (0, 0),
    price_e9: int = 500_000_000,
    volume: int = 0,
    created_at: datetime = NOW,
    activated_at: datetime | None = NOW,
    proposed_at: datetime | None = None,
    finalized_at: datetime | None = None,
    final_outcome: bool | None = None,
    ends_at: datetime | None = None,
) -> str:
    key, creator = market_id(number), address(1)
    times = (created_at, activated_at, proposed_at, finalized_at)
    where = str(Keypair.from_seed(bytes.fromhex(key)).pubkey())
    await pool.execute(_DOCUMENT, key, creator, question, "About rain.", category, list(tags), ends_at)
    await pool.execute(_MARKET, key, where, creator, state, *shares, price_e9, volume, *times, final_outcome)
    return key


async def add_trade(
    pool: Pool,
    market: str,
    who: str,
    slot: int,
    *,
    side: str = "buy",
    outcome: bool = True,
    shares: int = 1000,
    cost: int = 600,
    price_e9: int = 510_000_000,
    at: datetime = NOW,
) -> str:
    signature = str(Keypair.from_seed(slot.to_bytes(32, "big")).sign_message(b"trade"))
    await pool.execute(_TRADE, signature, market, who, side, outcome, shares, cost, price_e9, slot, at)
    return signature


async def add_position(pool: Pool, market: str, who: str, yes: int, no: int, invested: int) -> None:
    await pool.execute(_POSITION, market, who, yes, no, invested, NOW)


def legacy_body(key: Keypair, at_ms: int | None = None, **fields: object) -> dict[str, object]:
    """A body as existing clients sign it."""
    message = f"Sign this message to authenticate with ZMART: {at_ms or int(time.time() * 1000)}"
    return {
        **fields,
        "message": message,
        "signature": str(key.sign_message(message.encode())),
        "wallet": str(key.pubkey()),
    }


def legacy_header(key: Keypair) -> str:
    message = f"Sign in to ZMART\nTimestamp: {int(time.time() * 1000)}"
    signature = key.sign_message(message.encode())
    return f"Signature message={quote(message)}&signature={signature}&wallet={key.pubkey()}"
