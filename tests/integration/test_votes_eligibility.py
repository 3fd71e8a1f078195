"""A1: tests that wallets that cost nothing decide nothing, on a local chain, by both channels, and in a recount."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from solders.keypair import Keypair

from kit.decisions import Scene, zmart
from kit.votes import (
    vote_signed,
)
from kit.wallets import address_of
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError, EligibilityUnknown, IndexIncomplete, NotEligible
from zmart.local.chain.genesis import fund
from zmart.market.eligibility import Rule, VoteOpening, VoterFacts
from zmart.market.tally import Tally
from zmart.market.types import Lamports, MarketId, MarketState, VoteKind, Wallet
from zmart.proofs.tally_evidence import gather
from zmart.proofs.verify_receipts import verify_receipts
from zmart.proofs.verify_tally import TallyReport, Verdict, verify_tally
from zmart.proofs.voter_evidence import facts_about_voters
from zmart.proofs.voter_list import sign_list
from zmart.services.aggregator.service import Aggregator
from zmart.services.monitor.service import Monitor
from zmart.settings import Settings
from zmart.store import alerts, dispute_reviews, market_work, tallies, vote_rules, votes
from zmart.store.market_work import Job
from zmart.store.pool import Pool
from zmart.store.vote_rules import VotingTerms
from zmart.votes import eligibility
from zmart.votes.casting import AcceptedVote
from zmart.votes.eligibility import Voters
from zmart.votes.vote_log import read_log

if TYPE_CHECKING:
    from kit.servers import LocalChain

DISPUTE = VoteKind.DISPUTE
STAKED = {"vote_rule_disputes": "staked:50000000", "min_dispute_votes": 10}
HOUR_S = 3_600
LISTED_CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPBdG"


@pytest.fixture
async def scene(local_chain: LocalChain, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(local_chain, database_url, **STAKED) as opened:
        yield opened


def voters(scene: Scene, settings: Settings | None = None) -> Voters:
    return Voters(scene.pool, scene.chain.program, [scene.rpc], settings or scene.settings)


async def disputed(scene: Scene, traders: list[Keypair], lamports: int = 60_000_000) -> MarketId:
    """Return a disputed market in which `traders` had traded before the dispute."""
    market = await scene.active()
    for trader in traders:
        await fund(scene.rpc, address_of(trader), Lamports(10**10))
        await scene.buy(market, trader, lamports)
    await scene.travel(86_401)
    await scene.resolve(market)
    await scene.dispute([market])
    return market


async def vote(
    scene: Scene, market: MarketId, voter: Keypair, choice: bool, admit: Voters | None = None
) -> AcceptedVote:
    return await vote_signed(
        scene.pool, market, voter, choice, DISPUTE, datetime.now(UTC), scene.chain.program.address,
        scene.chain.keys.backend, (admit or voters(scene)).admit,
    )  # fmt: skip


async def vote_on_chain(scene: Scene, market: MarketId, voter: Keypair, choice: bool) -> None:
    await fund(scene.rpc, address_of(voter), Lamports(10**9))
    make = scene.chain.program.instructions.submit_dispute_vote
    await scene.send([make(address_of(voter), market, choice)], voter)


async def decide(scene: Scene, **settings: object) -> None:
    async with scene.context() as context:
        service = Monitor(scene.with_settings(**settings), context)
        await service.finalize_due()
        await service.finish()


async def add_config(scene: Scene) -> None:
    """Store GlobalConfig's keys, as the indexer does."""
    keys = (address_of(scene.chain.keys.admin), address_of(scene.chain.keys.backend))
    sql = "INSERT INTO program_config VALUES (1, $1, $2, 0, 0, 0, 0, 0, 0, 0, false, 0)"
    await scene.pool.execute(sql, *keys)


async def index_creation(scene: Scene, market: MarketId) -> None:
    """Store the event that opened a proposal's vote, as the indexer does."""
    tx = (await scene.transactions(market))[0]
    await scene.pool.execute(
        "INSERT INTO chain_events (signature, ordinal, slot, name, market_id, event) "
        "VALUES ($1, 0, $2, 'MarketCreated', $3, '{}')", tx.signature, tx.slot, market,
    )  # fmt: skip


