"""What the demo wallet of a local stack needs besides the API; these routes exist nowhere else."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from zmart.errors import Conflict
from zmart.market.types import Address, Lamports, Signature
from zmart.services.gateway.api import lookup
from zmart.services.gateway.context import TheRooms
from zmart.services.gateway.explorer.pages import local
from zmart.services.gateway.explorer.templating import page
from zmart.services.gateway.http.problems import TooManyRequests
from zmart.services.gateway.http.rate_limit_middleware import limit_headers
from zmart.services.gateway.http.rate_limits import Policy

GIFT_LAMPORTS = Lamports(100 * 10**9)
_ENOUGH_LAMPORTS = 50 * 10**9
_GIFTS = Policy("faucet", 30)


class Purse(msgspec.Struct, frozen=True, kw_only=True):
    """What a wallet has on the local chain; `signature` is the gift's, where one was just made."""

    wallet: Address
    lamports: Lamports
    signature: Signature | None = None


class Beggar(msgspec.Struct, frozen=True):
    wallet: Annotated[str, msgspec.Meta(min_length=1, max_length=44)]


@post("/api/local/faucet", status_code=201, include_in_schema=False)
async def faucet(rooms: TheRooms, data: JSONBody[Beggar]) -> Purse:
    """Play money of the local chain, for a wallet that has little of it."""
    wallet = Address(lookup.wallet_in_body(data.wallet))
    verdict = await rooms.limiter.take(_GIFTS, "everybody")
    if not verdict.allowed:
        raise TooManyRequests(
            f"The faucet gave {_GIFTS.per_minute} times within a minute: wait {verdict.reset_s} s.",
            {**limit_headers(_GIFTS, verdict), "Retry-After": str(verdict.reset_s)},
        )
    held = await rooms.chain().get_balance(wallet)
    if held >= _ENOUGH_LAMPORTS:
        raise Conflict(f"This wallet has {held // 10**9} SOL, which is enough: the faucet fills empty ones.")
    signature = await rooms.chain().request_airdrop(wallet, GIFT_LAMPORTS)
    return Purse(wallet=wallet, lamports=Lamports(held + GIFT_LAMPORTS), signature=signature)


@get("/api/local/wallets/{wallet:str}", include_in_schema=False)
async def purse(rooms: TheRooms, wallet: FromPath[str]) -> Purse:
    """What a wallet has."""
    who = Address(lookup.wallet_in_path(wallet))
    return Purse(wallet=who, lamports=await rooms.chain().get_balance(who))


@get("/new", include_in_schema=False)
async def propose(rooms: TheRooms) -> Response[str]:
    """A form to propose a market with the demo wallet."""
    return page("new.html", title="Propose a market", local=local(rooms))


HANDLERS = [faucet, purse, propose]
