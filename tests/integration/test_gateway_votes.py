"""Tests of votes over HTTP: the order of their checks, their receipts, proofs and rules."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import struct
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
from solders.keypair import Keypair

from kit import http_servers
from kit.gateway import (
    ADMIN,
    NOW,
    OPERATOR,
    Site,
    add_market,
    add_trade,
    ballot,
    legacy_body,
    site,
)
from kit.servers import LocalChain
from kit.votes import PROGRAM
from kit.waiting import until
from kit.wallets import address, address_of, market_id, wallet
from zmart.proofs.receipts import VoteReceipt, receipt_holds
from zmart.proofs.voter_list import sign_list
from zmart.services.contract import Receive, Scope, Send
from zmart.services.gateway.http.time_limit import TimeLimits
from zmart.services.plain_http import send_response
from zmart.store import dispute_reviews, voter_lists, votes


@pytest.mark.parametrize(
    ("signer", "is_signed"), [(ADMIN, True), (wallet(1), False)], ids=["named", "another"]
)
async def test_only_the_key_that_the_program_names_signs_receipts(
    database_url: str, redis_url: str, tmp_path: Path, signer: Keypair, is_signed: bool
) -> None:
    """A receipt by another key, such as the former one after a change, would prove nothing and look as if it did."""
    path = tmp_path / "key.json"
    path.write_text(signer.to_json())
    async with site(database_url, redis_url, backend_keypair_path=str(path)) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        answer = await here.post("/api/votes/proposal", ballot(here, wallet(2), market))
    receipt = msgspec.convert(answer.json()["receipt"], VoteReceipt)
    assert receipt_holds(receipt, address_of(ADMIN)) is is_signed
    assert (receipt.signature is not None) is is_signed


async def test_a_signed_vote_is_counted_and_proved(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        for number, choice in ((1, True), (2, True), (3, False)):
            answer = await here.post("/api/votes/proposal", ballot(here, wallet(number), market, choice))
            assert answer.status_code == 201, answer.text
        body = answer.json()
        assert body["count"] == len(body["data"]) == 1
        assert body["metadata"]["user_wallet"] == address(3)
        assert body["data"][0]["proven"] is True
        assert body["receipt"]["tree_size"] == 3
        assert (await here.get(f"/api/votes/{market}")).json() == {
            "proposal_votes": {"likes": 2, "dislikes": 1, "not_counted": 0},
            "dispute_votes": {"agrees": 0, "disagrees": 0, "not_counted": 0},
        }  # fmt: skip
        proof = (await here.get(f"/api/votes/{market}/proof?wallet={address(3)}&since=1")).json()
        assert proof["root"] == body["receipt"]["root"]
        entry = proof["entries"][0]
        assert hashlib.sha256(b"\0" + entry["entry"].encode()).hexdigest() == entry["leaf_hash"]
        assert (await here.get(f"/api/votes/{market}/proof?wallet={address(9)}")).status_code == 404
        listed = (await here.get(f"/api/markets/{market}/votes")).json()
        assert listed["stats"] == {
            "likes": 2,
            "dislikes": 1,
            "total": 3,
            "approval_rate": 66.67,
            "unproven": 0,
            "not_counted": 0,
        }
        assert len((await here.get(f"/api/users/{address(1)}/votes")).json()["proposal_votes"]) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"vote": None}, 400),
        ({"vote": "maybe"}, 400),
        ({"market_id": "nonsense"}, 400),
        ({"market_id": market_id(404), "statement": None, "signature": None}, 404),
        ({"statement": None}, 400),
        ({"vote": False}, 400),
        ({"vote_choice": "agree", "vote": None}, 400),
        ({"signature": str(wallet(9).sign_message(b"x"))}, 401),
        ({"statement": None, "signature": None}, 401),
        ({"wallet": "x"}, 400),
    ],
)
async def test_a_wrong_ballot_is_told_what_is_wrong(
    database_url: str, redis_url: str, change: dict[str, object], status: int
) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        answer = await here.post("/api/votes/proposal", {**ballot(here, wallet(1), market), **change})
        assert answer.status_code == status, answer.text


async def test_a_vote_under_a_list_that_is_being_fetched_is_told_to_come_back(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A1: neither accepted nor refused, and before the time limit, whose message would name the database."""
    signed = sign_list(PROGRAM, [address(1)], ADMIN)
    may_send, requested = asyncio.Event(), list[str]()

    async def slow(_url: str, cid: str, *, max_bytes: int) -> bytes:
        requested.append(cid)
        await may_send.wait()
        return signed.encode()

    monkeypatch.setattr("zmart.votes.lists.fetch_from_gateway", slow)
    async with site(database_url, redis_url, vote_rule_proposals=f"listed:{signed.cid}") as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        for _ in range(2):
            answer = await here.post("/api/votes/proposal", ballot(here, wallet(1), market))
            assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
            assert (
                "the list of voters is being fetched: try again in some seconds" in answer.json()["message"]
            )
        may_send.set()
        await until(lambda: voter_lists.known(here.pool, signed.cid))
        assert (await here.post("/api/votes/proposal", ballot(here, wallet(1), market))).status_code == 201
        assert (await here.post("/api/votes/proposal", ballot(here, wallet(2), market))).status_code == 403
    assert requested == [signed.cid]


