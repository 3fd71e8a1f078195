"""Limit how many comments and profiles are written in a day: they cost no lamport, are stored permanently, and each
comment is in every later snapshot of its market.

A minute's limit alone admits 14,400 comments a day of each wallet, and a key pair costs nothing.
"""

from __future__ import annotations

from zmart.market.types import MarketId, Wallet
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.http.rate_limiting import QuotaUse
from zmart.services.gateway.http.rate_limits import at_least, quota
from zmart.store import discussions

COMMENTS = quota("comments of one wallet", 500)
"""The comments a day of one wallet."""
COMMENTS_OF_ADDRESS = quota("comments of one address", 5_000)
"""The comments a day of all wallets of one client address."""
COMMENTS_ON_MARKET = quota("comments on one market", 10_000)
"""The comments a day on one market of all wallets that have no part in it. They make its snapshot at most 45 MB larger
from day to day."""
PROFILES = quota("profile changes of one wallet", 100)
"""The changes a day of one wallet's profile."""
PROFILES_OF_ADDRESS = quota("profile changes of one address", 1_000)
"""The changes a day of the profiles of all wallets of one client address."""


async def uses_of_comment(
    context: AppContext, wallet: Wallet, client: str, market_id: MarketId
) -> tuple[QuotaUse, ...]:
    """Return the quotas by which a comment is counted: those of its wallet, of the client's address and, unless the
    wallet has a part in the market, of the market. So wallets that cost nothing cannot silence those that have one."""
    keys = [(COMMENTS, str(wallet)), (COMMENTS_OF_ADDRESS, client)]
    if not await discussions.has_part_in(context.pool, market_id, wallet):
        keys.append((COMMENTS_ON_MARKET, market_id))
    least = context.settings.rate_limit_comments
    return tuple((at_least(policy, least), key) for policy, key in keys)


def uses_of_profile(context: AppContext, wallet: Wallet, client: str) -> tuple[QuotaUse, ...]:
    """Return the quotas by which a change of a profile is counted: those of its wallet and of the client's address."""
    keys = ((PROFILES, wallet), (PROFILES_OF_ADDRESS, client))
    least = context.settings.rate_limit_writes
    return tuple((at_least(policy, least), key) for policy, key in keys)
