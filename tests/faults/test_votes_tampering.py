"""A dishonest operator rewrites the vote log, before or after the count: `zmart verify tally` names what was changed.

The rewritten log is consistent, with a tree of its own; a voter with a receipt detects the change nevertheless.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest

from kit import commands
from kit.decisions import (
    Scene,
)
from kit.votes import (
    vote_signed,
)
from kit.waiting import until
from kit.wallets import address_of, wallet
from zmart.local.processes import free_port
from zmart.market.types import MarketId, MarketState, VoteKind
from zmart.market.vote_entries import parse_entry
from zmart.market.votes import Statement
from zmart.proofs.findings import ProofFinding, Verdict
from zmart.proofs.receipts import VoteReceipt
from zmart.proofs.tally_evidence import gather
from zmart.proofs.verify_receipts import verify_receipts
from zmart.proofs.verify_tally import TallyReport, verify_tally
from zmart.services.aggregator.service import Aggregator
from zmart.votes.vote_log import OpenVoteLog, read_log

VOTES = 7


@pytest.fixture
async def market(scene: Scene) -> MarketId:
    return await scene.market()


@pytest.fixture
async def receipts(scene: Scene, market: MarketId) -> list[VoteReceipt]:
    return [cast.receipt for cast in await scene.vote(market, yes=VOTES)]


async def count(scene: Scene) -> None:
    async with scene.context() as context:
        service = Aggregator(scene.settings, context, None)
        await service.decide_due()
        await service.finish()


async def log_of(scene: Scene, market: MarketId) -> list[bytes]:
    return await read_log(scene.settings.require("database_url"), market)


async def rewrite(scene: Scene, market: MarketId, entries: list[bytes]) -> None:
    """Replace the market's log by a consistent log of these entries."""
    async with scene.pool.transaction() as connection:
        for table in ("vote_log_entries", "vote_log_nodes", "vote_logs"):
            await connection.execute(f"DELETE FROM {table} WHERE market_id = $1", market)
        log = await OpenVoteLog.lock(connection, market)
        await log.append([parse_entry(entry) for entry in entries])


async def checked(
    scene: Scene, market: MarketId, receipts: list[VoteReceipt]
) -> tuple[TallyReport, list[ProofFinding]]:
    program = scene.chain.program
    evidence = await gather(scene.rpc, program, market)
    log = await log_of(scene, market)
    report = verify_tally(evidence, evidence.anchors[VoteKind.PROPOSAL], log)
    authority = evidence.config.backend_authority
    return report, verify_receipts(receipts, log, program.address, market, authority)


def broken(findings: list[ProofFinding]) -> str:
    return "\n".join(finding.text for finding in findings if finding.verdict is Verdict.BROKEN)


async def test_an_honest_log_keeps_every_receipt(
    scene: Scene, market: MarketId, receipts: list[VoteReceipt]
) -> None:
    await count(scene)
    report, result = await checked(scene, market, receipts)
    assert report.holds
    assert broken(result) == ""
    assert len(result) == 3 * VOTES


async def test_a_vote_removed_before_the_count_is_named(
    scene: Scene, market: MarketId, receipts: list[VoteReceipt]
) -> None:
    entries = await log_of(scene, market)
    await rewrite(scene, market, entries[:2] + entries[3:])
    await count(scene)
    report, result = await checked(scene, market, receipts)
    assert report.holds, "counts, signatures and root agree: only a receipt tells"
    assert f"Removed or changed: entry 2 ({receipts[2].leaf_hash[:16]}...)" in broken(result)
    assert f"at its place stands like of {address_of(wallet(1_003))}" in broken(result)
    assert "Rewritten: the first 3 entries" in broken(result)
    assert broken((await checked(scene, market, receipts[:2]))[1]) == ""


async def test_the_newest_vote_removed_is_named(
    scene: Scene, market: MarketId, receipts: list[VoteReceipt]
) -> None:
    await rewrite(scene, market, (await log_of(scene, market))[:-1])
    await count(scene)
    report, result = await checked(scene, market, receipts)
    assert report.holds
    assert f"Removed: the log ends before entry {VOTES - 1}" in broken(result)
    assert f"Cut: the log has {VOTES - 1} entries" in broken(result)


