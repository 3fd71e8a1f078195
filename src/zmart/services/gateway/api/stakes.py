"""Judge what a wallet has at stake before its documents are pinned: pins and drafts cost us, key pairs cost nothing."""

from __future__ import annotations

from zmart.market.types import Address, Lamports, Wallet
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.http.rate_limiting import admit_within_quota
from zmart.services.gateway.http.rate_limits import quota

DRAFTS = quota("drafts", 100)
"""Of one wallet that holds the deposit of its market."""
UNFUNDED_DRAFTS = quota("drafts of unfunded wallets", 100)
"""Of one address; they are stored and not pinned."""
EVIDENCE = quota("documents of evidence", 50)
"""Of one wallet whose proposal would succeed on chain."""


async def is_funded(context: AppContext, wallet: Wallet, needed: Lamports) -> bool:
    """Return whether the wallet holds `needed`. Raises ChainError while no RPC answers."""
    return await context.chain().get_balance(Address(wallet)) >= needed


async def admit_draft(context: AppContext, wallet: Wallet, client: str, *, funded: bool) -> None:
    """Count a draft by its wallet if that is funded, else by the client's address. Raises TooManyRequests."""
    policy, key = (DRAFTS, wallet) if funded else (UNFUNDED_DRAFTS, client)
    await admit_within_quota(context.limiter, policy, key)
