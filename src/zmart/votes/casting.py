"""Accept a vote: check it, write it to the log and the table in one transaction, and return a receipt."""

from __future__ import annotations

import msgspec

from zmart.errors import Conflict, NotFound
from zmart.market.eligibility import Rule
from zmart.market.types import ChainTime, MarketId, MarketState, VoteKind, Wallet
from zmart.market.vote_entries import LogEntry
from zmart.proofs.receipts import VoteReceipt, sign_receipt
from zmart.store import vote_judgements, votes
from zmart.store.pool import Connection, Pool
from zmart.store.votes import NewVote, VoteRow
from zmart.votes import metrics
from zmart.votes.admission import Admission
from zmart.votes.authentication import authenticate, read_statement
from zmart.votes.chain_time import chain_time
from zmart.votes.command import AcceptancePolicy, CastVote
from zmart.votes.vote_log import AppendedEntries, OpenVoteLog

_STATE_FOR = {VoteKind.PROPOSAL: MarketState.PROPOSED, VoteKind.DISPUTE: MarketState.DISPUTED}


class AcceptedVote(msgspec.Struct, frozen=True):
    """The row of an accepted vote and the receipt for its voter."""

    row: VoteRow
    receipt: VoteReceipt


async def refuse_second_vote(pool: Pool, market_id: MarketId, kind: VoteKind, wallet: Wallet) -> None:
    """Raise Conflict if the wallet has voted, off chain or on chain: a second vote is refused, signed or not."""
    if await votes.has_voted(pool, market_id, kind, wallet):
        raise _second_vote(kind, wallet)


async def cast_vote(pool: Pool, command: CastVote, policy: AcceptancePolicy) -> AcceptedVote:
    """Check a vote, store it, and return its row and receipt.

    The checks are made in this order: the statement agrees with the command (else Invalid), the market exists
    (NotFound), the wallet has not voted (Conflict), the wallet has signed (Unauthenticated), the market is in the state
    for this vote (Conflict), the wallet may vote (what `policy.admit` raises: NotEligible, EligibilityUnknown,
    IndexIncomplete), the vote has not ended (Conflict; ChainError if the chain's time is not known).
    """
    statement = read_statement(command)
    state = await votes.market_state(pool, command.market_id)
    if state is None:
        raise NotFound(f"There is no market {command.market_id}.")
    await refuse_second_vote(pool, command.market_id, command.kind, command.wallet)
    entry = authenticate(command, statement, statement_required=policy.statement_required)
    needed = _STATE_FOR[command.kind].name
    if state != needed:
        raise Conflict(f"A {command.kind.value} vote needs a market in {needed}; this one is {state}.")
    admission = await policy.admit(command.market_id, command.kind, command.wallet)
    time = await chain_time(pool, policy) if command.kind is VoteKind.DISPUTE else None
    async with pool.transaction() as connection:
        row, appended = await _write(connection, command, entry, admission, policy.dispute_voting_s, time)
    metrics.accepted.labels(command.kind.value).inc()
    receipt = _receipt(command, admission.rule, appended)
    return AcceptedVote(row, sign_receipt(receipt, policy.receipt_signer))


async def _write(
    connection: Connection,
    command: CastVote,
    entry: LogEntry,
    admission: Admission,
    dispute_voting_s: int,
    time: ChainTime | None,
) -> tuple[VoteRow, AppendedEntries]:
    market_id, kind = command.market_id, command.kind
    log = await OpenVoteLog.lock(connection, market_id)  # before the time is checked
    if await votes.voting_closed(connection, market_id, kind, dispute_voting_s, time):
        raise Conflict(f"The time to vote on this {kind.value} has ended: voting is over.")
    if admission.judgement is not None:  # before the vote, which counts by this judgement
        await vote_judgements.write(connection, market_id, kind, admission.opened_at, [admission.judgement])
    row = await votes.insert(connection, _new_vote(command, entry, log.size))
    if row is None:
        raise _second_vote(kind, command.wallet)
    return row, await log.append([entry])


def _new_vote(command: CastVote, entry: LogEntry, log_index: int) -> NewVote:
    return NewVote(
        market_id=command.market_id,
        kind=command.kind,
        wallet=command.wallet,
        vote=command.vote,
        statement=command.statement,
        signature=entry.proof,
        log_index=log_index,
        created_at=command.received_at,
    )


def _receipt(command: CastVote, rule: Rule, appended: AppendedEntries) -> VoteReceipt:
    return VoteReceipt(
        program=command.program,
        market_id=command.market_id,
        index=appended.first_index,
        leaf_hash=appended.leaf_hashes[0].hex(),
        tree_size=appended.head.size,
        root=appended.head.root.hex(),
        rule=rule.text,
    )


def _second_vote(kind: VoteKind, wallet: Wallet) -> Conflict:
    return Conflict(f"{wallet} has cast its {kind.value} vote on this market.")