async def test_reordered_votes_are_named(scene: Scene, market: MarketId, receipts: list[VoteReceipt]) -> None:
    entries = await log_of(scene, market)
    await rewrite(scene, market, [entries[1], entries[0], *entries[2:]])
    await count(scene)
    report, result = await checked(scene, market, receipts)
    assert report.holds
    voter = address_of(wallet(1_000))
    assert f"Reordered: the vote of the receipt for entry 0 (like of {voter}) stands at 1 now." in broken(
        result
    )


async def test_a_changed_vote_is_named_with_and_without_its_receipt(
    scene: Scene, market: MarketId, receipts: list[VoteReceipt]
) -> None:
    entries = await log_of(scene, market)
    forged = entries[4].replace(b"choice: like", b"choice: dislike")
    await rewrite(scene, market, [*entries[:4], forged, *entries[5:]])
    await count(scene)
    report, result = await checked(scene, market, receipts[4:5])
    voter = address_of(wallet(1_004))
    assert f"1 of {VOTES} statements are not signed by their wallet: {voter}" in broken(report.findings)
    assert f"at its place stands dislike of {voter}" in broken(result)


async def test_what_is_changed_after_the_count_contradicts_the_chain(
    scene: Scene, market: MarketId, receipts: list[VoteReceipt]
) -> None:
    await count(scene)
    entries = await log_of(scene, market)
    for changed in (entries[:-1], [entries[1], entries[0], *entries[2:]]):
        await rewrite(scene, market, changed)
        report, result = await checked(scene, market, receipts)
        assert not report.holds
        assert broken(result)


async def test_a_receipt_that_the_authority_did_not_sign_proves_nothing(
    scene: Scene, market: MarketId, receipts: list[VoteReceipt]
) -> None:
    await count(scene)
    forged = msgspec.structs.replace(receipts[0], tree_size=2)
    unsigned = msgspec.structs.replace(receipts[0], authority=None, signature=None)
    other = msgspec.structs.replace(receipts[0], market_id=MarketId("ab" * 32))
    _, result = await checked(scene, market, [forged, unsigned, other])
    assert "is not signed by the backend authority" in broken(result)
    assert "about another market" in broken(result)
    assert any("is not signed: it proves nothing" in finding.text for finding in result)


async def test_a_vote_from_outside_the_voting_time_is_named(scene: Scene, market: MarketId) -> None:
    """The backend accepts a vote that was signed before the market was created."""
    account = await scene.account(market)
    early = datetime.fromtimestamp(account.created_at, UTC) - timedelta(hours=1)
    program, authority = scene.chain.program.address, scene.chain.keys.backend
    await vote_signed(scene.pool, market, wallet(77), True, VoteKind.PROPOSAL, early, program, authority)
    await count(scene)
    evidence = await gather(scene.rpc, scene.chain.program, market)
    log, anchor = await log_of(scene, market), evidence.anchors[VoteKind.PROPOSAL]
    straight = msgspec.structs.replace(evidence, clock_ahead_s=0)
    assert f"before voting began or after the count: {address_of(wallet(77))}" in broken(
        verify_tally(straight, anchor, log).findings
    )
    moved = msgspec.structs.replace(evidence, clock_ahead_s=49 * 3600)
    report = verify_tally(moved, anchor, log)
    assert report.holds
    assert any("clock is +49.0 h off ours" in finding.text for finding in report.findings)


async def zmart(scene: Scene, *arguments: str, **more: str) -> tuple[int, str]:
    env = commands.environment(solana_rpc_url=scene.settings.solana_rpc_url, **more)
    status, out, err = await commands.run(*arguments, env=env)
    return status, out + err


