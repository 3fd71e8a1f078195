"""Watch the balance of the backend authority, which pays for every effect."""

from __future__ import annotations

import math

from prometheus_client import Gauge

from zmart.decisions.context import DecisionContext
from zmart.market.types import Address, Lamports
from zmart.store import alerts

LOW_LAMPORTS = Lamports(1_000_000_000)
"""Below 1 SOL an operator is alerted; a decision costs some 10,000 lamports."""

lamports = Gauge("zmart_payer_lamports", "What the backend authority can still spend")
lamports.set(math.nan)  # until it is read


async def check_balance(context: DecisionContext) -> Lamports:
    """Return the balance; raise an alert when it is low, and resolve it when it is not."""
    address = Address(str(context.backend.pubkey()))
    balance = await context.rpc.get_balance(address)
    lamports.set(balance)
    key = f"payer low:{address}"
    if balance >= LOW_LAMPORTS:
        await alerts.resolve_alert(context.pool, key)
        return balance
    text = (
        f"The fee payer {address} has {balance / 1e9:.4f} SOL: below 1 SOL. Without lamports no market is approved "
        "or finalized: send it SOL."
    )
    await alerts.raise_alert(context.pool, key, "critical", text)
    return balance
