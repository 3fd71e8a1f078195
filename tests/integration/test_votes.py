"""Tests of votes: each is accepted once, after checks in the promised order, and every vote is in the log."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from kit.votes import (
    AUTHORITY,
    DISPUTE_S,
    FAR,
    NOW,
    PROGRAM,
    add_market,
    add_onchain_vote,
    closing,
    complete_index,
    policy,
    signed,
    statement_of,
    unsigned,
    vote_by_session,
    vote_signed,
)
from kit.wallets import address_of, market_id, wallet
from zmart.errors import ChainError, Conflict, Invalid, NotFound, Unauthenticated
from zmart.market.tally import Tally
from zmart.market.types import Address, Bps, ChainTime, MarketId, VoteKind, Wallet
from zmart.market.vote_entries import VoteChannel, parse_entry
from zmart.market.votes import STATEMENT_WINDOW_S
from zmart.proofs import merkle
from zmart.proofs.receipts import receipt_holds
from zmart.store import vote_closings, votes
from zmart.store.pool import Pool
from zmart.votes import vote_log
from zmart.votes.casting import cast_vote
from zmart.votes.command import ReadChainTime
from zmart.votes.tallying import memo_of, take_tally

MARKET = market_id(1)
SEVENTY = Bps(7000)


@pytest.fixture
async def pool(pool: Pool) -> Pool:
    await add_market(pool, MARKET)
    return pool


async def test_an_accepted_vote_is_a_row_an_entry_and_a_receipt_that_holds(pool: Pool) -> None:
    cast = await vote_signed(pool, MARKET, wallet(5))
    assert cast.row.proven
    assert cast.row.log_index == cast.receipt.index == 0
    assert receipt_holds(cast.receipt, address_of(AUTHORITY))
    page = await vote_log.page(pool, MARKET)
    assert (page.size, page.root) == (1, cast.receipt.root)
    entry = parse_entry(page.entries[0].encode())
    assert entry.channel is VoteChannel.STATEMENT
    assert merkle.leaf_hash(page.entries[0].encode()).hex() == cast.receipt.leaf_hash


async def test_second_vote_of_a_wallet_is_refused(pool: Pool) -> None:
    await vote_signed(pool, MARKET, wallet(5))
    with pytest.raises(Conflict, match="has cast"):
        await vote_signed(pool, MARKET, wallet(5), vote=False)
    assert await votes.counts(pool, MARKET) == {
        VoteKind.PROPOSAL: Tally(1, 0),
        VoteKind.DISPUTE: Tally(0, 0),
    }


async def test_a_wallet_that_voted_on_chain_cannot_vote_here_besides(pool: Pool) -> None:
    await add_onchain_vote(pool, MARKET, VoteKind.PROPOSAL, wallet(5), False)
    with pytest.raises(Conflict):
        await vote_signed(pool, MARKET, wallet(5))


async def test_checks_come_in_the_promised_order(pool: Pool) -> None:
    """A request with several faults is refused by the first check in the promised order.

    Each request here has all faults that the later checks would find.
    """
    kind = VoteKind.DISPUTE
    text = statement_of(wallet(5), MARKET, kind, True, NOW - timedelta(hours=1)).text()
    unknown = market_id(99)
    unknown_text = statement_of(wallet(5), unknown, kind, True, NOW - timedelta(hours=1)).text()

    async def cast(market: MarketId, statement: str) -> None:
        command = unsigned(wallet(5), market, True, kind)
        await cast_vote(pool, replace(command, statement=statement, signature="1" * 64), policy())

    with pytest.raises(Invalid, match="differs from the request"):
        await cast(MARKET, unknown_text)
    with pytest.raises(NotFound):
        await cast(unknown, unknown_text)
    with pytest.raises(Unauthenticated, match="minutes"):
        await cast(MARKET, text)
    await add_onchain_vote(pool, MARKET, kind, wallet(5), True)
    with pytest.raises(Conflict, match="has cast"):
        await cast(MARKET, text)


async def test_a_market_in_another_state_takes_no_vote(pool: Pool) -> None:
    await add_market(pool, market_id(2), "ACTIVE")
    with pytest.raises(Conflict, match="ACTIVE"):
        await vote_signed(pool, market_id(2), wallet(5))
    with pytest.raises(Conflict, match="PROPOSED"):
        await vote_signed(pool, MARKET, wallet(5), kind=VoteKind.DISPUTE)


@pytest.mark.parametrize("offset_s", [-STATEMENT_WINDOW_S - 1, STATEMENT_WINDOW_S + 1])
async def test_a_statement_outside_its_window_does_not_authenticate(pool: Pool, offset_s: int) -> None:
    command = signed(unsigned(wallet(5), MARKET), wallet(5), issued_at=NOW + timedelta(seconds=offset_s))
    with pytest.raises(Unauthenticated):
        await cast_vote(pool, command, policy())


async def test_somebody_elses_signature_does_not_authenticate(pool: Pool) -> None:
    with pytest.raises(Unauthenticated, match="signature"):
        await cast_vote(pool, signed(unsigned(wallet(5), MARKET), wallet(6)), policy())
    assert await vote_log.head(pool, MARKET) == vote_log.VoteLogHead(0, merkle.EMPTY_ROOT)


async def test_without_a_statement_a_vote_is_refused_or_marked_unproven(pool: Pool) -> None:
    command = unsigned(wallet(5), MARKET)
    with pytest.raises(Unauthenticated, match="statement"):
        await cast_vote(pool, command, policy())
    with pytest.raises(Invalid, match="together"):
        await cast_vote(pool, replace(command, signature="1" * 64), policy(statement_required=False))
    cast = await vote_by_session(pool, MARKET, wallet(5))
    assert not cast.row.proven
    async with pool.transaction() as connection:
        tally = await take_tally(connection, PROGRAM, closing(MARKET, VoteKind.PROPOSAL), SEVENTY)
    assert (tally.tally, tally.unproven) == (Tally(1, 0), 1)


async def test_a_statement_for_another_program_or_market_is_refused(pool: Pool) -> None:
    elsewhere = signed(unsigned(wallet(5), market_id(2)), wallet(5))
    with pytest.raises(Invalid, match="differs"):
        await cast_vote(pool, replace(elsewhere, market_id=MARKET), policy())
    other = Address("7h3gXfBfYFueFVLYyfL5Qo1QGsf4GQUfW96FKVgnUsJS")
    with pytest.raises(Invalid, match=PROGRAM):
        await cast_vote(
            pool, replace(signed(unsigned(wallet(5), MARKET), wallet(5)), program=other), policy()
        )


async def test_simultaneous_votes_of_many_wallets_leave_no_hole(pool: Pool) -> None:
    casts = await asyncio.gather(*(vote_signed(pool, MARKET, wallet(n)) for n in range(10, 40)))
    assert sorted(cast.row.log_index for cast in casts) == list(range(30))
    page = await vote_log.page(pool, MARKET)
    leaves = [merkle.leaf_hash(entry.encode()) for entry in page.entries]
    assert page.root == merkle.root(30, merkle.append(0, leaves, {})).hex()
    newest = max(casts, key=lambda cast: cast.receipt.tree_size)
    assert newest.receipt.root == page.root


async def test_simultaneous_votes_of_one_wallet_count_once(pool: Pool) -> None:
    tries = await asyncio.gather(
        *(vote_signed(pool, MARKET, wallet(5), vote=n % 2 == 0) for n in range(12)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Conflict) for outcome in tries) == 11
    assert (await vote_log.head(pool, MARKET)).size == 1


async def test_every_receipt_is_provable_against_every_later_head(pool: Pool) -> None:
    casts = [await vote_signed(pool, MARKET, wallet(n)) for n in range(10, 23)]
    for cast in casts:
        since = cast.receipt.tree_size
        proof = await vote_log.proof(pool, MARKET, cast.row.wallet, since)
        (entry,) = proof.entries
        root = bytes.fromhex(proof.root)
        path = [bytes.fromhex(step) for step in entry.path]
        leaf = merkle.leaf_hash(entry.entry.encode())
        assert merkle.verify_inclusion(leaf, entry.index, proof.tree_size, path, root)
        assert proof.consistency is not None
        assert proof.consistency.old_root == cast.receipt.root
        growth = [bytes.fromhex(step) for step in proof.consistency.path]
        old_root = bytes.fromhex(cast.receipt.root)
        assert merkle.verify_consistency(since, proof.tree_size, old_root, root, growth)


async def test_proofs_of_what_is_not_there_are_refused(pool: Pool) -> None:
    with pytest.raises(NotFound):
        await vote_log.proof(pool, MARKET, address_of(wallet(5)))
    await vote_signed(pool, MARKET, wallet(5))
    with pytest.raises(Invalid, match="since"):
        await vote_log.proof(pool, MARKET, address_of(wallet(5)), since=2)
    with pytest.raises(NotFound):
        await vote_log.proof(pool, MARKET, Wallet("nobody"))
    empty = await vote_log.proof(pool, MARKET, address_of(wallet(5)), since=0)
    assert empty.consistency is not None
    assert empty.consistency.old_root == merkle.EMPTY_ROOT.hex()


async def test_a_vote_on_chain_counts_instead_of_the_one_here(pool: Pool) -> None:
    await vote_signed(pool, MARKET, wallet(5), vote=True)
    await vote_signed(pool, MARKET, wallet(6), vote=True)
    await add_onchain_vote(pool, MARKET, VoteKind.PROPOSAL, wallet(5), False)
    assert (await votes.counts(pool, MARKET))[VoteKind.PROPOSAL] == Tally(1, 1)
    async with pool.transaction() as connection:
        tally = await take_tally(connection, PROGRAM, closing(MARKET, VoteKind.PROPOSAL), SEVENTY)
    assert (tally.tally, tally.onchain, tally.log_size, tally.passed) == (Tally(1, 1), 1, 3, False)
    entries = [parse_entry(entry.encode()) for entry in (await vote_log.page(pool, MARKET)).entries]
    assert [entry.channel for entry in entries] == [
        VoteChannel.STATEMENT,
        VoteChannel.STATEMENT,
        VoteChannel.ONCHAIN,
    ]


async def test_a_vote_on_chain_enters_the_log_once_and_only_when_it_is_final(pool: Pool) -> None:
    signature = await add_onchain_vote(pool, MARKET, VoteKind.PROPOSAL, wallet(5), True, "confirmed")
    sizes = []
    for finality in ("confirmed", "finalized", "finalized"):
        await pool.execute(
            "UPDATE chain_transactions SET finality = $2 WHERE signature = $1", signature, finality
        )
        async with pool.transaction() as connection:
            tally = await take_tally(connection, PROGRAM, closing(MARKET, VoteKind.PROPOSAL), SEVENTY)
        sizes.append((tally.round, tally.log_size, tally.tally))
    assert sizes == [(1, 0, Tally(0, 0)), (2, 1, Tally(1, 0)), (3, 1, Tally(1, 0))]


async def test_a_tally_counts_its_own_kind_and_names_the_log_it_counted(pool: Pool) -> None:
    await vote_signed(pool, MARKET, wallet(5))
    await pool.execute("UPDATE markets SET state = 'DISPUTED' WHERE market_id = $1", MARKET)
    await vote_signed(pool, MARKET, wallet(5), False, VoteKind.DISPUTE)
    await vote_signed(pool, MARKET, wallet(6), True, VoteKind.DISPUTE)
    async with pool.transaction() as connection:
        tally = await take_tally(connection, PROGRAM, closing(MARKET, VoteKind.DISPUTE), Bps(6000))
    head = await vote_log.head(pool, MARKET)
    assert tally.tally == Tally(1, 1)
    assert memo_of(tally) == f"zmart:tally:v2:dispute:3:{head.root.hex()}:{FAR}:7:open"


async def test_once_voting_is_over_the_log_takes_no_further_vote(pool: Pool) -> None:
    await add_market(pool, market_id(2), "DISPUTED")
    async with pool.transaction() as connection:
        await vote_closings.write(connection, closing(market_id(2), VoteKind.DISPUTE, voting_over=True))
    with pytest.raises(Conflict, match="voting is over"):
        await vote_signed(pool, market_id(2), wallet(7), True, VoteKind.DISPUTE)


async def cast_in_dispute(pool: Pool, read: ReadChainTime, voter: int = 7) -> None:
    command = signed(unsigned(wallet(voter), market_id(2), True, VoteKind.DISPUTE), wallet(voter))
    await cast_vote(pool, command, policy(chain_time=read))


async def dispute(pool: Pool) -> ChainTime:
    """Begin a dispute, and return the last second of its vote in chain time."""
    await add_market(pool, market_id(2), "DISPUTED")
    await pool.execute("UPDATE markets SET dispute_initiated_at = $2 WHERE market_id = $1", market_id(2), NOW)
    return ChainTime(int(NOW.timestamp()) + DISPUTE_S)


@pytest.mark.parametrize("index", ["stands still", "has never run"])
async def test_a_dispute_takes_no_vote_after_its_time_whatever_the_indexer_does(
    pool: Pool, index: str
) -> None:
    """P1: a dispute takes no vote after its last second by the chain's clock, whatever the indexer does.

    A vote in the last second is accepted; votes a second and an hour later are refused.
    """
    last = await dispute(pool)
    if index == "stands still":
        await complete_index(pool, PROGRAM, 7, last - 3600)
    times = iter([last, last + 1, last + 3600])

    async def read() -> ChainTime:
        return ChainTime(next(times))

    await cast_in_dispute(pool, read)
    for _ in range(2):
        with pytest.raises(Conflict, match="voting is over"):
            await cast_in_dispute(pool, read, 8)


async def test_a_dispute_takes_no_vote_while_nobody_knows_the_time_of_the_chain(pool: Pool) -> None:
    """While the RPC is unavailable a dispute takes votes only if an indexer runs, whose clock then decides."""
    last = await dispute(pool)

    async def unavailable() -> ChainTime:
        raise ChainError("The RPC did not answer in time.")

    with pytest.raises(ChainError, match="the chain's time is not known"):
        await cast_in_dispute(pool, unavailable)
    await complete_index(pool, PROGRAM, 7, last - 3600)
    await pool.execute("UPDATE index_progress SET scanned_at = now() - interval '1 minute'")
    with pytest.raises(ChainError, match="the chain's time is not known"):
        await cast_in_dispute(pool, unavailable)
    await pool.execute("UPDATE index_progress SET scanned_at = now()")
    await cast_in_dispute(pool, unavailable)
    await complete_index(pool, PROGRAM, 8, last + 1)
    await pool.execute("UPDATE index_progress SET final_time = $1", last + 1)
    with pytest.raises(Conflict, match="voting is over"):
        await cast_in_dispute(pool, unavailable, 8)


async def test_a_vote_is_in_the_tally_or_is_accepted_after_it(pool: Pool) -> None:
    async def tally() -> int:
        async with pool.transaction() as connection:
            row = await take_tally(connection, PROGRAM, closing(MARKET, VoteKind.PROPOSAL), SEVENTY)
        return row.tally.total

    voting = [vote_signed(pool, MARKET, wallet(n)) for n in range(10, 25)]
    counted, *casts = await asyncio.gather(tally(), *voting)
    assert counted == sum(1 for cast in casts if cast.row.log_index < counted)
    assert await tally() == 15
