"""Read the fee payer's balance for GET /api/status."""

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
    """The fee payer's address and balance. `wallet` is None before GlobalConfig is indexed, `lamports` while the
    balance is unknown."""

    wallet: Wallet | None
    lamports: Lamports | None


async def read(rpc: Rpc | None, payer: Wallet | None) -> FeePayerBalance:
    """Return the balance of `payer`. It is unknown (None) without a payer or an RPC, and if the RPC fails or takes
    longer than 1 s: GET /api/status must not wait for the chain."""
    if payer is None or rpc is None:
        return FeePayerBalance(payer, None)
    try:
        async with asyncio.timeout(_WITHIN_S):
            return FeePayerBalance(payer, await rpc.get_balance(Address(payer)))
    except (ChainError, TimeoutError) as problem:
        log.warning("fee payer's balance unknown", reason=str(problem))
        return FeePayerBalance(payer, None)