async def verified(scene: Scene, market: MarketId, kind: VoteKind = DISPUTE) -> TallyReport:
    """Verify a tally from the chain and the vote log alone."""
    program = scene.chain.program
    evidence = await gather(scene.rpc, program, market)
    log = await read_log(scene.settings.require("database_url"), market)
    anchor = evidence.anchors[kind]
    facts_by_wallet = await facts_about_voters(
        scene.rpc, program, evidence, anchor, log, "http://127.0.0.1:1"
    )
    return verify_tally(evidence, anchor, log, facts_by_wallet)


async def test_three_hundred_fresh_key_pairs_decide_nothing(scene: Scene) -> None:
    """A1: 300 fresh wallets are refused by the backend and not counted on chain, and `verify` says why.

    The dispute ends as the stakeholders voted.
    """
    stakeholders, fresh = [Keypair() for _ in range(12)], [Keypair() for _ in range(300)]
    market = await disputed(scene, stakeholders)
    for voter in fresh:
        with pytest.raises(NotEligible, match=r"0\.05 SOL in markets of this program"):
            await vote(scene, market, voter, True)
    for number in range(0, 40, 8):
        await asyncio.gather(*(vote_on_chain(scene, market, v, True) for v in fresh[number : number + 8]))
    for stakeholder in stakeholders[:10]:
        await vote(scene, market, stakeholder, False)
    for stakeholder in stakeholders[10:]:
        await vote_on_chain(scene, market, stakeholder, False)
    await scene.index_votes(market)
    await voters(scene).judge_open()
    assert (await votes.counts(scene.pool, market))[DISPUTE] == Tally(0, 12)
    assert (await votes.not_counted(scene.pool, market))[DISPUTE] == 40
    await scene.travel(73 * HOUR_S)
    await decide(scene)
    account = await scene.account(market)
    assert (account.dispute_agree, account.dispute_disagree, account.final_outcome) == (0, 12, True)
    row = await tallies.latest(scene.pool, market, DISPUTE)
    assert row is not None
    assert (row.rule, row.min_votes, row.not_counted) == ("staked;50000000", 10, 40)
    assert ":staked;50000000" in (await scene.memos(market))[-1]
    report = await verified(scene, market)
    assert report.holds, [f.text for f in report.findings if f.verdict is Verdict.BROKEN]
    assert {voter.wallet for voter in report.not_counted} == {address_of(voter) for voter in fresh[:40]}
    assert {voter.reason for voter in report.not_counted} == {
        "The wallet had traded 0 SOL in markets of this program before the vote opened."
    }
    assert report.unknown_voters == []


async def test_trading_once_the_vote_is_open_helps_nobody(scene: Scene) -> None:
    """A1: a wallet that first trades while a vote is open, in any market, is refused; a later vote accepts it."""
    other, late = await scene.active(), await scene.rich()
    market = await disputed(scene, [])
    await scene.buy(other, late, 90_000_000)
    with pytest.raises(NotEligible, match="had traded 0 SOL"):
        await vote(scene, market, late, True)
    await scene.travel(10)
    second_result = await disputed(scene, [])
    assert (await vote(scene, second_result, late, True)).row.vote


async def test_an_index_that_is_not_complete_refuses_nobody(scene: Scene) -> None:
    """A1: while the index is incomplete no voter is refused: a trade that is not indexed yet is no missing trade."""
    trader = Keypair()
    market = await disputed(scene, [trader])
    await scene.pool.execute("DELETE FROM trades")
    await scene.pool.execute("UPDATE index_progress SET gap_free_through_time = 1")
    with pytest.raises(IndexIncomplete):
        await vote(scene, market, trader, True)
    assert not await votes.has_voted(scene.pool, market, DISPUTE, address_of(trader))


async def test_trades_that_are_not_folded_are_no_missing_trades(scene: Scene) -> None:
    """A1: while a market's events are not folded, a wallet that traded there is not refused for too few trades."""
    trader, stranger = Keypair(), Keypair()
    market = await disputed(scene, [trader])
    event = f'{{"user": "{address_of(trader)}", "timestamp": 1}}'
    await scene.pool.execute("DELETE FROM trades")
    await scene.pool.execute(
        "INSERT INTO chain_events (signature, ordinal, slot, name, market_id, event) "
        "VALUES ('s', 0, 9, 'SharesBought', $1, $2)", "ab" * 32, event,
    )  # fmt: skip
    await scene.pool.execute(
        "INSERT INTO market_folds (market_id, error, error_slot) VALUES ($1, 'impossible', 9)", "ab" * 32
    )
    with pytest.raises(EligibilityUnknown, match="not folded to their end"):
        await vote(scene, market, trader, True)
    with pytest.raises(NotEligible):
        await vote(scene, market, stranger, True)


