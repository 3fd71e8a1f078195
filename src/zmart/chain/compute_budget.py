"""Choose a transaction's compute unit limit and the price of a unit, and compute its fee.

Fees: https://solana.com/docs/core/fees. A price is in micro-lamports per compute unit. It is paid for the whole limit.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.transaction import VersionedTransaction

from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.types import Address, Lamports

MAX_UNITS = 1_400_000
"""The runtime's maximum of compute units for one transaction."""
UNKNOWN_UNITS = 400_000
"""The limit if the use is unknown, e.g. because the simulation failed: the transaction may still succeed later."""
SIGNATURE_LAMPORTS = 5_000
"""The network's fee for each signature."""
_MICRO = 1_000_000
_LEAST_RAISED_PRICE = 1_000

_log = structlog.get_logger()


def instructions(unit_limit: int | None, price_micro_lamports: int) -> list[Instruction]:
    """Return the instructions that set a compute unit limit and a price.

    With the limit None the runtime's default holds; with the price 0 no price is set. A limit above MAX_UNITS becomes
    MAX_UNITS.
    """
    budget: list[Instruction] = []
    if unit_limit is not None:
        budget.append(set_compute_unit_limit(min(unit_limit, MAX_UNITS)))
    if price_micro_lamports:
        budget.append(set_compute_unit_price(price_micro_lamports))
    return budget


def unit_limit(used: int, margin_percent: int, extra: int = 0) -> int:
    """Return a compute unit limit for a transaction whose simulation used `used` units.

    It is `used` plus the margin, rounded up, plus `extra`, and at most MAX_UNITS. It is UNKNOWN_UNITS if `used` is 0:
    the node did not report it.
    """
    if not used:
        return UNKNOWN_UNITS
    return min(-(-used * (100 + margin_percent) // 100) + extra, MAX_UNITS)


async def usual_price(rpc: Rpc, to_run: Sequence[Instruction]) -> int:
    """Return the 75th percentile of the prices recently paid for the accounts that `to_run` writes.

    The price is in micro-lamports per compute unit. It is 0 if there are none, or if the RPC fails.
    """
    written = {str(meta.pubkey) for item in to_run for meta in item.accounts if meta.is_writable}
    try:
        paid = sorted(await rpc.get_recent_prioritization_fees([Address(key) for key in sorted(written)]))
    except ChainError as error:
        _log.warning("priority fees unknown", reason=str(error))
        return 0
    return paid[len(paid) * 3 // 4] if paid else 0


def raised_price(usual: int, signing: int) -> int:
    """Return the price for a signing, counted from 1: the usual price first, then four times more each time.

    From the second signing on, a usual price below 1,000 micro-lamports counts as 1,000.
    """
    return usual if signing == 1 else max(usual, _LEAST_RAISED_PRICE) * 4 ** (signing - 1)


def capped_price(price_micro_lamports: int, unit_limit: int, max_lamports: int) -> int:
    """Return the price in micro-lamports, lowered so that the whole limit costs at most `max_lamports`."""
    return min(price_micro_lamports, max_lamports * _MICRO // unit_limit)


def fee_lamports(tx: VersionedTransaction) -> Lamports:
    """Return the fee of a transaction: its signatures, plus price times compute unit limit, rounded up.

    A transaction that states no limit is counted without a priority fee.
    """
    limit, price = 0, 0
    for instruction in tx.message.instructions:
        if tx.message.account_keys[instruction.program_id_index] != COMPUTE_BUDGET:
            continue
        data = bytes(instruction.data)
        if data[:1] == b"\2":
            limit = int.from_bytes(data[1:5], "little")
        elif data[:1] == b"\3":
            price = int.from_bytes(data[1:9], "little")
    priority = -(-limit * price // _MICRO)
    return Lamports(tx.message.header.num_required_signatures * SIGNATURE_LAMPORTS + priority)
