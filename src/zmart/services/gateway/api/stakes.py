"""Judge what a wallet has at stake before its documents are pinned: pins and drafts cost us, key pairs cost nothing.

A stake is counted by its wallet, and by the address that it comes from: the same deposit can be passed on from wallet
to wallet.
"""

from __future__ import annotations

import msgspec

from zmart.market.types import Address, Lamports, Wallet
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.http.rate_limiting import admit_within_quota, of_address
from zmart.services.gateway.http.rate_limits import RateLimitPolicy, quota

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
    """Count a draft by its wallet and the client's address if that is funded, else by the address among the unfunded.
    Raises TooManyRequests."""
    if funded:
        await admit_stake(context, DRAFTS, wallet, client)
    else:
        await admit_within_quota(context.limiter, UNFUNDED_DRAFTS, client)


async def admit_stake(context: AppContext, policy: RateLimitPolicy, wallet: Wallet, client: str) -> None:
    """Count what a wallet with a stake costs us, by the wallet and by the client's address. Raises TooManyRequests."""
    await admit_within_quota(context.limiter, policy, wallet)
    await admit_within_quota(context.limiter, shared_by_address(context, policy), client)


def shared_by_address(context: AppContext, policy: RateLimitPolicy) -> RateLimitPolicy:
    """Return the quota of all wallets of one address. Where an address may write more often in a minute than that in a
    day, many clients share it, as on the local stack: their quota is as large."""
    shared = of_address(policy)
    return msgspec.structs.replace(shared, requests=max(shared.requests, context.settings.rate_limit_writes))
