"""Test that each status in an operation's description occurs, except those that all operations share.

The shared statuses (a bad value, a limit, an unavailable server) have tests of their own.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from typing import Any

import httpx
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from kit.chain_life import CID, HOUR, SOL, Driver, name
from kit.described import matching, operations
from kit.gateway import OPERATOR, Site, add_market, site
from kit.gateway_server import fill
from kit.votes import add_onchain_vote, closing
from kit.wallets import address, market_id, wallet
from zmart.chain.rpc import Rpc
from zmart.market.types import Bps, MarketId, VoteKind
from zmart.store import dispute_reviews
from zmart.votes.tallying import take_tally

COMMON = {400, 408, 413, 414, 415, 429, 500, 503}
NOWHERE = "ab" * 32
NEW = {
    "question": "Will the harbour be frozen in February?", "end_date": "2100-01-01", "b_parameter": 20 * SOL,
    "initial_liquidity": 15 * SOL,
}  # fmt: skip
READS = {"limit": "2", "q": "rain", "outcome": "YES", "shares": "5", "wallet": address(2)}


class Play:
    """A client that sends requests and collects the statuses with which each operation answered."""

    def __init__(self, here: Site) -> None:
        self.here = here
        self.seen: dict[str, set[int]] = defaultdict(set)

    async def ask(
        self, method: str, path: str, body: object = None, who: Keypair | str = "", **headers: str
    ) -> httpx.Response:
        token = who if isinstance(who, str) else await self.here.sign_in(who)
        if token:
            headers["authorization"] = f"Bearer {token}"
        answer = await self.here.http.request(method, path, json=body, headers=headers)
        if (operation := matching(method, answer.request.url.path)) is not None:
            self.seen[operation.name].add(answer.status_code)
        return answer

    async def post(self, path: str, body: object = None, *who: Keypair | str) -> Any:
        """Send the same body as each of `who` in turn; return the body of the last answer."""
        for one in who:
            answer = await self.ask("POST", path, body, one)
        return answer.json()


def signed(text: str, key: Keypair) -> dict[str, str]:
    unsigned = VersionedTransaction.from_bytes(base64.b64decode(text))
    return {"transaction": base64.b64encode(bytes(VersionedTransaction(unsigned.message, [key]))).decode()}


async def play_reads(play: Play) -> None:
    query = "&".join(f"{key}={value}" for key, value in READS.items())
    known = {"key": market_id(3), "wallet": address(2), "service": "websocket", "signature": "1" * 64}
    unknown = {"key": NOWHERE, "wallet": "nobody", "service": "x", "signature": "x"}
    for operation in operations():
        if operation.method == "GET":
            answer = await play.ask("GET", f"{operation.path.format(**known)}?{query}")
            tag = answer.headers.get("etag", "")
            await play.ask("GET", f"{operation.path.format(**known)}?{query}", **{"if-none-match": tag})
            await play.ask("GET", f"{operation.path.format(**unknown)}?{query}")
    await play.ask("GET", f"/api/votes/{market_id(1)}/proof?wallet={address(3)}")
    await play.ask("GET", f"/api/votes/{market_id(1)}/proof?wallet={address(3)}", **{"if-none-match": "*"})
    await play.ask("GET", "/api/votes/proposal")  # the path of another call
    await play.ask("GET", "/api/markets?creator=nobody")
    await play.ask("GET", "/api/markets?state=DRAFT")
    await play.ask("GET", f"/api/markets/{market_id(1)}/quote?outcome=YES&shares=5")
    await play.ask("GET", f"/api/events/latest?market_id={NOWHERE}")


async def play_people(play: Play) -> None:
    me, other = wallet(2), wallet(3)
    proposed = market_id(1)
    for kind, market in (("proposal", proposed), ("dispute", market_id(5))):
        path, vote = f"/api/votes/{kind}", {"market_id": market, "vote": True}
        await play.post(path, vote, "", other, other)
        await play.post(path, {**vote, "wallet": address(4)}, other)
        await play.post(path, {**vote, "market_id": NOWHERE}, other)
    comment = {"market_id": proposed, "content": "It froze in 1963."}
    made = await play.post("/api/discussions", comment, "", me)
    await play.post("/api/discussions", {**comment, "market_id": NOWHERE}, me)
    await play.post(f"/api/discussions/{proposed}", comment, "", me)
    await play.post(f"/api/discussions/{NOWHERE}", {**comment, "market_id": NOWHERE}, me)
    path = f"/api/discussions/{made['discussion']['id']}"
    for who in ("", other, me, me):
        await play.ask("DELETE", path, who=who)
    for path, who in ((address(2), ""), (address(2), other), (address(2), me), ("nobody", me)):
        await play.ask("PUT", f"/api/users/{path}", {"bio": "x"}, who)
    asked = await play.post("/api/auth/nonce", {"wallet": address(2)}, "")
    body = {"wallet": address(2), "message": asked["message"], "signature": "x"}
    await play.post("/api/auth/verify", body, "")
    await play.post(
        "/api/auth/verify", {**body, "signature": str(me.sign_message(asked["message"].encode()))}, ""
    )
    await play.post("/api/auth/logout", None, "", me)


async def play_names(play: Play) -> None:
    """Send each write that may answer 403, with a body that names another wallet than the session's."""
    known = {"key": market_id(1), "wallet": address(2)}
    for operation in operations():
        if operation.method != "GET" and 403 in operation.statuses:
            body = {**(operation.example or {}), "user_wallet": address(3)}
            await play.ask(operation.method, operation.path.format(**known), body, wallet(2))