async def test_the_count_judges_again_by_the_complete_index(scene: Scene) -> None:
    """A1: the count judges every vote again by the complete index: a vote that a forged trade let in has no weight."""
    trader, forger = Keypair(), Keypair()
    market = await disputed(scene, [trader])
    values = "'s', 0, market_id, $1, side, outcome, shares, cost_lamports, 0, 0, 0, 1, 1, 0, traded_at"
    await scene.pool.execute(f"INSERT INTO trades SELECT {values} FROM trades", address_of(forger))
    await vote(scene, market, forger, True)
    await vote(scene, market, trader, False)
    assert (await votes.counts(scene.pool, market))[DISPUTE] == Tally(1, 1)
    await scene.pool.execute("DELETE FROM trades WHERE signature = 's'")
    terms = await voters(scene).judge_all(market, DISPUTE)
    assert terms.rule == Rule.parse("staked;50000000")
    assert (await votes.counts(scene.pool, market))[DISPUTE] == Tally(0, 1)
    assert (await votes.not_counted(scene.pool, market))[DISPUTE] == 1


async def test_below_the_minimum_a_dispute_stays_open_and_alerts(scene: Scene) -> None:
    """A1: a dispute with too few counted votes stays open and raises an alert.

    Votes that do not count do not help.
    """
    trader = Keypair()
    market = await disputed(scene, [trader])
    await vote(scene, market, trader, True)
    await asyncio.gather(*(vote_on_chain(scene, market, Keypair(), True) for _ in range(10)))
    await scene.index_votes(market)
    await scene.travel(73 * HOUR_S)
    await decide(scene)
    [work] = await market_work.of_market(scene.pool, market)
    assert (work.job, work.status) == (Job.DISPUTE, "too few votes")
    [alert] = await alerts.open_alerts(scene.pool)
    assert "with 1 vote(s); it needs 10 that count" in alert.message


async def test_a_rule_is_fixed_with_the_vote_and_survives_a_restart(scene: Scene) -> None:
    market, stranger = await disputed(scene, []), Keypair()
    with pytest.raises(NotEligible):
        await vote(scene, market, stranger, True)
    relaxed = voters(scene, scene.with_settings(vote_rule_disputes="open", min_dispute_votes=1))
    with pytest.raises(NotEligible):
        await vote(scene, market, stranger, True, relaxed)
    assert await relaxed.terms(market, DISPUTE) == VotingTerms(Rule.parse("staked;50000000"), 10)
    other = await disputed(scene, [])
    assert (await vote(scene, other, stranger, True, relaxed)).receipt.rule == "open"
    assert await vote_rules.of_market(scene.pool, other) == {DISPUTE: VotingTerms(Rule.parse("open"), 1)}


async def test_what_the_rpc_does_not_say_lets_nobody_in_and_refuses_nobody(scene: Scene) -> None:
    """A1: a `funded` vote without an RPC, or before its opening is indexed, is neither accepted nor refused."""
    market, stranger = await disputed(scene, []), Keypair()
    funded = scene.with_settings(vote_rule_disputes="funded:50000000")
    blind = Voters(scene.pool, scene.chain.program, [], funded)
    with pytest.raises(EligibilityUnknown, match="SOLANA_RPC_URL"):
        await vote(scene, market, stranger, True, blind)
    with pytest.raises(EligibilityUnknown, match="does not know yet when"):
        await voters(scene, funded).admit(MarketId("ab" * 32), DISPUTE, address_of(stranger))


