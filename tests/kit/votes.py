"""Helpers of the tests of votes, tallies and decisions: markets' rows, signed statements, accepted votes."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from solders.keypair import Keypair

from kit import rows
from kit.wallets import address_of, market_address, wallet
from zmart.market.fold_state import FoldedVote
from zmart.market.types import Address, ChainTime, MarketId, Slot, VoteKind
from zmart.market.vote_entries import LogEntry, VoteChannel
from zmart.market.votes import Statement
from zmart.store.pool import Pool
from zmart.store.vote_closings import VoteClosing
from zmart.votes import vote_log
from zmart.votes.admission import Admit, admit_all
from zmart.votes.casting import AcceptedVote, cast_vote
from zmart.votes.command import AcceptancePolicy, CastVote, ReadChainTime, index_alone

PROGRAM = Address("6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw")
AUTHORITY = Keypair.from_seed(b"backend authority".ljust(32, b"."))
DISPUTE_S = 72 * 3600
"""Seconds for which a dispute is voted on in these tests."""

NOW = datetime(2025, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)

_VOTES = """
INSERT INTO votes (market_id, kind, wallet, choice, proven, statement, signature, log_index, created_at)
SELECT $1, $2, v.wallet, CASE WHEN v.vote THEN 'for' ELSE 'against' END, v.signature IS NOT NULL,
    v.statement, v.signature, $3 + v.n - 1, $4
FROM unnest($5::text[], $6::boolean[], $7::text[], $8::text[])
     WITH ORDINALITY AS v (wallet, vote, statement, signature, n)
"""


async def add_market(
    pool: Pool,
    market: MarketId,
    state: str = "PROPOSED",
    *,
    address: str | None = None,
    created_at: datetime = NOW,
    proposed_at: datetime | None = None,
    disputed_at: datetime | None = None,
    was_disputed: bool = False,
) -> None:
    market_row = rows.market_fold(
        market, state, address=address or market_address(market), created_at=created_at,
        resolution_proposed_at=proposed_at, dispute_initiated_at=disputed_at, was_disputed=was_disputed,
    )  # fmt: skip
    await rows.add_markets(pool, [market_row])


FAR = 2**40
"""A slot and a chain time that no test reaches."""


async def complete_index(pool: Pool, program: Address, slot: int = FAR, time: int = FAR) -> None:
    """Write that the index is complete through `slot` and chain time `time`; by default, further than any test gets."""
    await rows.index_through(pool, program, slot, time)


def closing(
    market: MarketId, kind: VoteKind, closed_at: int = FAR, *, log_size: int = 0, voting_over: bool = False
) -> VoteClosing:
    """Return a vote's closing: the chain time through which votes count; by default, all votes do."""
    return VoteClosing(
        market_id=market,
        kind=kind,
        closed_at=ChainTime(closed_at),
        closed_slot=Slot(7),
        log_size=log_size,
        voting_over=voting_over,
    )


async def add_onchain_vote(
    pool: Pool, market: MarketId, kind: VoteKind, voter: Keypair, vote: bool, finality: str = "finalized"
) -> str:
    """Write a vote that was cast on chain, as the indexer would; return its transaction's signature."""
    signature = str(voter.sign_message(f"{market}{kind}".encode()))
    cast = FoldedVote(
        market_id=market, kind=kind, wallet=address_of(voter), vote=vote, signature=signature, slot=7,
        voted_at=rows.chain_time(NOW),
    )  # fmt: skip
    await rows.add_onchain_vote(pool, cast, finality)
    return signature


def statement_of(
    voter: Keypair,
    market: MarketId,
    kind: VoteKind,
    vote: bool,
    at: datetime = NOW,
    program: Address = PROGRAM,
) -> Statement:
    return Statement(
        program=program,
        market_id=market,
        kind=kind,
        vote=vote,
        wallet=address_of(voter),
        issued_ms=int(at.timestamp() * 1000),
    )


def unsigned(
    voter: Keypair,
    market: MarketId,
    vote: bool = True,
    kind: VoteKind = VoteKind.PROPOSAL,
    at: datetime = NOW,
    program: Address = PROGRAM,
) -> CastVote:
    """Return the command to cast a vote without a statement."""
    return CastVote(
        program=program, market_id=market, kind=kind, vote=vote, wallet=address_of(voter), received_at=at
    )


def signed(command: CastVote, signer: Keypair, issued_at: datetime | None = None) -> CastVote:
    """Return the command with its statement, signed by `signer`; by default, it is issued when it is received."""
    issued_ms = int((issued_at or command.received_at).timestamp() * 1000)
    text = command.statement_at(issued_ms).text()
    return msgspec.structs.replace(command, statement=text, signature=str(signer.sign_message(text.encode())))


def policy(
    *,
    statement_required: bool = True,
    authority: Keypair | None = AUTHORITY,
    admit: Admit = admit_all,
    chain_time: ReadChainTime = index_alone,
) -> AcceptancePolicy:
    return AcceptancePolicy(
        statement_required=statement_required,
        dispute_voting_s=DISPUTE_S,
        receipt_signer=authority,
        admit=admit,
        chain_time=chain_time,
    )


async def vote_signed(
    pool: Pool,
    market: MarketId,
    voter: Keypair,
    vote: bool = True,
    kind: VoteKind = VoteKind.PROPOSAL,
    at: datetime = NOW,
    program: Address = PROGRAM,
    authority: Keypair = AUTHORITY,
    admit: Admit = admit_all,
) -> AcceptedVote:
    command = signed(unsigned(voter, market, vote, kind, at, program), voter)
    return await cast_vote(pool, command, policy(authority=authority, admit=admit))


async def vote_by_session(
    pool: Pool,
    market: MarketId,
    voter: Keypair,
    vote: bool = True,
    kind: VoteKind = VoteKind.PROPOSAL,
    at: datetime = NOW,
    program: Address = PROGRAM,
) -> AcceptedVote:
    command = unsigned(voter, market, vote, kind, at, program)
    return await cast_vote(pool, command, policy(statement_required=False))


async def vote_in_bulk(
    pool: Pool,
    market: MarketId,
    choices: list[bool],
    kind: VoteKind = VoteKind.PROPOSAL,
    *,
    at: datetime = NOW,
    program: Address = PROGRAM,
    start: int = 1_000,
    signed: bool = True,
    triggers: bool = True,
) -> None:
    """Write a vote of one wallet for each of `choices` in one transaction, with the rows that cast_vote would write."""
    voters = [wallet(start + n) for n in range(len(choices))]
    entries = [
        _entry(voter, statement_of(voter, market, kind, vote, at, program), signed)
        for voter, vote in zip(voters, choices, strict=True)
    ]
    async with pool.transaction() as connection:
        if not triggers:
            await connection.execute("SET LOCAL session_replication_role = replica")
        log = await vote_log.OpenVoteLog.lock(connection, market)
        first = (await log.append(entries)).first_index
        await connection.execute(
            _VOTES,
            market,
            kind.value,
            first,
            at,
            [entry.statement.wallet for entry in entries],
            choices,
            [entry.statement.text() if signed else None for entry in entries],
            [entry.proof for entry in entries],
        )


def _entry(voter: Keypair, statement: Statement, signed: bool) -> LogEntry:
    if not signed:
        return LogEntry(channel=VoteChannel.SESSION, statement=statement)
    proof = str(voter.sign_message(statement.text().encode()))
    return LogEntry(channel=VoteChannel.STATEMENT, statement=statement, proof=proof)
