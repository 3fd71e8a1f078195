"""Limit how many drafts and documents wallets cause in a day: each costs us a pin or a row, while key pairs cost
nothing.

A wallet's stake is the deposit of its market, or a proposed outcome that would succeed on chain. Drafts and documents
of wallets with a stake are counted by wallet and also by client address, since one deposit can be passed on from wallet
to wallet.
"""

from __future__ import annotations

import msgspec

from zmart.market.types import Address, Lamports, Wallet
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.http.rate_limiting import admit_within_quota, of_address
from zmart.services.gateway.http.rate_limits import RateLimitPolicy, quota

DRAFTS = quota("drafts", 100)
"""The drafts a day of one wallet that holds the deposit of its market."""
UNFUNDED_DRAFTS = quota("drafts of unfunded wallets", 100)
"""The drafts a day of all wallets of one client address that do not hold the deposit. They are stored and not
pinned."""
EVIDENCE = quota("documents of evidence", 50)
"""The documents a day of one wallet whose proposed outcome would succeed on chain."""


async def is_funded(context: AppContext, wallet: Wallet, needed: Lamports) -> bool:
    """Return whether the wallet holds at least `needed` on chain. Raises ChainError while no RPC answers."""
    return await context.chain().get_balance(Address(wallet)) >= needed


async def admit_draft(context: AppContext, wallet: Wallet, client: str, *, funded: bool) -> None:
    """Count a draft: of a funded wallet by the wallet and by the client's address, of any other wallet by the address
    alone. Raises TooManyRequests beyond a quota."""
    if funded:
        await admit_stake(context, DRAFTS, wallet, client)
    else:
        await admit_within_quota(context.limiter, UNFUNDED_DRAFTS, client)


async def admit_stake(context: AppContext, policy: RateLimitPolicy, wallet: Wallet, client: str) -> None:
    """Count a draft or document of a wallet with a stake, by the wallet and by the client's address. Raises
    TooManyRequests beyond a quota."""
    await admit_within_quota(context.limiter, policy, wallet)
    await admit_within_quota(context.limiter, shared_by_address(context, policy), client)


def shared_by_address(context: AppContext, policy: RateLimitPolicy) -> RateLimitPolicy:
    """Return the daily quota that all wallets of one client address share: WALLETS_PER_ADDRESS times that of one
    wallet. It is at least RATE_LIMIT_WRITES: where one address may write that often in a minute, many clients share it,
    as on the local stack."""
    shared = of_address(policy)
    return msgspec.structs.replace(shared, requests=max(shared.requests, context.settings.rate_limit_writes))