async def test_second_vote_of_a_wallet_is_refused_even_without_a_signature(
    database_url: str, redis_url: str
) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        assert (await here.post("/api/votes/proposal", ballot(here, wallet(1), market))).status_code == 201
        second_result = await here.post("/api/votes/proposal", ballot(here, wallet(1), market, choice=False))
        assert second_result.status_code == 409
        for field in ("user", "wallet"):
            named = {"market_id": market, "vote": True, field: address(1)}
            assert (await here.post("/api/votes/proposal", named)).status_code == 409
        stranger = {"market_id": market, "vote": True, "user": address(2)}
        assert (await here.post("/api/votes/proposal", stranger)).status_code == 401


async def test_of_twenty_votes_of_a_wallet_at_once_one_counts(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        body = ballot(here, wallet(1), market)
        answers: list[httpx.Response] = await asyncio.gather(
            *(here.post("/api/votes/proposal", body) for _ in range(20))
        )
        assert sorted(a.status_code for a in answers) == [201] + [409] * 19


@pytest.mark.parametrize(("kind", "state", "status"), [
    ("proposal", "ACTIVE", 409), ("dispute", "RESOLVING", 409), ("dispute", "DISPUTED", 201),
])  # fmt: skip
async def test_votes_need_the_right_state(
    database_url: str, redis_url: str, kind: str, state: str, status: int
) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, state)
        answer = await here.post(f"/api/votes/{kind}", ballot(here, wallet(1), market, kind=kind))
        assert answer.status_code == status, answer.text


async def test_a_session_may_vote_unproven_where_that_is_allowed(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url, votes_require_statement=False) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        token = await here.sign_in(wallet(1))
        answer = await here.post(
            "/api/votes/proposal", {"proposal_id": market, "vote_choice": "support"}, token
        )
        assert answer.status_code == 201, answer.text
        assert answer.json()["data"][0]["proven"] is False
        signed = legacy_body(wallet(2), market_id=market, vote=False)
        assert (await here.post("/api/votes/proposal", signed)).status_code == 201
        other = {"market_id": market, "vote": True, "user": address(3)}
        assert (await here.post("/api/votes/proposal", other, token)).status_code == 403
        stats = (await here.get(f"/api/markets/{market}/votes")).json()["stats"]
        assert (stats["total"], stats["unproven"]) == (2, 2)


