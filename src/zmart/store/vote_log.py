"""Store the append-only Merkle log of a market's votes: entries without gaps, and the hashes of all complete subtrees.

A transaction that appends holds the lock of the log's row (`lock`) until it commits, so that positions have no gaps and
each size of the log has one root.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from zmart.market.tally import Tally
from zmart.market.types import ChainTime, MarketId, VoteKind, Wallet
from zmart.store.outcomes import CHOICES
from zmart.store.pool import Connection, Pool, fetch_existing

_LOCK = """
INSERT INTO vote_logs (market_id) VALUES ($1)
ON CONFLICT (market_id) DO UPDATE SET size = vote_logs.size RETURNING size
"""
_SIZE = "SELECT size FROM vote_logs WHERE market_id = $1"
_APPEND = """
WITH entries AS (
    INSERT INTO vote_log_entries (market_id, log_index, kind, wallet, choice, channel, entry, leaf_hash)
    SELECT $1, $2 + e.ordinal - 1, e.kind, e.wallet, e.choice, e.channel, e.entry, e.leaf_hash
    FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[])
         WITH ORDINALITY AS e (kind, wallet, choice, channel, entry, leaf_hash, ordinal)),
nodes AS (
    INSERT INTO vote_log_nodes (market_id, level, node_index, hash)
    SELECT $1, * FROM unnest($9::smallint[], $10::bigint[], $11::bytea[]))
UPDATE vote_logs SET size = $2 + cardinality($3::text[]) WHERE market_id = $1
"""
_NODES = """
SELECT n.level, n.node_index, n.hash
FROM unnest($2::smallint[], $3::bigint[]) AS requested (level, node_index)
JOIN vote_log_nodes n ON n.market_id = $1 AND (n.level, n.node_index) = (requested.level, requested.node_index)
"""
_PAGE = """
SELECT log_index, entry, created_at FROM vote_log_entries
WHERE market_id = $1 AND log_index >= $2 ORDER BY log_index LIMIT $3
"""
_OF_WALLET = """
SELECT log_index, entry, created_at FROM vote_log_entries WHERE market_id = $1 AND wallet = $2 ORDER BY log_index
"""
# One vote per wallet: the one on chain where there is one (off chain a wallet has one entry, signed or not).
_ONE_A_WALLET = """
FROM vote_log_entries e
{join}
WHERE e.market_id = $1 AND e.kind = $2 AND e.log_index < $3
  AND (e.channel = 'onchain'
       OR NOT EXISTS (SELECT FROM vote_log_entries o
                      WHERE (o.market_id, o.kind, o.wallet) = ($1, $2, e.wallet) AND o.channel = 'onchain'
                        AND o.log_index < $3))
"""
_BY_SIDE = """
SELECT count(*) FILTER (WHERE {counts} AND e.choice = 'for') AS votes_for,
       count(*) FILTER (WHERE {counts} AND e.choice = 'against') AS votes_against,
       count(*) FILTER (WHERE {counts} AND e.channel = 'session') AS unproven,
       count(*) FILTER (WHERE {counts} AND e.channel = 'onchain') AS onchain,
       count(*) FILTER (WHERE NOT {counts}) AS not_counted, count(*) FILTER (WHERE {counts} IS NULL) AS unjudged