@asynccontextmanager
async def running(scene: Scene, *command: str, url: str, **more: str) -> AsyncIterator[None]:
    """Run a command within the block; the block begins when it answers `url`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=commands.environment(solana_rpc_url=scene.settings.solana_rpc_url, **more),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def answers() -> bool:
        assert process.returncode is None, f"{command} ended"
        try:
            async with httpx.AsyncClient() as http:
                return (await http.get(url)).status_code < 500
        except httpx.HTTPError:
            return False

    try:
        await until(answers, within_s=30)
        yield
    finally:
        process.terminate()
        await process.wait()


async def test_a_voter_checks_everything_with_an_rpc_and_the_api(
    scene: Scene, market: MarketId, redis_url: str, tmp_path: Path
) -> None:
    """A vote is cast by HTTP and its receipt stored; a process counts; the voter checks by the API, a file and IPFS."""
    database, port, ipfs_port = scene.settings.require("database_url"), free_port(), free_port()
    api, ipfs = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ipfs_port}"
    own = {
        "DATABASE_URL": database,
        "BACKEND_KEYPAIR_PATH": str(scene.settings.backend_keypair_path),
        "ADMIN_KEYPAIR_PATH": str(scene.settings.admin_keypair_path),
        "MIN_PROPOSAL_VOTES": "1",
    }
    gateway = [*commands.ZMART, "run", "gateway"]
    more = {"API_PORT": str(port), "REDIS_URL": redis_url, "AUTH_TOKEN_SECRET": "secret", **own}
    stored = tmp_path / "receipt.json"
    async with running(scene, *gateway, url=f"{api}/health", **more), httpx.AsyncClient() as http:
        response = Statement(
            program=scene.chain.program.address,
            market_id=market,
            kind=VoteKind.PROPOSAL,
            vote=True,
            wallet=address_of(wallet(9)),
            issued_ms=int(datetime.now(UTC).timestamp() * 1000),
        )
        body = {
            "market_id": market,
            "vote": True,
            "wallet": response.wallet,
            "statement": response.text(),
            "signature": str(wallet(9).sign_message(response.text().encode())),
        }
        answer = await http.post(f"{api}/api/votes/proposal", json=body)
        assert answer.status_code == 201, answer.text
        stored.write_bytes(answer.content)
        await scene.vote(market, yes=3)
        status, text_parts = await zmart(scene, "run", "aggregator", "--once", **own)
        assert status == 0, text_parts
        assert await scene.state(market) is MarketState.APPROVED

        ask = ["verify", "tally", market, "--receipt", str(stored)]
        status, text_parts = await zmart(scene, *ask, "--api", api)
        assert status == 0, text_parts
        assert "Counted again: 4 for, 0 against, as went on chain." in text_parts
        assert "Entry 0 is the vote of its receipt" in text_parts
        saved = tmp_path / "log.json"
        status, text_parts = await zmart(scene, "verify", "log", market, str(saved), "--api", api)
        assert status == 0, text_parts
        cid = text_parts.split()[0]
    (tmp_path / "ipfs").mkdir()
    (tmp_path / "ipfs" / cid).write_bytes(saved.read_bytes())
    serve = [sys.executable, "-m", "http.server", str(ipfs_port), "-b", "127.0.0.1", "-d", str(tmp_path)]
    async with running(scene, *serve, url=ipfs):
        status, text_parts = await zmart(scene, *ask, "--cid", cid, "--gateway", ipfs, "--json")
        assert status == 0, text_parts
        assert [report["holds"] for report in json.loads(text_parts)] == [True, True]
        (tmp_path / "ipfs" / cid).write_bytes(saved.read_bytes().replace(b"choice: like", b"choice: dislike"))
        status, text_parts = await zmart(scene, *ask, "--cid", cid, "--gateway", ipfs)
        assert (status, "sent bytes that are not" in text_parts) == (1, True)
    saved.write_bytes(saved.read_bytes().replace(b"choice: like", b"choice: dislike", 1))
    status, text_parts = await zmart(scene, *ask, "--file", str(saved))
    assert status == 1
    assert "Removed or changed: entry 0" in text_parts
    assert "THE LOG IS NOT WHAT THE RECEIPTS PROMISED." in text_parts