async def test_a_vote_that_is_taken_back_meanwhile_lets_nobody_vote_for_its_wallet(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wallet's vote on chain may leave the chain between two looks at it."""
    looks = iter([True])

    async def has_voted(*_: object) -> bool:
        return next(looks, False)

    async with site(database_url, redis_url, votes_require_statement=False) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        monkeypatch.setattr(votes, "has_voted", has_voted)
        answer = await here.post(
            "/api/votes/proposal", {"market_id": market, "vote": True, "user": address(3)}
        )
        assert answer.status_code == 409, answer.text
        assert (await here.get(f"/api/votes/{market}")).json()["proposal_votes"]["likes"] == 0


async def test_a_list_of_votes_pages_on_while_votes_come_in(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        for number in range(1, 6):
            await here.post("/api/votes/proposal", ballot(here, wallet(number), market))
        seen: list[str] = []
        cursor = ""
        while True:
            page = (await here.get(f"/api/markets/{market}/votes?limit=2&cursor={cursor}")).json()
            seen += [row["user_wallet"] for row in page["votes"]]
            await here.post("/api/votes/proposal", ballot(here, wallet(50 + len(seen)), market))
            if not (cursor := page["next_cursor"] or ""):
                break
        assert seen == [address(number) for number in range(5, 0, -1)]
        assert (await here.get(f"/api/markets/{market}/votes?cursor=nonsense")).status_code == 400


async def test_a_vote_that_the_rule_refuses_is_403_with_the_rule_and_the_remedy(
    database_url: str, redis_url: str
) -> None:
    """A1: a wallet that a rule refuses is told who may vote, what the wallet has traded, and what would help."""
    async with site(
        database_url, redis_url, vote_rule_disputes="staked:50000000", min_dispute_votes=10
    ) as here:
        market = await add_market(here.pool, 1, "DISPUTED")
        await here.pool.execute("UPDATE markets SET dispute_initiated_at = $1", NOW)
        await here.pool.execute(
            "UPDATE index_progress SET gap_free_through_time = extract(epoch FROM $1::timestamptz)", NOW
        )
        await add_trade(here.pool, market, address(1), 5, cost=50_000_000, at=NOW - timedelta(seconds=1))
        await add_trade(here.pool, market, address(2), 6, cost=50_000_000, at=NOW)
        refused = await here.post("/api/votes/dispute", ballot(here, wallet(2), market, kind="dispute"))
        assert refused.status_code == 403
        body = refused.json()
        details = {item["field"]: item["message"] for item in body["details"]}
        assert details["rule"] in body["message"]
        assert "0.05 SOL in markets of this program" in details["rule"]
        assert "had traded 0 SOL" in details["wallet"]
        assert "trade at least 0.05 SOL" in details["remedy"]
        answer = await here.post("/api/votes/dispute", ballot(here, wallet(1), market, kind="dispute"))
        assert answer.status_code == 201, answer.text
        assert answer.json()["receipt"]["rule"] == "staked;50000000"
        assert (await here.get(f"/api/votes/{market}")).json()["dispute_votes"]["agrees"] == 1


async def test_the_end_of_a_dispute_is_judged_by_the_chain_s_clock_while_the_indexer_stands_still(
    database_url: str, redis_url: str, local_chain: LocalChain
) -> None:
    """P1: while the indexer stands still, the chain's clock decides whether the voting of a dispute is over."""
    async with site(database_url, redis_url, solana_rpc_url=local_chain.rpc_url) as here:
        now = (await here.gateway.context.chain().get_clock()).unix_timestamp
        over = await add_market(here.pool, 1, "DISPUTED")
        still = await add_market(here.pool, 2, "DISPUTED")
        for market, hours in ((over, 73), (still, 71)):
            await here.pool.execute(
                "UPDATE markets SET dispute_initiated_at = to_timestamp($2::bigint) WHERE market_id = $1",
                market,
                now - hours * 3600,
            )
        answer = await here.post("/api/votes/dispute", ballot(here, wallet(1), over, kind="dispute"))
        assert (answer.status_code, answer.json()["message"][-15:]) == (409, "voting is over.")
        answer = await here.post("/api/votes/dispute", ballot(here, wallet(1), still, kind="dispute"))
        assert answer.status_code == 201, answer.text


async def test_a_vote_that_cannot_be_judged_now_is_503(database_url: str, redis_url: str) -> None:
    """A1: a vote that cannot be judged, since the index lags or there is no RPC, is 503: the voter is not refused."""
    async with site(
        database_url, redis_url, vote_rule_disputes="staked", vote_rule_proposals="funded"
    ) as here:
        for number, state, kind in ((1, "DISPUTED", "dispute"), (2, "PROPOSED", "proposal")):
            market = await add_market(here.pool, number, state)
            await here.pool.execute("UPDATE markets SET dispute_initiated_at = $1", NOW)
            answer = await here.post(f"/api/votes/{kind}", ballot(here, wallet(1), market, kind=kind))
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True), answer.text


async def test_the_rule_is_shown_wherever_votes_are(database_url: str, redis_url: str) -> None:
    rule = "staked;50000000"
    async with site(
        database_url, redis_url, vote_rule_proposals="staked:50000000", min_proposal_votes=7
    ) as here:
        status = (await here.get("/api/status")).json()
        assert [(t["kind"], t["rule"], t["min_votes"]) for t in status["vote_rules"]] == [
            ("proposal", rule, 7), ("dispute", "open", 1),
        ]  # fmt: skip
        assert status["dispute_review"] == "auto"
        market = await add_market(here.pool, 1, "PROPOSED")
        await add_trade(here.pool, market, address(1), 5, cost=60_000_000, at=NOW - timedelta(seconds=1))
        assert (await here.get(f"/api/markets/{market}")).json()["vote_rules"][0]["fixed"] is False
        assert (await here.post("/api/votes/proposal", ballot(here, wallet(1), market))).status_code == 201
        await here.pool.execute(
            "INSERT INTO onchain_votes (market_id, kind, wallet, choice, signature, slot, voted_at) "
            "VALUES ($1, 'proposal', $2, 'for', 's', 5, now())", market, address(2),
        )  # fmt: skip
        terms = (await here.get(f"/api/markets/{market}")).json()["vote_rules"][0]
        assert (terms["rule"], terms["min_votes"], terms["fixed"]) == (rule, 7, True)
        assert "0.05 SOL" in terms["words"]
        assert (await here.get(f"/api/votes/{market}/log")).json()["rules"] == {"proposal": rule}
        proof = (await here.get(f"/api/votes/{market}/proof?wallet={address(1)}")).json()
        assert proof["rules"] == {"proposal": rule}
        listed = (await here.get(f"/api/markets/{market}/votes")).json()
        assert {vote["user"]: vote["counted"] for vote in listed["votes"]} == {
            address(1): True,
            address(2): False,
        }
        assert (listed["stats"]["likes"], listed["stats"]["not_counted"]) == (1, 1)
        page = (await here.get(f"/markets/{market}")).text
        assert "minimum 7." in page
        assert "0.05 SOL" in page
        assert "1 vote is not counted" in page


async def test_only_the_operator_releases_a_result_and_that_is_kept(
    database_url: str, redis_url: str
) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, "DISPUTED")
        path, body = f"/api/markets/{market}/release", {"note": "We know the voters."}
        assert (await here.post(path, body, OPERATOR)).status_code == 409
        assert (await here.get(f"/api/markets/{market}")).json()["dispute_review"] is None
        await dispute_reviews.request(here.pool, market, ["The result is close."])
        displayed = (await here.get(f"/api/markets/{market}")).json()["dispute_review"]
        assert (displayed["waits"], displayed["reasons"]) == (True, ["The result is close."])
        assert (await here.post(path, body)).status_code == 401
        assert (await here.post(path, {"note": " "}, OPERATOR)).status_code == 400
        answer = await here.post(path, body, OPERATOR)
        assert (answer.status_code, answer.json()["waits"]) == (200, False)
        assert (await here.get(f"/api/markets/{market}")).json()["dispute_review"]["waits"] is False
        stored = await dispute_reviews.find(here.pool, market)
        assert stored is not None
        assert (stored.released_by, stored.note) == ("the operator's token", "We know the voters.")
        assert (await here.post(path, body, OPERATOR)).status_code == 409


