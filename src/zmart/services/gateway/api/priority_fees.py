"""What a user's transaction offers the validators: as much as others did of late, and never more than a small cap."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from solders.instruction import Instruction

from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.types import Address

log = structlog.get_logger()

UNKNOWN_UNITS = 400_000
"""For a transaction whose simulation failed: it may be sent when what hindered it is over."""
_UNITS_MARGIN = 2_000
_MICRO = 1_000_000


def unit_limit(used: int) -> int:
    """A fifth more than the simulation used: the state may be another one by then."""
    return used + used // 5 + _UNITS_MARGIN


async def usual_price(rpc: Rpc, instructions: Sequence[Instruction]) -> int:
    """Micro-lamports per compute unit: the 75th percentile of what was paid of late for the accounts written;
    0 where nobody can tell."""
    written = {str(meta.pubkey) for item in instructions for meta in item.accounts if meta.is_writable}
    try:
        paid = sorted(await rpc.get_recent_prioritization_fees([Address(key) for key in sorted(written)]))
    except ChainError as problem:
        log.info("priority fees unknown", reason=str(problem))
        return 0
    return paid[len(paid) * 3 // 4] if paid else 0


def capped(price_micro_lamports: int, units: int, most_lamports: int) -> int:
    """The price, or what keeps the whole fee within `most_lamports`."""
    return min(price_micro_lamports, most_lamports * _MICRO // units)
