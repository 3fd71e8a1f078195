"""Store votes that are cast off chain, and count them together with votes on chain."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from zmart.market.tally import Tally
from zmart.market.types import ChainTime, MarketId, VoteKind, Wallet
from zmart.store.outcomes import CHOICES
from zmart.store.pool import Connection, Pool

_COLUMNS = (
    "id, market_id, kind, wallet, choice = 'for' AS vote, proven, statement, signature, log_index, created_at"
)
_INSERT = f"""
INSERT INTO votes (market_id, kind, wallet, choice, proven, statement, signature, log_index, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (market_id, kind, wallet) DO NOTHING RETURNING {_COLUMNS}
"""
# A vote on chain that only a webhook reported may be forged: it must not prevent the wallet from voting.
_HAS_VOTED = """
SELECT EXISTS (SELECT FROM votes WHERE (market_id, kind, wallet) = ($1, $2, $3))
    OR EXISTS (SELECT FROM onchain_votes o WHERE (market_id, kind, wallet) = ($1, $2, $3)
        AND NOT EXISTS (SELECT FROM unconfirmed_transactions u WHERE (u.slot, u.signature) = (o.slot, o.signature)))
"""
_STATE = "SELECT state FROM markets WHERE market_id = $1"
# A vote is closed by a closing. A dispute without a closing (it has one if it was extended for too few votes) is also
# closed by the chain's time, the later one of the indexer's and the caller's.
_CLOSED = """
SELECT EXISTS (SELECT FROM vote_closings WHERE (market_id, kind) = ($1, $2) AND voting_over)
    OR $2 = 'dispute' AND EXISTS (
        SELECT FROM markets m LEFT JOIN index_progress p ON true
        WHERE m.market_id = $1
            AND m.dispute_initiated_at + make_interval(secs => $3) < to_timestamp(GREATEST(p.final_time, $4::bigint))
            AND NOT EXISTS (SELECT FROM vote_closings WHERE (market_id, kind) = ($1, $2)))
"""
_COUNTS = """
SELECT k.kind, s.votes_for, s.votes_against
FROM unnest(ARRAY['proposal', 'dispute']) AS k (kind), vote_standing($1, k.kind) AS s
"""
_NOT_COUNTED = "SELECT kind, not_counted FROM vote_counts WHERE market_id = $1"


class VoteRow(msgspec.Struct, frozen=True):
    """An accepted vote off chain. `vote` is True for a vote for the proposal or dispute, False against. `proven`: the
    vote has a signed `statement`. `log_index`: the position of its entry in the market's vote log."""

    id: UUID
    market_id: MarketId
    kind: VoteKind
    wallet: Wallet
    vote: bool
    proven: bool
    statement: str | None
    signature: str | None
    log_index: int
    created_at: datetime


class NewVote(msgspec.Struct, frozen=True, kw_only=True):
    """A vote off chain to insert; its fields are those of VoteRow. A vote with a `statement` counts as proven."""

    market_id: MarketId
    kind: VoteKind
    wallet: Wallet
    vote: bool
    statement: str | None
    signature: str | None
    log_index: int
    created_at: datetime


async def insert(connection: Connection, new: NewVote) -> VoteRow | None:
    """Insert a vote off chain and return its row. Returns None if the wallet has cast an off-chain vote of this kind
    on the market already."""
    row = await connection.fetchrow(
        _INSERT,
        new.market_id,
        new.kind.value,
        new.wallet,
        CHOICES[new.vote],
        new.statement is not None,
        new.statement,
        new.signature,
        new.log_index,
        new.created_at,
    )
    return None if row is None else VoteRow(**{**row, "kind": VoteKind(row["kind"])})


async def has_voted(db: Pool | Connection, market_id: MarketId, kind: VoteKind, wallet: Wallet) -> bool:
    """Return whether the wallet has voted, off chain or on chain. A vote on chain counts only if our own RPC has shown
    its transaction."""
    has: bool = await db.fetchval(_HAS_VOTED, market_id, kind.value, wallet)
    return has


async def market_state(db: Pool | Connection, market_id: MarketId) -> str | None:
    """Return the name of the market's state, such as PROPOSED; None if the market is not indexed."""
    state: str | None = await db.fetchval(_STATE, market_id)
    return state


async def voting_closed(
    db: Pool | Connection, market_id: MarketId, kind: VoteKind, dispute_s: int, chain_time: ChainTime | None
) -> bool:
    """Return whether voting on the market is over, so that a further vote is not counted. Voting on a dispute is over
    `dispute_s` seconds of chain time after the dispute began. `chain_time` is the caller's reading of the chain's
    clock; with None only the indexer's reading is used."""
    closed: bool = await db.fetchval(_CLOSED, market_id, kind.value, float(dispute_s), chain_time)
    return closed


async def counts(db: Pool | Connection, market_id: MarketId) -> dict[VoteKind, Tally]:
    """Return the tallies of both kinds of votes, with one vote per wallet. Each is the tally that the chain recorded
    when it was decided; before that, the one taken when voting was over; before that, the count as of now."""
    rows = await db.fetch(_COUNTS, market_id)
    return {VoteKind(row["kind"]): Tally(row["votes_for"], row["votes_against"]) for row in rows}


async def not_counted(db: Pool | Connection, market_id: MarketId) -> dict[VoteKind, int]:
    """Return how many wallets voted whose votes do not count, by kind. These wallets are not eligible or not judged
    yet."""
    rows = {row["kind"]: row["not_counted"] for row in await db.fetch(_NOT_COUNTED, market_id)}
    return {kind: rows.get(kind.value, 0) for kind in VoteKind}
