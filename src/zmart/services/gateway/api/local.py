"""Handle the faucet of the local stack: airdrops and balances of demo wallets. These routes exist only there."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody

from zmart.errors import Conflict
from zmart.market.types import Address, Lamports, Signature
from zmart.services.gateway.api import lookup
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.problems import TooManyRequests
from zmart.services.gateway.http.rate_limiting import limit_headers
from zmart.services.gateway.http.rate_limits import RateLimitPolicy

AIRDROP_LAMPORTS = Lamports(100 * 10**9)
_ENOUGH_LAMPORTS = 50 * 10**9
_FAUCET_LIMIT = RateLimitPolicy("faucet", 30)


class FaucetBalance(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet's balance on the local chain, in lamports. `signature` is that of the airdrop that was just sent; None
    if none was."""

    wallet: Address
    lamports: Lamports
    signature: Signature | None = None


class FaucetRequest(msgspec.Struct, frozen=True):
    """A request for an airdrop to `wallet`."""

    wallet: Annotated[str, msgspec.Meta(min_length=1, max_length=44)]


@post("/api/local/faucet", status_code=201, include_in_schema=False)
async def faucet(context: Context, data: JSONBody[FaucetRequest]) -> FaucetBalance:
    """Airdrop 100 SOL of the local chain to a wallet that has less than 50 SOL. Raises Conflict for a wallet with more,
    TooManyRequests after 30 requests of all wallets within a minute."""
    wallet = Address(lookup.wallet_in_body(data.wallet))
    verdict = await context.limiter.take(_FAUCET_LIMIT, "all")
    if not verdict.allowed:
        raise TooManyRequests(
            f"The faucet sent {_FAUCET_LIMIT.requests} airdrops within a minute: wait {verdict.reset_s} s.",
            {**limit_headers(_FAUCET_LIMIT, verdict), "Retry-After": str(verdict.reset_s)},
        )
    held = await context.chain().get_balance(wallet)
    if held >= _ENOUGH_LAMPORTS:
        raise Conflict(
            f"This wallet has {held // 10**9} SOL, which is enough: the faucet is for wallets with less."
        )
    signature = await context.chain().request_airdrop(wallet, AIRDROP_LAMPORTS)
    return FaucetBalance(wallet=wallet, lamports=Lamports(held + AIRDROP_LAMPORTS), signature=signature)


@get("/api/local/wallets/{wallet:str}", include_in_schema=False)
async def faucet_balance(context: Context, wallet: FromPath[str]) -> FaucetBalance:
    """Return a wallet's balance on the local chain, in lamports."""
    who = Address(lookup.wallet_in_path(wallet))
    return FaucetBalance(wallet=who, lamports=await context.chain().get_balance(who))


HANDLERS = [faucet, faucet_balance]
