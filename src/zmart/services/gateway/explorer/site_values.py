"""Collect the values that every page passes to its scripts: program, chain, and how far the local chain's clock is
ahead."""

from __future__ import annotations

import asyncio
import time

import msgspec

from zmart.errors import ChainError
from zmart.market.types import Address, ChainTime
from zmart.services.gateway.context import AppContext

_WAIT_S = 0.3
_AHEAD_S = 60
"""The least lead of the local chain's clock, in seconds, that pages report. Two ordinary clocks differ by less."""


class SiteValues(msgspec.Struct, frozen=True, kw_only=True):
    """The values of this deployment that every page passes to its scripts.

    `chain`: the chain's name in the Wallet Standard. `local`: whether there is a demo wallet. `ahead_s`: by how many
    seconds the local chain's clock is ahead of ours, 0 for less than a minute; None if that is unknown, and on every
    other chain.
    """

    program: Address
    chain: str
    local: bool
    ahead_s: int | None


async def of(context: AppContext) -> SiteValues:
    """Return the values of this deployment, after at most 0.3 s."""
    return SiteValues(
        program=context.program.address,
        chain=f"solana:{context.settings.cluster}",
        local=context.settings.is_local,
        ahead_s=await _ahead_s(context) if context.settings.is_local else None,
    )


async def chain_time(context: AppContext) -> ChainTime | None:
    """Return the chain's present time as the RPC reports it, after at most 0.3 s; None if that is not known."""
    try:
        async with asyncio.timeout(_WAIT_S):
            return await context.chain_time.get()
    except (ChainError, TimeoutError):
        return None


async def _ahead_s(context: AppContext) -> int | None:
    present = await chain_time(context)
    if present is None:
        return None
    ahead_s = int(present - time.time())
    return ahead_s if ahead_s >= _AHEAD_S else 0
