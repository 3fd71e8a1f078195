"""Watch the balance of the backend authority, which pays the fees of every effect."""

from __future__ import annotations

import math

from prometheus_client import Gauge

from zmart.decisions.context import DecisionContext
from zmart.market.types import LAMPORTS_PER_SOL, Address, Lamports
from zmart.store import alerts

LOW_LAMPORTS = Lamports(LAMPORTS_PER_SOL)
"""The balance, 1 SOL, below which an alert is raised; a decision costs some 10,000 lamports."""

lamports = Gauge("zmart_payer_lamports", "What the backend authority can still spend")
lamports.set(math.nan)  # until it is read


async def check_balance(context: DecisionContext) -> Lamports:
    """Return the balance of the backend authority in lamports; raise an alert if it is low, else resolve the alert."""
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
