"""Define the command to cast a vote, and the policy by which a gateway accepts one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from solders.keypair import Keypair

from zmart.market.types import Address, ChainTime, MarketId, VoteKind, Wallet
from zmart.market.votes import Statement
from zmart.votes.admission import Admit, admit_all

ReadChainTime = Callable[[], Awaitable[ChainTime | None]]
"""Returns the chain's present time; None if no RPC is configured. Raises ChainError while the RPC is unavailable."""


async def index_alone() -> ChainTime | None:
    """Return None, so that the clock that the indexer stored is used."""
    return None


class CastVote(msgspec.Struct, frozen=True, kw_only=True):
    """The command to accept the vote of `wallet`.

    Without a statement the caller has authenticated the wallet, and the vote is unproven. `received_at` has a time
    zone; it is the time of this host's clock, not the chain's.
    """

    program: Address
    market_id: MarketId
    kind: VoteKind
    vote: bool
    wallet: Wallet
    received_at: datetime
    statement: str | None = None
    signature: str | None = None

    def statement_at(self, issued_ms: int) -> Statement:
        """Return the statement that the wallet signs for this vote, issued at that Unix time in milliseconds."""
        return Statement(
            program=self.program,
            market_id=self.market_id,
            kind=self.kind,
            vote=self.vote,
            wallet=self.wallet,
            issued_ms=issued_ms,
        )


@dataclass(frozen=True, kw_only=True)
class AcceptancePolicy:
    """The policy for every vote that this process accepts.

    The vote on a dispute lasts `dispute_voting_s` seconds of chain time, which `chain_time` reads. `receipt_signer` is
    the backend authority's key; without it receipts are unsigned. `admit` decides whether a wallet may vote.
    """

    statement_required: bool
    dispute_voting_s: int
    receipt_signer: Keypair | None = None
    admit: Admit = admit_all
    chain_time: ReadChainTime = index_alone
