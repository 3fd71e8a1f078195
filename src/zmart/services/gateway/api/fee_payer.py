"""The fee payer's balance as the status tells it: asked for now and then, not by every caller."""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.types import Address, Lamports, Wallet

log = structlog.get_logger()

FRESH_S = 10.0
_WITHIN_S = 1.0


class FeePayerBalance(msgspec.Struct, frozen=True):
    """`lamports` is None while nobody can tell."""

    wallet: Wallet | None
    lamports: Lamports | None


async def read(rpc: Rpc | None, payer: Wallet | None) -> FeePayerBalance:
    """Gives up after a second: the status must not wait for the chain."""
    if payer is None or rpc is None:
        return FeePayerBalance(payer, None)
    try:
        async with asyncio.timeout(_WITHIN_S):
            return FeePayerBalance(payer, await rpc.get_balance(Address(payer)))
    except (ChainError, TimeoutError) as problem:
        log.warning("fee payer's balance unknown", reason=str(problem))
        return FeePayerBalance(payer, None)