async def play_trader(play: Play, life: Driver, active: str, proposed: str, trader: Keypair) -> None:
    order = {"market_id": active, "outcome": True, "max_cost": SOL}
    sale = {"market_id": active, "outcome": True, "shares": SOL // 4}
    await play.post("/api/trades/sell", sale, "", trader)
    built = await play.post("/api/trades/buy", order, "", trader)
    sent = await play.post("/api/transactions", signed(built["transaction"], trader), "")
    await play.ask("GET", f"/api/transactions/{sent['signature']}")
    poor = Keypair()
    refused = await play.post("/api/trades/buy", order, poor)
    await play.post("/api/transactions", signed(refused["transaction"], poor), "")
    await life.buy(trader, active, True, SOL)
    await play.post("/api/trades/sell", sale, trader)
    for path, body in (("buy", order), ("sell", sale)):
        await play.post(f"/api/trades/{path}", {**body, "market_id": proposed}, trader)
    for path, body in (("buy", order), ("sell", sale), ("claim", {}), ("withdraw", {})):
        await play.post(f"/api/trades/{path}", {**body, "market_id": NOWHERE}, trader)


async def count_a_like(play: Play, life: Driver, market: MarketId, voter: Keypair) -> None:
    """Count a like of the market and record the count on chain, as an aggregator does."""
    pool, program = play.here.pool, play.here.gateway.context.program.address
    await add_onchain_vote(pool, market, VoteKind.PROPOSAL, voter, True)
    async with pool.transaction() as connection:
        await take_tally(connection, program, closing(market, VoteKind.PROPOSAL, 8_000_000_000), Bps(7_000))
    backend = life.chain.keys.backend
    await life.send(backend, life.build.aggregate_proposal_votes(name(backend), market, likes=1, dislikes=0))


async def play_life(play: Play, life: Driver, creator: Keypair, trader: Keypair) -> None:
    build, keys = life.build, life.chain.keys
    proposed, approved = await life.propose(creator), await life.propose(creator)
    active = await life.open(creator, trader)
    await life.send(trader, build.submit_proposal_vote(name(trader), approved, True))
    backend, admin = name(keys.backend), name(keys.admin)
    await life.send(keys.backend, build.aggregate_proposal_votes(backend, approved, likes=1, dislikes=0))
    await life.send(keys.admin, build.approve_proposal(admin, approved))
    await play.post("/api/markets", NEW, "", creator)
    evidence = {"outcome": True, "ipfs_evidence_hash": CID}
    await play.post(f"/api/markets/{approved}/activate", None, "", trader, creator)
    await play.post(f"/api/markets/{active}/activate", None, OPERATOR)
    await play.here.pool.execute("UPDATE index_progress SET gap_free_through_time = 9e9::bigint")
    await count_a_like(play, life, proposed, trader)
    for action in ("approve", "cancel"):
        await play.post(f"/api/markets/{proposed}/{action}", None, "", trader, OPERATOR)
        await play.post(f"/api/markets/{active}/{action}", None, OPERATOR)
    await play_trader(play, life, active, proposed, trader)
    held = {"market_id": active}
    await play.post("/api/trades/claim", held, "", trader)
    await play.post("/api/trades/withdraw", held, "", trader, creator)
    await life.travel(25 * HOUR)
    await play.post(f"/api/markets/{active}/resolve", evidence, "", trader)
    await play.post(f"/api/markets/{proposed}/resolve", evidence, trader)
    await play.post(f"/api/markets/{active}/dispute", None, "", trader)
    resolution = build.resolve_market(name(trader), active, proposed_outcome=True, ipfs_evidence_hash=CID)
    await life.send(trader, resolution)
    await play.post(f"/api/markets/{active}/dispute", None, trader)
    await life.travel(80 * HOUR)
    await life.send(keys.backend, build.finalize_market(backend, active, None))
    await play.post("/api/trades/claim", held, trader)
    await play.post("/api/trades/withdraw", held, creator)
    for action, body in (("resolve", evidence), ("release", {"note": "x"})):
        await play.post(f"/api/markets/{NOWHERE}/{action}", body, OPERATOR if action == "release" else trader)
    for action in ("activate", "dispute", "approve", "cancel"):
        await play.post(f"/api/markets/{NOWHERE}/{action}", None, trader if action == "dispute" else OPERATOR)
    path, note = f"/api/markets/{market_id(5)}/release", {"note": "We know the voters."}
    await play.post(path, note, "", trader, OPERATOR)
    await dispute_reviews.request(play.here.pool, market_id(5), ["The result is close."])
    await play.post(path, note, OPERATOR)


async def test_every_status_that_an_operation_describes_of_its_own_occurs(
    local_chain, database_url: str, redis_url: str
) -> None:
    limits = {f"rate_limit_{name}": 10_000 for name in ("reads", "writes", "votes", "comments", "nonce")}
    chain = {"solana_rpc_url": local_chain.rpc_url, "votes_require_statement": False}
    await fill(database_url)
    async with (
        Rpc([local_chain.rpc_url]) as rpc,
        site(database_url, redis_url, with_rules=False, **chain, **limits) as here,
    ):
        life, play = Driver(local_chain, rpc), Play(here)
        await add_market(here.pool, 90)
        await play_people(play)
        await play_reads(play)
        await play_names(play)
        await play_life(play, life, await life.wallet(), await life.wallet())
        missing = {
            operation.name: sorted(operation.statuses - COMMON - play.seen[operation.name])
            for operation in operations()
        }
        assert {name: statuses for name, statuses in missing.items() if statuses} == {}
