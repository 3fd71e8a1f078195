"""Tests of what `zmart verify tally` finds in a sound vote log and in every kind of broken one."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from solders.keypair import Keypair

from kit.decisions import Scene, zmart
from kit.votes import add_onchain_vote, vote_by_session, vote_signed
from kit.wallets import address_of
from zmart.chain.rpc import Rpc
from zmart.local.chain.genesis import fund
from zmart.market.tally import Tally
from zmart.market.types import Lamports, MarketId, VoteKind
from zmart.proofs.tally_evidence import Evidence, gather
from zmart.proofs.verify_tally import TallyReport, Verdict, verify_tally
from zmart.services.aggregator.service import Aggregator
from zmart.services.monitor.service import Monitor
from zmart.votes import vote_log
from zmart.votes.vote_log import read_log


@pytest.fixture
async def counted(scene: Scene) -> MarketId:
    """Return a market approved by three signed votes, one on chain (against), and one that only a session proves."""
    market, program = await scene.market(), scene.chain.program
    await scene.vote(market, yes=3)
    session, voter = Keypair(), Keypair()
    from datetime import UTC, datetime

    now, kind = datetime.now(UTC), VoteKind.PROPOSAL
    await vote_by_session(scene.pool, market, session, True, kind, now, program.address)
    await vote_signed(scene.pool, market, voter, True, kind, now, program.address)
    await fund(scene.rpc, address_of(voter), Lamports(10**9))
    await scene.send([program.instructions.submit_proposal_vote(address_of(voter), market, False)], voter)
    await add_onchain_vote(scene.pool, market, kind, voter, False)
    async with scene.context() as context:
        service = Aggregator(scene.settings, context, None)
        await service.decide_due()
        await service.finish()
    return market


async def evidence_of(scene: Scene, market: MarketId) -> Evidence:
    async with Rpc([scene.chain.rpc_url]) as rpc:
        return await gather(rpc, scene.chain.program, market)


async def log_of(scene: Scene, market: MarketId) -> list[bytes]:
    return await read_log(scene.settings.require("database_url"), market)


def broken(report: TallyReport) -> list[str]:
    return [finding.text for finding in report.findings if finding.verdict is Verdict.BROKEN]


async def test_a_sound_tally_holds_and_says_what_is_unproven(scene: Scene, counted: MarketId) -> None:
    evidence = await evidence_of(scene, counted)
    report = verify_tally(evidence, evidence.anchors[VoteKind.PROPOSAL], await log_of(scene, counted))
    assert report.holds, broken(report)
    assert report.tally == Tally(4, 1)
    notes = [finding.text for finding in report.findings if finding.verdict is Verdict.NOTE]
    assert "1 of 5 votes are unproven: only the backend says so." in notes


async def test_a_settled_dispute_holds(scene: Scene) -> None:
    market = await scene.disputed()
    await scene.vote(market, 3, 2, VoteKind.DISPUTE)
    await scene.travel(72 * 3600 + 60)
    async with scene.context() as context:
        service = Monitor(scene.settings, context)
        await service.finalize_due()
        await service.finish()
    evidence = await evidence_of(scene, market)
    log = await log_of(scene, market)
    report = verify_tally(evidence, evidence.anchors[VoteKind.DISPUTE], log)
    assert report.holds, broken(report)
    assert report.tally == Tally(3, 2)
    unproven = verify_tally(evidence, evidence.anchors[VoteKind.PROPOSAL], log)
    assert "carries no memo" in broken(unproven)[0]


async def test_every_change_to_the_log_is_found(scene: Scene, counted: MarketId) -> None:
    evidence, log = await evidence_of(scene, counted), await log_of(scene, counted)
    anchor = evidence.anchors[VoteKind.PROPOSAL]

    def found(changed: list[bytes]) -> str:
        return " ".join(broken(verify_tally(evidence, anchor, changed)))

    turned = log[0].replace(b"choice: like", b"choice: dislike")
    assert "hash to" in found([turned, *log[1:]])
    assert "not signed by their wallet" in found([turned, *log[1:]])
    assert "3 for, 2 against; on chain went 4 and 1" in found([turned, *log[1:]])
    assert "has only" in found(log[:-1])
    assert "hash to" in found([log[1], log[0], *log[2:]])
    assert "stand twice" in found([log[1], *log[1:]])
    assert "not in its format" in found([b"nonsense", *log[1:]])
    other = log[0].replace(counted.encode(), b"0" * 64)
    assert "another market" in found([other, *log[1:]])
    assert found([*log, b"what comes after the tally is not its business"]) == ""


async def test_votes_on_chain_can_be_neither_invented_nor_left_out(scene: Scene, counted: MarketId) -> None:
    evidence, log = await evidence_of(scene, counted), await log_of(scene, counted)
    anchor = evidence.anchors[VoteKind.PROPOSAL]
    nothing = msgspec.structs.replace(evidence, vote_records={})
    assert "not there like that" in " ".join(broken(verify_tally(nothing, anchor, log)))
    ((kind, _), record) = next(iter(evidence.vote_records.items()))
    stranger = address_of(Keypair())
    early = msgspec.structs.replace(record, user=stranger, voted_at=anchor.at - 3_600)
    records = {**evidence.vote_records, (kind, stranger): early}
    left_out = msgspec.structs.replace(evidence, vote_records=records)
    assert f"left out: {stranger}" in " ".join(broken(verify_tally(left_out, anchor, log)))


async def test_other_counts_on_the_account_are_found(scene: Scene, counted: MarketId) -> None:
    evidence, log = await evidence_of(scene, counted), await log_of(scene, counted)
    account = msgspec.structs.replace(evidence.account, proposal_likes=9)
    report = verify_tally(
        msgspec.structs.replace(evidence, account=account), evidence.anchors[VoteKind.PROPOSAL], log
    )
    assert "account records 9" in " ".join(broken(report))


async def test_the_command_verifies_from_the_database_and_from_a_file(
    scene: Scene, counted: MarketId, tmp_path: Path
) -> None:
    address = scene.chain.program.addresses.market(counted)
    status, said = await zmart(scene, "verify", "tally", address, "--database")
    assert status == 0, said
    assert "Counted again: 4 for, 1 against, as went on chain." in said
    page = await vote_log.page(scene.pool, counted)
    saved = tmp_path / "log.json"
    saved.write_bytes(msgspec.json.encode(page))
    status, answer = await zmart(scene, "verify", "tally", counted, "--file", str(saved), "--json")
    assert (status, json.loads(answer)[0]["holds"]) == (0, True)
    forged = msgspec.structs.replace(
        page, entries=[page.entries[0].replace("like", "dislike"), *page.entries[1:]]
    )
    saved.write_bytes(msgspec.json.encode(forged))
    status, answer = await zmart(scene, "verify", "tally", counted, "--file", str(saved))
    assert status == 1
    assert "THE TALLY DOES NOT HOLD" in answer
    status, answer = await zmart(scene, "verify", "tally", counted)
    assert status == 1
    assert "does not answer" in answer


async def test_the_commands_decide_once_and_show_what_was_sent(scene: Scene) -> None:
    market = await scene.market()
    status, answer = await zmart(scene, "verify", "tally", market, "--database")
    assert (status, answer.strip()) == (1, f"No tally of market {market} is on chain yet.")
    await scene.vote(market, yes=2)
    status, answer = await zmart(scene, "aggregate", market)
    assert status == 0, answer
    assert answer.count("landed in slot") == 2
    assert (await zmart(scene, "aggregate"))[1].strip() == "nothing was due"
    assert (await zmart(scene, "finalize", "--json"))[1].strip() == '{"intents":[],"open":[]}'
    address = scene.chain.program.addresses.market(market)
    status, said = await zmart(scene, "intents", "list", "--market", address, "--json")
    approve, _ = json.loads(said)
    assert (approve["action"], approve["state"]) == ("approve_proposal", "landed")
    status, answer = await zmart(scene, "intents", "show", approve["id"])
    assert "signing 1 at" in answer
    status, answer = await zmart(
        scene, "intents", "resolve", approve["id"], "--as", "dead", "--reason", "x", "--yes"
    )
    assert (status, "already landed" in answer) == (1, True)
    assert (await zmart(scene, "aggregate", address))[1].strip() == "nothing was due"
    status, said = await zmart(scene, "aggregate", "market")
    assert (status, "not a market id" in said) == (1, True)


async def test_a_person_resolves_what_nothing_could_judge(scene: Scene) -> None:
    from zmart.store import alerts, intents
    from zmart.store.intent_claims import Claims
    from zmart.store.intents import Action, IntentState

    intent = await intents.plan(scene.pool, MarketId("ab" * 32), Action.FINALIZE_MARKET, 0, {})
    async with Claims(scene.pool) as claims, claims.claim(intent.id) as claim:
        assert claim is not None
        await claim.journal.mark_uncertain(str(intent.id), "nobody knows")
    await alerts.raise_alert(scene.pool, f"uncertain:{intent.id}", "critical", "look")
    arguments = ["intents", "resolve", str(intent.id), "--as", "dead", "--reason", "not in any block"]
    status, answer = await zmart(scene, *arguments, "--yes")
    assert (status, "dead" in answer) == (0, True), answer
    row = await intents.one(scene.pool, intent.id)
    assert (row.state, row.error) == (IntentState.DEAD, "not in any block")
    assert await alerts.open_alerts(scene.pool) == []


async def test_a_late_vote_on_chain_that_the_log_dates_back_is_found(scene: Scene, counted: MarketId) -> None:
    """When a vote came on chain is what its VoteRecord says, not what our log says of it."""
    evidence, log = await evidence_of(scene, counted), await log_of(scene, counted)
    anchor = evidence.anchors[VoteKind.PROPOSAL]
    assert anchor.memo is not None
    assert anchor.memo.closed_at is not None
    ((key, record),) = evidence.vote_records.items()
    late = {key: msgspec.structs.replace(record, voted_at=anchor.memo.closed_at + 1)}
    report = verify_tally(msgspec.structs.replace(evidence, vote_records=late), anchor, log)
    assert not report.holds
    assert "1 votes were counted that came on chain after" in " ".join(broken(report))
    assert not any("nowhere counted" in finding.text for finding in report.findings)
