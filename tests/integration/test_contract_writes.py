"""Tests of every write in the contract's tables: the shape of its answer and the order of its checks."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest
from solders.transaction import VersionedTransaction

from kit.chain_life import CID, HOUR, SOL, Driver
from kit.contract import BASE64, CID_V0, HASH, ISO, MARKET, PROBLEM, UUID, WALLET, maybe, misfit
from kit.gateway import (
    OPERATOR,
    Site,
    add_market,
    site,
)
from kit.wallets import address, market_id, wallet
from zmart.chain.rpc import Rpc

SIMULATION = {"ok": bool, "units": int}
TX = {"transaction": BASE64, "signers": [WALLET], "last_valid_block_height": int, "simulation": SIMULATION}
ON_MARKET = {**TX, "market_id": MARKET, "on_chain_address": WALLET}
NEW = {
    "question": "Will the harbour be frozen in February?", "description": "By the log.", "category": "weather",
    "tags": ["ice"], "end_date": "2100-01-01T00:00:00Z", "b_parameter": 20 * SOL, "initial_liquidity": 15 * SOL,
}  # fmt: skip
KEY = market_id(1)
WRITES = [
    ("POST", "/api/markets", NEW, {"question": "Too short"}),
    ("POST", f"/api/markets/{KEY}/approve", None, None),
    ("POST", f"/api/markets/{KEY}/activate", None, None),
    ("POST", f"/api/markets/{KEY}/resolve", {"outcome": True, "ipfs_evidence_hash": CID}, {"outcome": "maybe"}),
    ("POST", f"/api/markets/{KEY}/cancel", None, None),
    ("POST", "/api/trades/buy", {"market_id": KEY, "outcome": True, "max_cost": SOL}, {"market_id": KEY}),
    ("POST", "/api/trades/sell", {"market_id": KEY, "outcome": True, "shares": 5}, {"market_id": KEY, "outcome": True}),
    ("POST", "/api/trades/claim", {"market_id": KEY}, {"market_id": "nothing"}),
    ("POST", "/api/trades/withdraw", {"market_id": KEY}, {}),
    ("POST", "/api/votes/proposal", {"market_id": KEY, "vote": True}, {"market_id": KEY}),
    ("POST", "/api/votes/dispute", {"market_id": KEY, "vote_choice": "agree"}, {"market_id": KEY, "vote": 3}),
    ("POST", "/api/discussions", {"market_id": KEY, "content": "Hello"}, {"market_id": KEY, "content": " "}),
    ("POST", f"/api/discussions/{KEY}", {"content": "Hello"}, {"content": "x" * 1001}),
    ("DELETE", "/api/discussions/7b0b3d0e-0000-4000-8000-000000000000", None, None),
    ("PUT", f"/api/users/{address(1)}", {"display_name": "Ada"}, {"avatar_url": "http://plain.example"}),
    ("POST", "/api/auth/logout", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "good", "bad"), WRITES, ids=[f"{m} {p}" for m, p, _, _ in WRITES])
async def test_a_write_checks_its_body_first_and_then_who_asks(
    database_url: str, method: str, path: str, good: object, bad: object
) -> None:
    async with site(database_url) as here:
        await add_market(here.pool, 1, "PROPOSED")
        anonymous = await here.http.request(method, path, json=good)
        assert anonymous.status_code == 401, anonymous.text
        assert misfit(anonymous.json(), PROBLEM) == ""
        if bad is None:
            return
        invalid = await here.http.request(method, path, json=bad)
        assert invalid.status_code == 400, invalid.text
        assert misfit(invalid.json(), {**PROBLEM, "details": [{"field": str, "message": str}]}) == ""
        headers = {"content-type": "application/json"}
        truncated = await here.http.request(method, path, content=b'{"cut', headers=headers)
        assert truncated.status_code == 400
        plain = await here.http.request(method, path, content=b"a=1", headers={"content-type": "text/plain"})
        assert plain.status_code == 415
        large = await here.http.request(method, path, content=b" " * 70_000, headers=headers)
        assert large.status_code == 413


async def test_signing_in_voting_and_talking_answer_as_agreed(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url, votes_require_statement=False) as here:
        await add_market(here.pool, 1, "PROPOSED")
        await add_market(here.pool, 2, "DISPUTED")
        requested = await here.post("/api/auth/nonce", {"wallet": address(1)})
        assert misfit(requested.json(), {"nonce": str, "message": str, "expires_at": ISO}) == ""
        signature = str(wallet(1).sign_message(requested.json()["message"].encode()))
        body = {"wallet": address(1), "message": requested.json()["message"], "signature": signature}
        response = await here.post("/api/auth/verify", body)
        assert misfit(response.json(), {"token": str, "expires_at": ISO}) == ""
        token = response.json()["token"]
        answer = {
            "data": [{"id": UUID, "market_id": MARKET, "vote": bool}], "count": lambda n: n == 1,
            "metadata": {"message": str, "market_id": MARKET, "vote_type": str, "user_wallet": WALLET},
            "receipt": {"index": int, "leaf_hash": HASH, "tree_size": int, "root": HASH, "signature": maybe(str)},
        }  # fmt: skip
        for kind, market in (("proposal", KEY), ("dispute", market_id(2))):
            voted = await here.post(f"/api/votes/{kind}", {"market_id": market, "vote": True}, token)
            assert voted.status_code == 201, voted.text
            assert misfit(voted.json(), answer) == ""
            assert (
                await here.post(f"/api/votes/{kind}", {"market_id": market, "vote": True}, token)
            ).status_code == 409
        comment = {"id": UUID, "market_id": MARKET, "user_wallet": WALLET, "content": str, "created_at": ISO}
        made = await here.post("/api/discussions", {"market_id": KEY, "content": " Hi "}, token)
        assert (made.status_code, misfit(made.json(), {"discussion": comment, "message": str})) == (201, "")
        headers = {"authorization": f"Bearer {token}"}
        gone = await here.http.delete(f"/api/discussions/{made.json()['discussion']['id']}", headers=headers)
        assert (gone.status_code, misfit(gone.json(), {"message": str})) == (200, "")
        changed = await here.http.put(f"/api/users/{address(1)}", json={"bio": "x"}, headers=headers)
        assert misfit(changed.json(), {"wallet": WALLET, "bio": str, "display_name": maybe(str)}) == ""
        assert (await here.post("/api/auth/logout", token=token)).status_code == 200


@pytest.fixture
async def here(local_chain, database_url: str, redis_url: str) -> AsyncIterator[Site]:
    values = {
        "solana_rpc_url": local_chain.rpc_url,
        "admin_keypair_path": local_chain.keys.path("admin"),
        "backend_keypair_path": local_chain.keys.path("backend"),
    }
    async with site(database_url, redis_url, **values) as result:
        yield result


async def test_every_transaction_of_a_markets_life_answers_as_agreed(here: Site, local_chain) -> None:
    async with Rpc([local_chain.rpc_url]) as rpc:
        life = Driver(local_chain, rpc)
        creator, trader = await life.wallet(), await life.wallet()
        tokens = {str(key.pubkey()): await here.sign_in(key) for key in (creator, trader)}

        async def ask(key, path: str, body: object = None, status: int = 200) -> dict:
            answer = await here.post(path, body, tokens[str(key.pubkey())])
            assert answer.status_code == status, answer.text
            return answer.json()

        made = await ask(creator, "/api/markets", NEW, 201)
        expected = {**ON_MARKET, "id": MARKET, "cid": CID_V0}
        assert misfit(made, expected) == ""
        assert made["simulation"]["ok"], made
        unsigned = VersionedTransaction.from_bytes(base64.b64decode(made["transaction"]))
        assert not any(bytes(unsigned.signatures[0]))
        proposed = await life.propose(creator)
        cancelled = await here.post(f"/api/markets/{proposed}/cancel", token=OPERATOR)
        assert (
            misfit(cancelled.json(), {"market_id": MARKET, "sent": bool, "status": str, "signature": str})
            == ""
        )
        withdrawn = await ask(creator, "/api/trades/withdraw", {"market_id": proposed})
        assert misfit(withdrawn, {**ON_MARKET, "amount": int}) == ""
        market = await life.open(creator, trader)
        assert (await here.post(f"/api/markets/{market}/activate", token=OPERATOR)).status_code == 409
        trade = {**ON_MARKET, "quote": {"cost": int, "total": int, "shares": int}}
        order = {"market_id": market, "outcome": True, "max_cost": SOL}
        assert misfit(await ask(trader, "/api/trades/buy", order), trade) == ""
        both = {"market_id": market, "outcome": True, "shares": SOL // 10, "max_cost": SOL}
        bought = await ask(trader, "/api/trades/buy", both)
        assert (bought["simulation"]["ok"], bought["quote"]["min_shares"]) == (True, SOL // 10)
        assert bought["quote"]["max_cost"] < SOL
        await ask(trader, "/api/trades/buy", {**both, "max_cost": 1}, 409)
        await life.buy(trader, market, True, SOL)
        sale = {"market_id": market, "outcome": True, "shares": SOL // 4, "slippage_bps": 50}
        assert misfit(await ask(trader, "/api/trades/sell", sale), trade) == ""
        await life.travel(25 * HOUR)
        evidence = {"outcome": True, "evidence": "The harbour master's log."}
        resolved = await ask(trader, f"/api/markets/{market}/resolve", evidence)
        assert misfit(resolved, {**ON_MARKET, "ipfs_evidence_hash": CID_V0}) == ""
        build = life.build
        await life.send(
            trader,
            build.resolve_market(str(trader.pubkey()), market, proposed_outcome=True, ipfs_evidence_hash=CID),
        )
        assert misfit(await ask(trader, f"/api/markets/{market}/dispute"), ON_MARKET) == ""
        await life.travel(80 * HOUR)
        backend = local_chain.keys.backend
        await life.send(backend, build.finalize_market(str(backend.pubkey()), market, None))
        claimed = await ask(trader, "/api/trades/claim", {"market_id": market})
        assert misfit(claimed, {**ON_MARKET, "payout": int}) == ""
        assert claimed["payout"] > 0
