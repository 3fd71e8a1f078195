"""Take a tally: append the votes on chain to the log, count the log, and store the count with the log's root."""

from __future__ import annotations

import msgspec

from zmart.errors import Conflict, EligibilityUnknown
from zmart.market.eligibility import RuleKind
from zmart.market.tally import MAX_COUNT, Tally, TallyMemo
from zmart.market.types import Address, Bps, MarketId, VoteKind
from zmart.market.vote_entries import LogEntry, VoteChannel
from zmart.market.votes import Statement
from zmart.store import tallies
from zmart.store import vote_log as rows
from zmart.store.pool import Connection
from zmart.store.tallies import NewTally, TallyRow
from zmart.store.vote_closings import VoteClosing
from zmart.store.vote_rules import OPEN_TO_ALL, VotingTerms
from zmart.votes import vote_log


class LogCount(msgspec.Struct, frozen=True, kw_only=True):
    """The count of a vote's log at `head`, which holds every vote on chain up to the closing.

    `unproven` and `onchain` say how many of the counted votes have no signed statement, and how many were cast on
    chain. `not_counted` is the number of further votes, of wallets that are not eligible under the terms.
    """

    market_id: MarketId
    kind: VoteKind
    tally: Tally
    unproven: int
    onchain: int
    not_counted: int
    head: vote_log.VoteLogHead
    closing: VoteClosing
    terms: VotingTerms


async def count_log(
    connection: Connection, program_id: Address, closing: VoteClosing, terms: VotingTerms = OPEN_TO_ALL
) -> LogCount:
    """Append the votes cast on chain up to the closing that the log lacks, and count the log.

    It locks the log until the transaction ends, so that a vote is either in this count or accepted after it. The caller
    has ensured that the index is complete through the closing and that every voter was judged by the terms' rule.

    Raises EligibilityUnknown if a voter was not judged, and Conflict for more votes than 32 bits can count.
    """
    market_id, kind = closing.market_id, closing.kind
    log = await vote_log.OpenVoteLog.lock(connection, market_id)
    new = await rows.unlogged_onchain_votes(connection, market_id, kind, closing.closed_at)
    entries = [_onchain_entry(program_id, market_id, kind, vote) for vote in new]
    head = (await log.append(entries)).head
    all_voters = terms.rule.kind is RuleKind.OPEN
    counts = await rows.counts(connection, market_id, kind, head.size, all_voters=all_voters)
    if counts.unjudged:
        raise EligibilityUnknown(f"{counts.unjudged} voters of market {market_id} have not been judged yet.")
    if counts.tally.total > MAX_COUNT:
        raise Conflict(f"Market {market_id} has more votes than the program can count.")
    return LogCount(
        market_id=market_id,
        kind=kind,
        tally=counts.tally,
        unproven=counts.unproven,
        onchain=counts.onchain,
        not_counted=counts.not_counted,
        head=head,
        closing=closing,
        terms=terms,
    )


async def record(connection: Connection, counted: LogCount, threshold_bps: Bps) -> TallyRow:
    """Store a count as the vote's next tally, in the transaction that counted, and return the tally's row."""
    new = NewTally(
        market_id=counted.market_id,
        kind=counted.kind,
        tally=counted.tally,
        unproven=counted.unproven,
        onchain=counted.onchain,
        threshold_bps=threshold_bps,
        passed=counted.tally.passes(threshold_bps, counted.terms.min_votes),
        log_size=counted.head.size,
        log_root=counted.head.root,
        closed_at=counted.closing.closed_at,
        closed_slot=counted.closing.closed_slot,
        rule=counted.terms.rule.text,
        min_votes=counted.terms.min_votes,
        not_counted=counted.not_counted,
    )
    return await tallies.insert(connection, new)


async def take_tally(
    connection: Connection,
    program_id: Address,
    closing: VoteClosing,
    threshold_bps: Bps,
    terms: VotingTerms = OPEN_TO_ALL,
) -> TallyRow:
    """Count the log, as `count_log` does, and store the count as a tally, whatever the result."""
    counted = await count_log(connection, program_id, closing, terms)
    return await record(connection, counted, threshold_bps)


def memo_of(row: TallyRow) -> str:
    """Return the text of the memo that goes on chain with a tally's counts."""
    return TallyMemo(
        kind=row.kind,
        log_size=row.log_size,
        log_root=row.log_root.hex(),
        closed_at=row.closed_at,
        closed_slot=row.closed_slot,
        rule=row.rule,
    ).text()


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
    return LogEntry(channel=VoteChannel.ONCHAIN, statement=statement, proof=vote.signature)
