"""Define the admission of a wallet to a vote, which votes/eligibility.py decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from zmart.market.eligibility import OPEN, Rule
from zmart.market.types import ChainTime, MarketId, VoteKind, Wallet
from zmart.store.vote_judgements import VoterJudgement


class Admission(msgspec.Struct, frozen=True):
    """The decision that a wallet may vote under `rule`.

    `judgement` holds what the wallet was judged by, for a vote that opened at the chain time `opened_at`; None if every
    wallet may vote.
    """

    rule: Rule
    opened_at: ChainTime = ChainTime(0)
    judgement: VoterJudgement | None = None


Admit = Callable[[MarketId, VoteKind, Wallet], Awaitable[Admission]]
"""Returns the admission of a wallet to a vote.

Raises NotEligible if the wallet may not vote; EligibilityUnknown or IndexIncomplete if that is not known now.
"""


async def admit_all(_market: MarketId, _kind: VoteKind, _wallet: Wallet) -> Admission:
    """Admit every wallet, under the rule `open`."""
    return Admission(OPEN)