class VotersNode:
    """A node on which every wallet got 1 SOL before the votes opened; with `is_silent` it accepts and never answers."""

    def __init__(self, *, is_silent: bool = False, is_pruned: bool = False) -> None:
        self.is_silent = is_silent
        self.is_pruned = is_pruned
        self.methods: list[str] = []
        self._wallet = ""

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        raw = b""
        while (message := await receive())["type"] != "http.disconnect":
            raw += message.get("body", b"")
            if not message.get("more_body", False):
                break
        call = msgspec.json.decode(raw)
        self.methods.append(call["method"])
        while self.is_silent:
            if (await receive())["type"] == "http.disconnect":
                return
        result = self._result(call["method"], call["params"])
        answer = msgspec.json.encode({"jsonrpc": "2.0", "id": call["id"], "result": result})
        await send_response(send, 200, answer)

    def _result(self, method: str, params: list[str]) -> object:
        before = int(NOW.timestamp()) - 500
        match method:
            case "getSignaturesForAddress":
                self._wallet, before = params[0], before + 1_000 * self.is_pruned
                line = {"signature": str(wallet(99).sign_message(b"")), "slot": 5, "blockTime": before}
                return [] if "before" in params[1] else [line]
            case "getTransaction":
                message = {"accountKeys": [self._wallet]}
                return {
                    "transaction": {"message": message},
                    "meta": {"preBalances": [0], "postBalances": [10**9]},
                    "slot": 5,
                }
            case "getGenesisHash":
                return address(1)
            case "getFirstAvailableBlock":
                return 4 * self.is_pruned
            case "getAccountInfo":
                clock = struct.pack("<QqQQq", 800, 0, 0, 0, int(time.time()))
                account = {"owner": address(1), "lamports": 1, "executable": False, "rentEpoch": 0}
                data = [base64.b64encode(clock).decode(), "base64"]
                return {"context": {"slot": 800}, "value": {**account, "data": data}}
            case _:
                return None