"""
# This makes the planner look up each judgement by its key. After many judgements were written at once it still expects
# two or three, and would compare each entry with each of them. OFFSET 0 prevents a join.
_JUDGED = """LEFT JOIN LATERAL (SELECT eligible FROM vote_judgements
    WHERE (market_id, kind, wallet) = ($1, $2, e.wallet) OFFSET 0) AS j ON true"""
_BY_INDEX = "SELECT set_config('enable_seqscan', 'off', true)"
_COUNTS_OF_ALL = (_BY_SIDE + _ONE_A_WALLET).format(counts="true", join="")
_COUNTS_OF_ELIGIBLE = (_BY_SIDE + _ONE_A_WALLET).format(counts="j.eligible", join=_JUDGED)
# The index has no final trade, no final vote on chain and no market of these wallets from before that time.
_YOUNG = (
    "SELECT count(*) FILTER (WHERE e.choice = 'for') AS votes_for, "
    "count(*) FILTER (WHERE e.choice = 'against') AS votes_against"
    + _ONE_A_WALLET.format(join=_JUDGED)
    + """
  AND (j.eligible OR NOT $4)
  AND NOT EXISTS (SELECT FROM trades t WHERE t.wallet = e.wallet AND t.traded_at < to_timestamp($5)
      AND NOT EXISTS (SELECT FROM chain_transactions c WHERE c.signature = t.signature AND c.finality = 'confirmed'))
  AND NOT EXISTS (SELECT FROM onchain_votes v WHERE v.wallet = e.wallet AND v.voted_at < to_timestamp($5)
      AND NOT EXISTS (SELECT FROM chain_transactions c WHERE c.signature = v.signature AND c.finality = 'confirmed'))
  AND NOT EXISTS (SELECT FROM markets m WHERE m.creator = e.wallet AND m.created_at < to_timestamp($5))
"""
)
# Entries are never removed, so a vote on chain is appended only when its transaction is final. onchain_votes has one
# row for each wallet: a vote that is not final, such as a false delivery, may hide a final vote there (`hidden`).
_UNLOGGED = """
WITH of_vote AS (
    SELECT o.wallet, o.choice = 'for' AS vote, o.signature, o.voted_at, o.slot, t.finality
    FROM onchain_votes o JOIN chain_transactions t USING (signature) WHERE o.market_id = $1 AND o.kind = $2
), hidden AS (
    SELECT DISTINCT ON (o.wallet) o.wallet, (e.event ->> 'vote')::boolean AS vote, e.signature,
        to_timestamp((e.event ->> 'timestamp')::bigint) AS voted_at, e.slot
    FROM of_vote o JOIN chain_events e ON e.market_id = $1 AND e.event ->> 'user' = o.wallet
        AND e.name IN ('ProposalVoteSubmitted', 'DisputeVoteSubmitted')
        AND e.name = CASE $2 WHEN 'proposal' THEN 'ProposalVoteSubmitted' ELSE 'DisputeVoteSubmitted' END
    JOIN chain_transactions f ON f.signature = e.signature AND f.finality = 'finalized'
    WHERE o.finality = 'confirmed' ORDER BY o.wallet, e.slot, e.index_in_block NULLS FIRST, e.ordinal
)
SELECT o.wallet, o.vote, o.signature, o.voted_at
FROM (SELECT wallet, vote, signature, voted_at, slot FROM of_vote WHERE finality = 'finalized'
      UNION ALL SELECT wallet, vote, signature, voted_at, slot FROM hidden) AS o
WHERE o.voted_at <= to_timestamp($3)
  AND NOT EXISTS (SELECT FROM vote_log_entries e
                  WHERE (e.market_id, e.kind, e.wallet, e.channel) = ($1, $2, o.wallet, 'onchain'))
ORDER BY o.slot, o.signature, o.wallet
"""


class NewLogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry to append. `entry`: its canonical bytes; `leaf_hash`: their hash as a leaf of the Merkle tree. `channel`
    is statement, session or onchain."""

    kind: VoteKind
    wallet: Wallet
    vote: bool
    channel: str
    entry: bytes
    leaf_hash: bytes


class LogEntryRow(msgspec.Struct, frozen=True):
    """A stored entry of the log at position `log_index`, counted from 0; `entry` holds its canonical bytes."""

    log_index: int
    entry: bytes
    created_at: datetime


class LogCounts(msgspec.Struct, frozen=True, kw_only=True):
    """A count of a log's entries with one vote per wallet. `unproven` and `onchain`: how many of the votes in the tally
    were cast by a session, and how many on chain. The tally leaves out `not_counted` voters, who are not eligible, and
    `unjudged` voters."""

    tally: Tally
    unproven: int
    onchain: int
    not_counted: int
    unjudged: int


class OnchainVote(msgspec.Struct, frozen=True):
    """A vote cast on chain, with the signature and the chain time of its transaction."""

    wallet: Wallet
    vote: bool
    signature: str
    voted_at: datetime


