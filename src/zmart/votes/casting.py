"""Accepting a vote: checked, written into the log and into the table, with a receipt, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec
from solders.keypair import Keypair

from zmart.errors import Conflict, Invalid, NotFound, Unauthenticated
from zmart.market.eligibility import OPEN, Rule
from zmart.market.types import Address, ChainTime, MarketId, MarketState, VoteKind, Wallet
from zmart.market.vote_entries import LogEntry, VoteChannel
from zmart.market.votes import STATEMENT_WINDOW_S, Statement, parse_statement
from zmart.proofs.receipts import Receipt, sign_receipt
from zmart.proofs.signatures import signed_text
from zmart.store import vote_judgements, votes
from zmart.store.pool import Pool
from zmart.store.vote_judgements import VoterJudgement
from zmart.store.votes import NewVote, VoteRow
from zmart.votes.vote_log import Appended, OpenLog

_STATE_FOR = {VoteKind.PROPOSAL: MarketState.PROPOSED, VoteKind.DISPUTE: MarketState.DISPUTED}


class Admission(msgspec.Struct, frozen=True):
    """A wallet that may vote under `rule`; `judgement` is what it was judged by for a vote that opened then, None where
    everybody may vote."""

    rule: Rule
    opened_at: ChainTime = ChainTime(0)
    judgement: VoterJudgement | None = None


Admit = Callable[[MarketId, VoteKind, Wallet], Awaitable[Admission]]


async def admit_everybody(_market: MarketId, _kind: VoteKind, _wallet: Wallet) -> Admission:
    """The rule `open`."""
    return Admission(OPEN)


class CastVote(msgspec.Struct, frozen=True):
    row: VoteRow
    receipt: Receipt


class _Ballot(msgspec.Struct, frozen=True, kw_only=True):
    program_id: Address
    market_id: MarketId
    kind: VoteKind
    vote: bool
    wallet: Wallet
    statement: str | None
    signature: str | None

    def as_statement(self, issued_ms: int) -> Statement:
        return Statement(
            program=self.program_id,
            market_id=self.market_id,
            kind=self.kind,
            vote=self.vote,
            wallet=self.wallet,
            issued_ms=issued_ms,
        )


async def already_voted(pool: Pool, market_id: MarketId, kind: VoteKind, wallet: Wallet) -> bool:
    """Whether the wallet has voted, here or on chain: a second vote is a conflict, even an unsigned one."""
    return await votes.has_voted(pool, market_id, kind, wallet)


async def cast_vote(
    pool: Pool,
    program_id: Address,
    market_id: MarketId,
    kind: VoteKind,
    vote: bool,
    wallet: Wallet,
    statement: str | None,
    signature: str | None,
    now: datetime,
    require_statement: bool,
    dispute_s: int,
    authority: Keypair | None = None,
    admit: Admit = admit_everybody,
) -> CastVote:
    """Accept the vote of `wallet`. Without a statement the caller must have authenticated the wallet, and the
    vote is unproven. `authority`, the backend's key, signs the receipt; `now` is aware and our own clock's; a dispute
    is voted on for `dispute_s` seconds of chain time.

    Checks, in this order: the statement says what the request says (Invalid), the market exists (NotFound), the
    wallet has not voted (Conflict), the wallet signed (Unauthenticated), the market is voted on (Conflict), the wallet
    may vote (what `admit` raises: NotEligible, EligibilityUnknown, IndexIncomplete).
    """
    ballot = _Ballot(
        program_id=program_id,
        market_id=market_id,
        kind=kind,
        vote=vote,
        wallet=wallet,
        statement=statement,
        signature=signature,
    )
    said = _read(ballot)
    state = await votes.market_state(pool, market_id)
    if state is None:
        raise NotFound(f"There is no market {market_id}.")
    if await votes.has_voted(pool, market_id, kind, wallet):
        raise _has_voted(ballot)
    entry = _authenticated(ballot, said, now, require_statement)
    if state != _STATE_FOR[kind].name:
        raise Conflict(f"A {kind.value} vote needs a market in {_STATE_FOR[kind].name}; this one is {state}.")
    admission = await admit(market_id, kind, wallet)
    return await _accept(pool, ballot, entry, admission, now, dispute_s, authority)


def _read(ballot: _Ballot) -> Statement | None:
    """The statement, if one came along. Raises Invalid when it differs from the request around it."""
    if ballot.statement is None and ballot.signature is None:
        return None
    if ballot.statement is None or ballot.signature is None:
        missing = "statement" if ballot.statement is None else "signature"
        raise Invalid(missing, "A vote is proven by a statement and its signature together.")
    said = parse_statement(ballot.statement)
    wanted = ballot.as_statement(said.issued_ms)
    if said != wanted:
        lines = zip(said.text().splitlines(), wanted.text().splitlines(), strict=True)
        differences = "; ".join(f"{a!r}, not {b!r}" for a, b in lines if a != b)
        raise Invalid("statement", f"The statement differs from the request: it says {differences}.")
    return said


def _authenticated(
    ballot: _Ballot, said: Statement | None, now: datetime, require_statement: bool
) -> LogEntry:
    now_ms = int(now.timestamp() * 1000)
    if said is None or ballot.signature is None:
        if require_statement:
            raise Unauthenticated(
                "A vote needs a statement signed by the wallet: send statement and signature."
            )
        return LogEntry(channel=VoteChannel.SESSION, statement=ballot.as_statement(now_ms))
    if abs(now_ms - said.issued_ms) > STATEMENT_WINDOW_S * 1000:
        raise Unauthenticated(
            f"The statement was issued more than {STATEMENT_WINDOW_S // 60} minutes from now: sign a new one."
        )
    if not signed_text(ballot.wallet, said.text(), ballot.signature, ballot.program_id):
        raise Unauthenticated(f"The signature over the statement is not that of {ballot.wallet}.")
    return LogEntry(channel=VoteChannel.STATEMENT, statement=said, proof=ballot.signature)


async def _accept(
    pool: Pool,
    ballot: _Ballot,
    entry: LogEntry,
    admission: Admission,
    now: datetime,
    dispute_s: int,
    authority: Keypair | None,
) -> CastVote:
    async with pool.transaction() as connection:
        log = await OpenLog.hold(connection, ballot.market_id)  # before anything is judged
        if await votes.voting_closed(connection, ballot.market_id, ballot.kind, dispute_s):
            raise Conflict(f"The time to vote on this {ballot.kind.value} has ended: voting is over.")
        new = NewVote(
            market_id=ballot.market_id,
            kind=ballot.kind,
            wallet=ballot.wallet,
            vote=ballot.vote,
            statement=ballot.statement,
            signature=ballot.signature,
            log_index=log.size,
            created_at=now,
        )
        if admission.judgement is not None:  # before the vote, which counts by it
            judged = (ballot.market_id, ballot.kind, admission.opened_at, [admission.judgement])
            await vote_judgements.write(connection, *judged)
        row = await votes.insert(connection, new)
        if row is None:
            raise _has_voted(ballot)
        appended = await log.append([entry])
    return CastVote(row, sign_receipt(_receipt(ballot, admission.rule, appended), authority))


def _receipt(ballot: _Ballot, rule: Rule, appended: Appended) -> Receipt:
    return Receipt(
        program=ballot.program_id,
        market_id=ballot.market_id,
        index=appended.first_index,
        leaf_hash=appended.leaf_hashes[0].hex(),
        tree_size=appended.head.size,
        root=appended.head.root.hex(),
        rule=rule.text,
    )


def _has_voted(ballot: _Ballot) -> Conflict:
    return Conflict(f"{ballot.wallet} has cast its {ballot.kind.value} vote on this market.")