@contextlib.asynccontextmanager
async def votes_under_funded(
    database_url: str, redis_url: str, *nodes: VotersNode
) -> AsyncIterator[tuple[Site, str]]:
    """Yield a gateway with these nodes as RPCs and the production limits of time, and a proposal under `funded`."""
    async with contextlib.AsyncExitStack() as stack:
        serving = [http_servers.serving(node, timeout_graceful_shutdown=0) for node in nodes]
        urls = [await stack.enter_async_context(each) for each in serving]
        names = ("helius_rpc_url", "solana_rpc_url")[-len(urls) :]
        rule = {"vote_rule_proposals": "funded:50000000", "limits": TimeLimits()}
        here = await stack.enter_async_context(
            site(database_url, redis_url, **rule, **dict(zip(names, urls, strict=True)))  # type: ignore[arg-type]
        )
        yield here, await add_market(here.pool, 1, "PROPOSED", activated_at=None)


async def test_a_silent_rpc_keeps_no_wallet_from_voting_while_another_one_answers(
    database_url: str, redis_url: str
) -> None:
    """A1: with the first of two RPCs silent, votes under `funded` are accepted, and the silent one is asked last.

    Such votes were refused with 503 until the first RPC answered again, and were lost if the vote ended before.
    """
    silent, other = VotersNode(is_silent=True), VotersNode()
    async with votes_under_funded(database_url, redis_url, silent, other) as (here, market):
        calls = []
        for number in range(20, 24):
            answer = await here.post("/api/votes/proposal", ballot(here, wallet(number), market))
            assert answer.status_code == 201, answer.text
            calls.append(len(silent.methods))
        assert calls[0] == calls[-1] > 0


async def test_a_wallet_that_cannot_be_judged_is_read_once_a_minute(
    database_url: str, redis_url: str
) -> None:
    """A1: 120 tries a minute to vote with a wallet that has a long history would cost 2,500 calls of an RPC."""
    node = VotersNode(is_pruned=True)
    async with votes_under_funded(database_url, redis_url, node) as (here, market):
        first = await here.post("/api/votes/proposal", ballot(here, wallet(20), market))
        calls = len(node.methods)
        assert (first.status_code, "keeps no transactions" in first.text) == (503, True)
        for _ in range(20):
            answer = await here.post("/api/votes/proposal", ballot(here, wallet(20), market))
            assert (answer.status_code, answer.json()["message"]) == (503, first.json()["message"])
        assert len(node.methods) == calls
