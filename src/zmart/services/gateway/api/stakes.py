"""Limit how many drafts and documents wallets cause in a day: each costs us a pin or a row, while key pairs cost
nothing.

A wallet's stake is the deposit of its market, or a proposed outcome that would succeed on chain. Drafts and documents
of wallets with a stake are counted by wallet and also by client address, since one deposit can be passed on from wallet
to wallet.
"""

from __future__ import annotations

from zmart.market.types import Address, Lamports, Wallet
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.http.rate_limiting import QuotaUse, of_address
from zmart.services.gateway.http.rate_limits import RateLimitPolicy, at_least, quota

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


def uses_of_draft(context: AppContext, wallet: Wallet, client: str, *, funded: bool) -> tuple[QuotaUse, ...]:
    """Return the quotas by which a draft is counted: of a funded wallet those of the wallet and of the client's
    address, of any other wallet that of the address alone."""
    return uses_of_stake(context, DRAFTS, wallet, client) if funded else ((UNFUNDED_DRAFTS, client),)


def uses_of_stake(
    context: AppContext, policy: RateLimitPolicy, wallet: Wallet, client: str
) -> tuple[QuotaUse, ...]:
    """Return the quotas by which a draft or document of a wallet with a stake is counted: those of the wallet and of
    the client's address."""
    return (policy, wallet), (shared_by_address(context, policy), client)


def shared_by_address(context: AppContext, policy: RateLimitPolicy) -> RateLimitPolicy:
    """Return the daily quota that all wallets of one client address share: WALLETS_PER_ADDRESS times that of one
    wallet, and at least RATE_LIMIT_WRITES."""
    return at_least(of_address(policy), context.settings.rate_limit_writes)