async def test_a_list_is_checked_and_kept(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A1: a list of voters needs the CID that the rule names and the signature of a key in GlobalConfig.

    It is fetched once.
    """
    market, member, stranger = await disputed(scene, []), Keypair(), Keypair()
    program, keys = scene.chain.program.address, scene.chain.keys
    signed = sign_list(program, [address_of(member)], keys.admin)
    forged = sign_list(program, [address_of(stranger)], stranger)
    served = {signed.cid: signed.encode(), forged.cid: forged.encode()}

    async def fetch(_url: str, cid: str, *, max_bytes: int) -> bytes:
        return served.pop(cid)  # a second fetch would fail

    monkeypatch.setattr("zmart.votes.lists.fetch_from_gateway", fetch)
    await add_config(scene)
    listed = voters(scene, scene.with_settings(vote_rule_disputes=f"listed:{signed.cid}"))
    assert (await vote(scene, market, member, True, listed)).row.vote
    with pytest.raises(NotEligible, match="next list"):
        await vote(scene, market, stranger, True, listed)
    other = await disputed(scene, [])
    wrong = voters(scene, scene.with_settings(vote_rule_disputes=f"listed:{forged.cid}"))
    with pytest.raises(EligibilityUnknown, match="neither as backend authority nor as admin"):
        await vote(scene, other, stranger, True, wrong)


async def test_a_list_that_hangs_holds_up_no_other_market(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A1: anyone can vote on chain under the rule `listed`. Proposals are decided while the list is being fetched.

    The list is fetched once for all disputes, and a vote is answered with what to do.
    """
    requested, given_up = [], []

    async def hang(_url: str, cid: str, *, max_bytes: int) -> bytes:
        requested.append(cid)
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append(cid)
        return b""

    monkeypatch.setattr("zmart.votes.lists.fetch_from_gateway", hang)
    await add_config(scene)
    settings = {"vote_rule_disputes": f"listed:{LISTED_CID}"}
    for _ in range(3):
        market = await disputed(scene, [])
        await vote_on_chain(scene, market, Keypair(), True)
        await scene.index_votes(market)
    proposal = await scene.market()
    await scene.vote(proposal, yes=7, no=3)
    async with scene.context(**settings) as context, asyncio.timeout(30):
        service = Aggregator(scene.with_settings(**settings), context, None)
        await service.decide_due()
        await service._workers.drain()
        assert await scene.state(proposal) is MarketState.APPROVED
        with pytest.raises(EligibilityUnknown, match="is being fetched: try again in some seconds"):
            await service._voters.admit(market, DISPUTE, address_of(Keypair()))
        await service._judging.finish()
        await service._voters.aclose()  # as at a shutdown
    assert (requested, given_up) == ([LISTED_CID], [LISTED_CID])


async def test_a_listed_vote_is_verified_by_the_command(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A1: `zmart votes list-sign` signs a list of voters, and `zmart verify tally` checks the votes by that list."""
    members = [Keypair() for _ in range(10)]
    lines, saved = tmp_path / "wallets.txt", tmp_path / "list.txt"
    lines.write_text("\n".join(address_of(member) for member in members))
    status, answer = await zmart(scene, "votes", "list-sign", str(lines), str(saved), "--signer", "admin")
    assert status == 0, answer
    cid = answer.split()[0]

    async def fetch(_url: str, _cid: str, *, max_bytes: int) -> bytes:
        return saved.read_bytes()

    monkeypatch.setattr("zmart.votes.lists.fetch_from_gateway", fetch)
    await add_config(scene)
    listed = {"vote_rule_disputes": f"listed:{cid}"}
    market, outsider = await disputed(scene, []), Keypair()
    for member in members:
        await vote(scene, market, member, True, voters(scene, scene.with_settings(**listed)))
    await vote_on_chain(scene, market, outsider, False)
    await scene.index_votes(market)
    await scene.travel(73 * HOUR_S)
    await decide(scene, **listed)
    assert (await scene.account(market)).dispute_agree == 10
    tally = ("verify", "tally", market, "--database")
    status, answer = await zmart(scene, *tally, "--voter-list", str(saved))
    assert f"  {address_of(outsider)}: The wallet does not stand in the list." in answer
    assert "Counted again: 10 for, 0 against, as went on chain." in answer
    without = json.loads((await zmart(scene, *tally, "--gateway", "http://127.0.0.1:1", "--json"))[1])
    report = next(result for result in without if result["kind"] == "dispute")
    assert report["holds"]
    assert len(report["unknown_voters"]) == 11


async def test_a_funded_proposal_is_verified_from_the_chain(scene: Scene) -> None:
    """A1: a wallet that held the lamports when the market was created counts; one that got them later does not."""
    holder, late = Keypair(), Keypair()
    await scene.pay(scene.creator, holder, 50_000_000)
    await scene.travel(10)
    market = await scene.market()
    await scene.travel(10)
    await scene.pay(scene.creator, late, 90_000_000)
    settings = scene.with_settings(vote_rule_proposals="funded:50000000")
    kind, build = VoteKind.PROPOSAL, scene.chain.program.instructions
    await index_creation(scene, market)
    with pytest.raises(NotEligible, match="held 0 SOL before the vote opened"):
        await voters(scene, settings).admit(market, kind, address_of(late))
    await vote_signed(
        scene.pool, market, holder, True, kind, datetime.now(UTC), scene.chain.program.address,
        scene.chain.keys.backend, voters(scene, settings).admit,
    )  # fmt: skip
    await scene.send([build.submit_proposal_vote(address_of(late), market, False)], late)
    await scene.index_votes(market)
    async with scene.context() as context:
        service = Aggregator(settings, context, None)
        await service.decide_due()
        await service.finish()
    account = await scene.account(market)
    assert (account.proposal_likes, account.proposal_dislikes) == (1, 0)
    report = await verified(scene, market, kind)
    assert report.holds, [f.text for f in report.findings if f.verdict is Verdict.BROKEN]
    assert [(voter.wallet, voter.reason) for voter in report.not_counted] == [
        (address_of(late), "The wallet held 0 SOL before the vote opened.")
    ]


async def test_a_rule_that_was_changed_is_proven_by_a_receipt(scene: Scene) -> None:
    """A1: if the rule of an open vote is loosened in the database, the receipts that were given prove it."""
    traders = [Keypair() for _ in range(2)]
    market = await disputed(scene, traders)
    receipts = [(await vote(scene, market, trader, True)).receipt for trader in traders]
    await scene.pool.execute("UPDATE vote_rules SET rule = 'open', min_votes = 1")
    await scene.travel(73 * HOUR_S)
    await decide(scene)
    evidence = await gather(scene.rpc, scene.chain.program, market)
    log = await read_log(scene.settings.require("database_url"), market)
    memo = evidence.anchors[DISPUTE].memo
    assert memo is not None
    assert memo.rule == "open"
    authority = evidence.config.backend_authority
    findings = verify_receipts(receipts, log, evidence.program, market, authority, {DISPUTE: "open"})
    assert next(f.text for f in findings if f.verdict is Verdict.BROKEN).endswith("counted by open.")


async def test_an_operator_releases_a_result_by_the_command(scene: Scene) -> None:
    market = await disputed(scene, [])
    await dispute_reviews.request(scene.pool, market, ["The result is close."])
    status, answer = await zmart(scene, "decisions", "reviews")
    assert (status, f"{market} " in answer, "waits. The result is close." in answer) == (0, True, True)
    release = ("decisions", "release", market, "--note", "We know them.", "--by", "ada")
    assert (await zmart(scene, *release))[0] == 0
    status, answer = await zmart(scene, *release)
    assert (status, "waits for review" in answer) == (1, True)
    stored = await dispute_reviews.find(scene.pool, market)
    assert stored is not None
    assert (stored.released_by, stored.note) == ("command line: ada", "We know them.")


UNKNOWN, HELD = VoterFacts(why_unknown="it keeps no history"), VoterFacts(held=Lamports(7))


@pytest.mark.parametrize(
    ("shown", "asked", "facts"),
    [
        ([HELD, UNKNOWN], 1, HELD),
        ([UNKNOWN, HELD], 2, HELD),
        ([ChainError("503"), HELD], 2, HELD),
        ([UNKNOWN, ChainError("503")], 2, VoterFacts(why_unknown="503")),
    ],
)
async def test_what_a_wallet_held_is_read_from_one_endpoint_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, shown: list[VoterFacts | ChainError], asked: int, facts: VoterFacts
) -> None:
    """That one node lists no transaction of a wallet proves nothing about the history that another node keeps."""
    rpcs, seen = [SimpleNamespace(number=n, is_paused=False) for n in range(2)], []

    async def held_before(rpc: SimpleNamespace, *_: object) -> VoterFacts:
        seen.append(rpc)
        answer = shown[rpcs.index(rpc)]
        if isinstance(answer, ChainError):
            raise answer
        return answer

    monkeypatch.setattr(eligibility, "held_before", held_before)
    voters = Voters(
        cast("Pool", None), cast("Program", None), cast("list[Rpc]", rpcs), cast("Settings", None)
    )
    opening = cast("VoteOpening", None)
    assert await voters._held(Wallet("1" * 32), opening, asyncio.Semaphore(1)) == facts
    assert seen == rpcs[:asked]
