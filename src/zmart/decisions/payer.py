"""What the backend authority can still spend: it pays for every effect."""

from __future__ import annotations

from prometheus_client import Gauge

from zmart.decisions.context import Authority
from zmart.market.types import Address, Lamports
from zmart.store import alerts

LOW_LAMPORTS = Lamports(1_000_000_000)
"""Below 1 SOL somebody must be told; a decision costs some 10,000 lamports."""

lamports = Gauge("zmart_payer_lamports", "What the backend authority can still spend")


async def look(authority: Authority) -> Lamports:
    """Read the balance; alert when it is low, and say so when it is well again."""
    address = Address(str(authority.backend.pubkey()))
    balance = await authority.rpc.get_balance(address)
    lamports.set(balance)
    key = f"payer low:{address}"
    if balance >= LOW_LAMPORTS:
        await alerts.resolve_alert(authority.pool, key)
        return balance
    text = (
        f"The fee payer {address} has {balance / 1e9:.4f} SOL: below 1 SOL. Without lamports no market is approved "
        "or finalized: send it SOL."
    )
    await alerts.raise_alert(authority.pool, key, "critical", text)
    return balance
