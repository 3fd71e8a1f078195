"""Store judgements, which say whether a voter is eligible, and read the indexed facts by which voters are judged."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.market.eligibility import VoteOpening
from zmart.market.types import ChainTime, Lamports, MarketId, Signature, Slot, VoteKind, Wallet
from zmart.store.pool import Connection, Pool

_OPENING = """
SELECT extract(epoch FROM v.at)::bigint AS at, coalesce(e.slot, 0) AS slot, coalesce(e.signature, '') AS signature
FROM (SELECT CASE $2 WHEN 'proposal' THEN created_at ELSE dispute_initiated_at END AS at, created_slot FROM markets
      WHERE market_id = $1) AS v
LEFT JOIN LATERAL (SELECT slot, signature FROM chain_events
    WHERE market_id = $1 AND slot >= v.created_slot
        AND name = CASE $2 WHEN 'proposal' THEN 'MarketCreated' ELSE 'DisputeInitiated' END
    ORDER BY slot DESC LIMIT 1) AS e ON true
WHERE v.at IS NOT NULL
"""
# A delivery that only a webhook reported may claim any time. A real trade from before the vote has long been final.
_IS_FINAL = """NOT EXISTS (SELECT FROM chain_transactions c
    WHERE c.signature = trades.signature AND c.finality = 'confirmed')"""
TRADED = f"""
SELECT coalesce(sum(cost_lamports), 0)::bigint FROM trades
WHERE wallet = $1 AND traded_at < to_timestamp($2) AND {_IS_FINAL}
"""
_VOTERS = """
(SELECT wallet FROM votes WHERE (market_id, kind) = ($1, $2)
 UNION SELECT wallet FROM onchain_votes WHERE (market_id, kind) = ($1, $2)) AS v
LEFT JOIN LATERAL (SELECT wallet, traded_lamports FROM vote_judgements  -- by its key: see store/vote_log.py
    WHERE (market_id, kind, wallet) = ($1, $2, v.wallet) AND opened_at = $3 OFFSET 0) AS j ON true
"""
_UNJUDGED = f"SELECT v.wallet FROM {_VOTERS} WHERE j.wallet IS NULL ORDER BY v.wallet"
# Judgements by an incomplete index are repeated. This sums the trades of each voter by one range of a database index.
TRADED_OTHERWISE = f"""
SELECT v.wallet, t.traded
FROM {_VOTERS}
CROSS JOIN LATERAL (SELECT coalesce(sum(cost_lamports), 0)::bigint AS traded FROM trades
                    WHERE wallet = v.wallet AND traded_at < to_timestamp($3) AND {_IS_FINAL}) AS t
WHERE j.traded_lamports IS DISTINCT FROM t.traded
"""
# A market whose fold is stuck lacks its later trades: its traders may have traded enough.
_UNFOLDED_TRADERS = """
SELECT DISTINCT e.event ->> 'user'
FROM market_folds f JOIN chain_events e ON e.market_id = f.market_id AND e.slot >= f.error_slot
WHERE f.error IS NOT NULL AND (e.event ->> 'timestamp')::bigint < $1
    AND e.name IN ('SharesBought', 'SharesSold', 'Unlogged')
"""
_WRITE = """
INSERT INTO vote_judgements (market_id, kind, wallet, opened_at, eligible, held_lamports, traded_lamports)
SELECT $1, $2, j.wallet, $3, j.eligible, j.held, j.traded
FROM unnest($4::text[], $5::boolean[], $6::bigint[], $7::bigint[]) AS j (wallet, eligible, held, traded)
ORDER BY j.wallet
ON CONFLICT (market_id, kind, wallet) DO UPDATE
SET opened_at = excluded.opened_at, eligible = excluded.eligible, held_lamports = excluded.held_lamports,
    traded_lamports = excluded.traded_lamports, judged_at = now()
"""
_OPEN_UNJUDGED = """
SELECT DISTINCT o.market_id, o.kind
FROM vote_rules r
JOIN markets m ON m.market_id = r.market_id
    AND m.state = CASE r.kind WHEN 'proposal' THEN 'PROPOSED' ELSE 'DISPUTED' END
JOIN onchain_votes o ON (o.market_id, o.kind) = (r.market_id, r.kind)
WHERE r.rule <> 'open' AND NOT EXISTS (SELECT FROM vote_judgements j
    WHERE (j.market_id, j.kind, j.wallet) = (o.market_id, o.kind, o.wallet))
"""


class VoterJudgement(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of a wallet by a rule other than `open`. `held` (lamports) is set for the rule `funded`, `traded`
    (lamports) for `staked`; otherwise they are None."""

    wallet: Wallet
    eligible: bool
    held: Lamports | None = None
    traded: Lamports | None = None


async def opening(db: Pool | Connection, market_id: MarketId, kind: VoteKind) -> VoteOpening | None:
    """Return when the market's vote opened; None if it has not opened by the indexed data. The result also has the
    slot and signature of the event that opened the vote, 0 and "" if that is not indexed."""
    row = await db.fetchrow(_OPENING, market_id, kind.value)
    if row is None:
        return None
    return VoteOpening(ChainTime(row["at"]), Slot(row["slot"]), Signature(row["signature"]))


async def traded_before(db: Pool | Connection, wallet: Wallet, at: ChainTime) -> Lamports:
    """Return the sum of a wallet's trades before chain time `at`, by the indexed final trades. It is the lamports
    paid for purchases plus those received from sales."""
    return Lamports(await db.fetchval(TRADED, wallet, at))


async def unjudged(db: Pool | Connection, market_id: MarketId, kind: VoteKind, at: ChainTime) -> list[Wallet]:
    """Return the voters, off chain and on chain, without a judgement for a vote that opened at chain time `at`."""
    return [Wallet(row[0]) for row in await db.fetch(_UNJUDGED, market_id, kind.value, at)]


async def traded_otherwise(
    db: Pool | Connection, market_id: MarketId, kind: VoteKind, at: ChainTime
) -> list[tuple[Wallet, Lamports]]:
    """Return (voter, lamports traded before chain time `at`) of each voter whose judgement is missing or outdated.
    It is outdated if it was made by a different sum. `at` is when the vote opened."""
    rows = await db.fetch(TRADED_OTHERWISE, market_id, kind.value, at)
    return [(Wallet(wallet), Lamports(traded)) for wallet, traded in rows]


async def unfolded_traders(db: Pool | Connection, at: ChainTime) -> set[Wallet]:
    """Return the wallets with trades before chain time `at` that are indexed but not folded. Trades are not folded
    if an event of their market cannot be folded."""
    return {Wallet(row[0]) for row in await db.fetch(_UNFOLDED_TRADERS, at)}


async def write(
    db: Pool | Connection,
    market_id: MarketId,
    kind: VoteKind,
    at: ChainTime,
    judgements: Sequence[VoterJudgement],
) -> None:
    """Store judgements for a vote that opened at chain time `at`, and replace earlier ones of the same wallets."""
    await db.execute(
        _WRITE,
        market_id,
        kind.value,
        at,
        [item.wallet for item in judgements],
        [item.eligible for item in judgements],
        [item.held for item in judgements],
        [item.traded for item in judgements],
    )


async def open_unjudged(db: Pool | Connection) -> list[tuple[MarketId, VoteKind]]:
    """Return the market and kind of each open vote that has voters to judge. Its rule is not `open`, and it has a
    vote on chain without a judgement of the voter."""
    return [(MarketId(market), VoteKind(kind)) for market, kind in await db.fetch(_OPEN_UNJUDGED)]