NodeHashes = Mapping[tuple[int, int], bytes]
"""Hashes of complete subtrees by (level, number). A subtree of a level covers 2^level leaves; both count from 0."""


async def lock(connection: Connection, market_id: MarketId) -> int:
    """Lock the market's log until the transaction ends, and return the number of its entries, 0 for a new log."""
    size: int = await connection.fetchval(_LOCK, market_id)
    return size


async def size_of(db: Pool | Connection, market_id: MarketId) -> int:
    """Return the number of entries in the market's log, 0 before the first vote."""
    return await db.fetchval(_SIZE, market_id) or 0


async def append(
    connection: Connection, market_id: MarketId, size: int, entries: Sequence[NewLogEntry], nodes: NodeHashes
) -> None:
    """Append entries from position `size` on, and insert the nodes of the tree that these entries complete. Needs the
    lock of the log."""
    await connection.execute(
        _APPEND,
        market_id,
        size,
        [entry.kind.value for entry in entries],
        [entry.wallet for entry in entries],
        [CHOICES[entry.vote] for entry in entries],
        [entry.channel for entry in entries],
        [entry.entry for entry in entries],
        [entry.leaf_hash for entry in entries],
        [level for level, _ in nodes],
        [number for _, number in nodes],
        list(nodes.values()),
    )


async def nodes(
    db: Pool | Connection, market_id: MarketId, requested: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Return the hashes of the requested subtrees of the market's log by (level, number). Subtrees that are not stored,
    because they are not complete, are left out."""
    keys = list(requested)
    rows = await db.fetch(_NODES, market_id, [level for level, _ in keys], [number for _, number in keys])
    return {(row["level"], row["node_index"]): row["hash"] for row in rows}


async def page(db: Pool | Connection, market_id: MarketId, start: int, limit: int) -> list[LogEntryRow]:
    """Return up to `limit` entries of the market's log in order, from position `start` on."""
    return [LogEntryRow(*row) for row in await db.fetch(_PAGE, market_id, start, limit)]


async def of_wallet(db: Pool | Connection, market_id: MarketId, wallet: Wallet) -> list[LogEntryRow]:
    """Return the entries of one wallet in the market's log, at most one for each kind and channel."""
    return [LogEntryRow(*row) for row in await db.fetch(_OF_WALLET, market_id, wallet)]


async def counts(
    connection: Connection, market_id: MarketId, kind: VoteKind, size: int, *, all_voters: bool = True
) -> LogCounts:
    """Count one vote per wallet in the first `size` entries of the log. The votes of all voters are counted, or only
    those of voters that were judged eligible. Needs a transaction."""
    sql = _COUNTS_OF_ALL if all_voters else _COUNTS_OF_ELIGIBLE
    if not all_voters:  # the planner may still believe that there are no judgements
        await connection.execute(_BY_INDEX)
    row = dict(await fetch_existing(connection, sql, market_id, kind.value, size))
    return LogCounts(tally=Tally(row.pop("votes_for"), row.pop("votes_against")), **row)


async def young_voters(
    db: Pool | Connection,
    market_id: MarketId,
    kind: VoteKind,
    size: int,
    since: ChainTime,
    *,
    all_voters: bool = True,
) -> Tally:
    """Return the tally of the votes of new wallets among the first `size` entries of the log. A wallet is new if the
    index has no final trade, no final vote on chain and no market of it from before chain time `since`. Unless
    `all_voters`, only votes of wallets that were judged eligible are counted."""
    row = await db.fetchrow(_YOUNG, market_id, kind.value, size, not all_voters, since)
    assert row is not None
    return Tally(row["votes_for"], row["votes_against"])


async def unlogged_onchain_votes(
    connection: Connection, market_id: MarketId, kind: VoteKind, closed_at: ChainTime
) -> list[OnchainVote]:
    """Return the votes cast on chain up to chain time `closed_at` that the log lacks. Only votes in final
    transactions are returned, in order of slot, signature and wallet."""
    return [OnchainVote(*row) for row in await connection.fetch(_UNLOGGED, market_id, kind.value, closed_at)]
