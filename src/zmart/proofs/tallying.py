"""Taking a tally: on-chain votes enter the log, the log is counted, and the count is written down with its root."""

from __future__ import annotations

from zmart.errors import Conflict
from zmart.market.tally import MAX_COUNT, memo
from zmart.market.types import Address, Bps, MarketId, VoteKind
from zmart.market.vote_entries import Channel, LogEntry
from zmart.market.votes import Statement
from zmart.proofs import vote_log
from zmart.store import tallies
from zmart.store import vote_log as rows
from zmart.store.pool import Connection
from zmart.store.tallies import NewTally, TallyRow


async def log_onchain_votes(
    connection: Connection, program_id: Address, market_id: MarketId, kind: VoteKind
) -> vote_log.Head:
    """Append the votes cast on chain that the log lacks; the head with them in. Holds the log."""
    await rows.lock(connection, market_id)
    new = await rows.unlogged_onchain_votes(connection, market_id, kind)
    entries = [_onchain_entry(program_id, market_id, kind, vote) for vote in new]
    return (await vote_log.append(connection, market_id, entries)).head


async def take_tally(
    connection: Connection,
    program_id: Address,
    market_id: MarketId,
    kind: VoteKind,
    threshold_bps: Bps,
    min_votes: int = 1,
) -> TallyRow:
    """Count the log as it is now and write the count down as the next round. Holds the log until the commit, so
    that a vote is either in this count or accepted after it. Raises Conflict beyond 32 bits of votes."""
    head = await log_onchain_votes(connection, program_id, market_id, kind)
    counted = await rows.counts(connection, market_id, kind, head.size)
    if counted.tally.total > MAX_COUNT:
        raise Conflict(f"Market {market_id} has more votes than the program can count.")
    return await tallies.insert(
        connection,
        NewTally(
            market_id=market_id,
            kind=kind,
            tally=counted.tally,
            unproven=counted.unproven,
            onchain=counted.onchain,
            threshold_bps=threshold_bps,
            passed=counted.tally.passes(threshold_bps, min_votes),
            log_size=head.size,
            log_root=head.root,
        ),
    )


def memo_of(row: TallyRow) -> str:
    """The memo that goes on chain with this count."""
    return memo(row.kind, row.log_size, row.log_root)


def _onchain_entry(
    program_id: Address, market_id: MarketId, kind: VoteKind, vote: rows.OnchainVote
) -> LogEntry:
    statement = Statement(
        program=program_id,
        market_id=market_id,
        kind=kind,
        vote=vote.vote,
        wallet=vote.wallet,
        issued_ms=int(vote.voted_at.timestamp()) * 1000,
    )
    return LogEntry(channel=Channel.ONCHAIN, statement=statement, proof=vote.signature)
