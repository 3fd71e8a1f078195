"""Store tallies: counts of a market's votes for the chain, each with size and root of the log that proves it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from zmart.market.tally import Tally
from zmart.market.types import Bps, ChainTime, MarketId, Slot, VoteKind
from zmart.store.pool import Connection, Pool, Record, fetch_existing

_COLUMNS = """market_id, kind, round, votes_for, votes_against, unproven, onchain, threshold_bps, passed,
log_size, log_root, closed_at, closed_slot, rule, min_votes, not_counted, taken_at"""
_INSERT = f"""
INSERT INTO tallies (market_id, kind, round, votes_for, votes_against, unproven, onchain, threshold_bps, passed,
                     log_size, log_root, closed_at, closed_slot, rule, min_votes, not_counted)
SELECT $1::text, $2::text, 1 + coalesce(max(round), 0), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
FROM tallies WHERE market_id = $1::text AND kind = $2::text RETURNING {_COLUMNS}
"""
_LATEST = f"SELECT {_COLUMNS} FROM tallies WHERE market_id = $1 AND kind = $2 ORDER BY round DESC LIMIT 1"
_OF_MARKET = f"SELECT {_COLUMNS} FROM tallies WHERE market_id = $1 ORDER BY kind, round"


class NewTally(msgspec.Struct, frozen=True, kw_only=True):
    """A tally to insert. It counts the votes up to chain time `closed_at` (Unix seconds); the index was gap-free
    through `closed_slot`.

    `unproven` and `onchain`: how many of the counted votes were cast by a session without a signed statement, and how
    many on chain. `threshold_bps`: the share of votes for that is needed, in basis points. `passed`: whether the votes
    reach it and are at least `min_votes`. `rule`: who may vote, as text of the memo. `not_counted`: how many voters in
    the log are not eligible by the rule. `log_size` and `log_root`: entries and Merkle root of the market's vote log.
    """

    market_id: MarketId
    kind: VoteKind
    tally: Tally
    unproven: int
    onchain: int
    threshold_bps: Bps
    passed: bool
    log_size: int
    log_root: bytes
    closed_at: ChainTime
    closed_slot: Slot
    rule: str = "open"
    min_votes: int = 1
    not_counted: int = 0


class TallyRow(NewTally, frozen=True, kw_only=True):
    """A stored tally. `round` counts from 1 for each market and kind, and is the round of the intent that sends it."""

    round: int
    taken_at: datetime


async def insert(connection: Connection, new: NewTally) -> TallyRow:
    """Insert a tally as the next round, and return its row. Needs the lock of the market's vote log."""
    row = await fetch_existing(
        connection,
        _INSERT,
        new.market_id,
        new.kind.value,
        new.tally.votes_for,
        new.tally.votes_against,
        new.unproven,
        new.onchain,
        new.threshold_bps,
        new.passed,
        new.log_size,
        new.log_root,
        new.closed_at,
        new.closed_slot,
        new.rule,
        new.min_votes,
        new.not_counted,
    )
    return _tally(row)


async def latest(db: Pool | Connection, market_id: MarketId, kind: VoteKind) -> TallyRow | None:
    """Return the market's tally of the last round for this kind of vote; None before the first."""
    row = await db.fetchrow(_LATEST, market_id, kind.value)
    return None if row is None else _tally(row)


async def of_market(db: Pool | Connection, market_id: MarketId) -> list[TallyRow]:
    """Return the market's tallies of both kinds, in order of kind and round."""
    return [_tally(row) for row in await db.fetch(_OF_MARKET, market_id)]


def _tally(row: Record) -> TallyRow:
    values = dict(row)
    tally = Tally(values.pop("votes_for"), values.pop("votes_against"))
    return TallyRow(tally=tally, kind=VoteKind(values.pop("kind")), **values)
