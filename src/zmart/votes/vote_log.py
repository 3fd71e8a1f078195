"""Keep the Merkle log of a market's votes: append entries, return its head, proofs and pages.

Hashing is in proofs/merkle.py, the published documents in proofs/log_documents.py, rows in store/vote_log.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.errors import Invalid, NotFound
from zmart.market.types import MarketId, Wallet
from zmart.market.vote_entries import LogEntry
from zmart.proofs import merkle
from zmart.proofs.log_documents import MAX_PAGE, ConsistencyProof, InclusionProof, LogPage, VoteProof
from zmart.proofs.log_sources import read_pages
from zmart.proofs.merkle import MerkleNode, Span
from zmart.store import vote_log, vote_rules
from zmart.store.pool import Connection, Pool


class VoteLogHead(msgspec.Struct, frozen=True):
    """The size and the Merkle root of a log at one moment; the root of an empty log is the SHA-256 of no bytes."""

    size: int
    root: bytes


class AppendedEntries(msgspec.Struct, frozen=True):
    """The index of the first entry that was appended, the leaf hashes of all of them, and the head afterwards."""

    first_index: int
    leaf_hashes: list[bytes]
    head: VoteLogHead


class OpenVoteLog:
    """A market's log, locked until the transaction ends: no other transaction appends meanwhile."""

    def __init__(
        self, connection: Connection, market_id: MarketId, size: int, known: dict[MerkleNode, bytes]
    ) -> None:
        self._connection = connection
        self._market_id = market_id
        self._known = known
        self.size = size

    @classmethod
    async def lock(cls, connection: Connection, market_id: MarketId) -> OpenVoteLog:
        """Lock the market's log until the transaction ends, and return it."""
        size = await vote_log.lock(connection, market_id)
        known = await _nodes(connection, market_id, merkle.complete_subtrees(0, size))
        return cls(connection, market_id, size, known)

    @property
    def head(self) -> VoteLogHead:
        """The size and root of the log, with the entries that were appended so far."""
        return VoteLogHead(self.size, merkle.root(self.size, self._known))

    async def append(self, entries: Sequence[LogEntry]) -> AppendedEntries:
        """Append entries, which may be none, and return their positions and the new head."""
        first, raw = self.size, [entry.encode() for entry in entries]
        leaves = [merkle.leaf_hash(item) for item in raw]
        added = merkle.append(first, leaves, self._known)
        rows = [_row(*parts) for parts in zip(entries, raw, leaves, strict=True)]
        if rows:
            nodes = {(node.level, node.number): value for node, value in added.items()}
            await vote_log.append(self._connection, self._market_id, first, rows, nodes)
        self._known |= added
        self.size += len(rows)
        return AppendedEntries(first, leaves, self.head)


def _row(entry: LogEntry, raw: bytes, leaf: bytes) -> vote_log.NewLogEntry:
    return vote_log.NewLogEntry(
        kind=entry.statement.kind,
        wallet=entry.statement.wallet,
        vote=entry.statement.vote,
        channel=entry.channel.value,
        entry=raw,
        leaf_hash=leaf,
    )


async def head(db: Pool | Connection, market_id: MarketId, size: int | None = None) -> VoteLogHead:
    """Return the present head of a market's log, or the head that the log had when its size was `size`."""
    at = await vote_log.size_of(db, market_id) if size is None else size
    return VoteLogHead(at, merkle.root(at, await _nodes(db, market_id, merkle.complete_subtrees(0, at))))


async def proof(pool: Pool, market_id: MarketId, wallet: Wallet, since: int | None = None) -> VoteProof:
    """Return inclusion proofs of all the wallet's entries and, with `since`, a consistency proof from that log size.

    Raises NotFound if the log holds no entry of the wallet, and Invalid("since") if `since` exceeds the log's size.
    """
    size = await vote_log.size_of(pool, market_id)
    entries = [item for item in await vote_log.of_wallet(pool, market_id, wallet) if item.log_index < size]
    if not entries:
        raise NotFound(f"The vote log of market {market_id} holds no vote of {wallet}.")
    if since is not None and not 0 <= since <= size:
        raise Invalid("since", f"The log has {size} entries; since must be between 0 and that.")
    paths = [merkle.inclusion_spans(item.log_index, size) for item in entries]
    growth = merkle.consistency_spans(since, size) if since else []
    known = await _proof_nodes(pool, market_id, [*paths, growth, [(0, size)], [(0, since or 0)]])
    return VoteProof(
        market_id=market_id,
        wallet=wallet,
        tree_size=size,
        root=merkle.root(size, known).hex(),
        entries=[
            InclusionProof(
                item.log_index,
                item.entry.decode(),
                merkle.leaf_hash(item.entry).hex(),
                _hex(merkle.proof(spans, known)),
            )
            for item, spans in zip(entries, paths, strict=True)
        ],
        rules=await _rules(pool, market_id),
        consistency=None
        if since is None
        else ConsistencyProof(since, merkle.root(since, known).hex(), _hex(merkle.proof(growth, known))),
    )


async def page(pool: Pool, market_id: MarketId, start: int = 0, limit: int = MAX_PAGE) -> LogPage:
    """Return up to `limit` entries of the log from index `start`, so that a reader can count the log again.

    An unknown market has an empty log.
    """
    now = await head(pool, market_id)
    rows = await vote_log.page(pool, market_id, start, min(limit, MAX_PAGE))
    return LogPage(
        market_id=market_id,
        size=now.size,
        root=now.root.hex(),
        start=start,
        entries=[row.entry.decode() for row in rows if row.log_index < now.size],
        rules=await _rules(pool, market_id),
    )


async def read_log(database_url: str, market_id: MarketId) -> list[bytes]:
    """Return all entries of a market's log, read from the database. Raises StoreError."""
    pool = await Pool.open(database_url, size=1)
    try:
        return await read_pages(lambda start: page(pool, market_id, start))
    finally:
        await pool.close()


async def _rules(pool: Pool, market_id: MarketId) -> dict[str, str]:
    return {
        kind.value: terms.rule.text for kind, terms in (await vote_rules.of_market(pool, market_id)).items()
    }


async def _proof_nodes(
    pool: Pool, market_id: MarketId, proofs: Sequence[list[Span]]
) -> dict[MerkleNode, bytes]:
    return await _nodes(pool, market_id, merkle.nodes_of(span for spans in proofs for span in spans))


async def _nodes(
    db: Pool | Connection, market_id: MarketId, requested: Sequence[MerkleNode] | set[MerkleNode]
) -> dict[MerkleNode, bytes]:
    rows = await vote_log.nodes(db, market_id, requested) if requested else {}
    return {MerkleNode(*key): value for key, value in rows.items()}


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return [item.hex() for item in hashes]
