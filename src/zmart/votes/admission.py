"""Say that a wallet may vote, and by which rule; votes/eligibility.py decides it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from zmart.market.eligibility import OPEN, Rule
from zmart.market.types import ChainTime, MarketId, VoteKind, Wallet
from zmart.store.vote_judgements import VoterJudgement


class Admission(msgspec.Struct, frozen=True):
    """A wallet that may vote under `rule`.

    `judgement`: by what the wallet was judged for a vote that opened at `opened_at`; None if every wallet may vote.
    """

    rule: Rule
    opened_at: ChainTime = ChainTime(0)
    judgement: VoterJudgement | None = None


Admit = Callable[[MarketId, VoteKind, Wallet], Awaitable[Admission]]
"""Returns the wallet's admission. Raises NotEligible; EligibilityUnknown or IndexIncomplete while it is not known."""


async def admit_all(_market: MarketId, _kind: VoteKind, _wallet: Wallet) -> Admission:
    """Admit under the rule `open`."""
    return Admission(OPEN)
