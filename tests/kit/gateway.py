"""Helpers of the gateway's tests: a gateway without a socket, rows as the indexer writes them, signed bodies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
from solders.keypair import Keypair

from kit import rows
from kit.described import only_described_statuses
from kit.wallets import address, address_of, market_id, wallet
from zmart.market.fold_state import PositionFold
from zmart.market.types import MarketId, Side, VoteKind, Wallet
from zmart.market.votes import Statement
from zmart.services.gateway.http.time_limit import TimeLimits
from zmart.services.gateway.service import Gateway, open_gateway
from zmart.settings import Settings
from zmart.store.pool import Pool

OPERATOR = "operator token of the tests, of 32 characters"
NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)
PATIENT = TimeLimits(60.0, 60.0, 60.0, 60.0, 60.0, 60.0)
"""Time limits of 60 seconds: other tests may keep the machine busy for seconds. Tests of the limits use others."""
ADMIN = Keypair.from_seed(b"admin".ljust(32, b"."))


class Site:
    """A gateway and an HTTP client of it."""

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
        """Sign in with a wallet and return the session token; AssertionError when the gateway refuses."""
        requested = await self.post("/api/auth/nonce", {"wallet": str(key.pubkey())})
        signature = str(key.sign_message(requested.json()["message"].encode()))
        body = {"wallet": str(key.pubkey()), "message": requested.json()["message"], "signature": signature}
        answer = await self.post("/api/auth/verify", body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])


@asynccontextmanager
async def site(
    database_url: str,
    redis_url: str = "",
    *,
    with_rules: bool = True,
    limits: TimeLimits = PATIENT,
    **settings: object,
) -> AsyncIterator[Site]:
    """Yield a gateway in this process that is reached without a socket; `settings` replaces settings.

    `with_rules`: write the program's rules and an indexed slot into the database, as the indexer would.
    """
    values: dict[str, object] = {
        "zmart_env": "local",
        "database_url": database_url,
        "redis_url": redis_url,
        "public_api_url": "http://gateway",
        "operator_token": OPERATOR,
        "auth_token_secret": "a secret of the tests, of 32 characters",
    }
    gateway = await open_gateway(Settings(_env_file=None, **{**values, **settings}), limits)
    if with_rules:
        await rows.add_config(gateway.context.pool, address_of(ADMIN))
        await rows.index_through(gateway.context.pool, gateway.context.program.address, 777, tip=777)
    transport = httpx.ASGITransport(app=gateway.asgi(), raise_app_exceptions=False)
    try:
        hooks = {"response": [only_described_statuses]}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway", event_hooks=hooks
        ) as http:
            yield Site(gateway, http)
    finally:
        await gateway.close()


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
) -> MarketId:
    key = market_id(number)
    await rows.add_document(
        pool,
        key,
        address(1),
        question,
        description="About rain.",
        category=category,
        tags=tags,
        ends_at=ends_at,
    )
    market = rows.market_fold(
        key, state, created_at=created_at, activated_at=activated_at, resolution_proposed_at=proposed_at,
        finalized_at=finalized_at, final_outcome=final_outcome, shares_yes=shares[0], shares_no=shares[1],
        price_yes_e9=price_e9, total_volume=volume, traders=1, initial_liquidity=700_000_000,
        current_liquidity=700_000_000, question_cid="QmX",
    )  # fmt: skip
    await rows.add_markets(pool, [market])
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
    signature = str(wallet(slot).sign_message(b"trade"))
    trade = rows.trade_fold(
        market, who, signature=signature, side=Side(side), outcome=outcome, shares=shares, cost_lamports=cost,
        protocol_fee_lamports=30, resolver_fee_lamports=20, lp_fee_lamports=50, price_yes_after_e9=price_e9, slot=slot,
        traded_at=at,
    )  # fmt: skip
    await rows.add_trades(pool, [trade])
    return signature


async def add_position(pool: Pool, market: str, who: str, yes: int, no: int, invested: int) -> None:
    held = PositionFold(
        market_id=market, wallet=who, shares_yes=yes, shares_no=no, total_invested=invested, trades_count=1,
        cost_basis_yes=invested, first_trade_at=rows.chain_time(NOW), last_trade_at=rows.chain_time(NOW),
        updated_slot=1,
    )  # fmt: skip
    await rows.add_position(pool, held)


def ballot(
    here: Site, key: Keypair, market: str, choice: bool = True, kind: str = "proposal"
) -> dict[str, object]:
    """Return the body of a vote with a signed statement."""
    statement = Statement(
        program=here.gateway.context.program.address,
        market_id=market,
        kind=VoteKind(kind),
        vote=choice,
        wallet=Wallet(str(key.pubkey())),
        issued_ms=int(datetime.now(UTC).timestamp() * 1000),
    )
    signature = str(key.sign_message(statement.text().encode()))
    return {
        "market_id": market,
        "vote": choice,
        "wallet": statement.wallet,
        "statement": statement.text(),
        "signature": signature,
    }


def legacy_body(
    key: Keypair, at_ms: int | None = None, host: str = "", **fields: object
) -> dict[str, object]:
    """Return a body with the signed message of clients of the former backend; `host` is added to the message.

    `at_ms` is the message's Unix time in milliseconds; None means now.
    """
    where = f" at {host}" if host else ""
    message = f"Sign this message to authenticate with ZMART{where}: {at_ms or int(time.time() * 1000)}"
    return {
        **fields,
        "message": message,
        "signature": str(key.sign_message(message.encode())),
        "wallet": str(key.pubkey()),
    }


def legacy_header(key: Keypair, host: str = "") -> str:
    where = f" at {host}" if host else ""
    message = f"Sign in to ZMART{where}\nTimestamp: {int(time.time() * 1000)}"
    signature = key.sign_message(message.encode())
    return f"Signature message={quote(message)}&signature={signature}&wallet={key.pubkey()}"
