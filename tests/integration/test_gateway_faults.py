"""Tests of the gateway while something that it needs is unavailable, slow or full."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from solders.keypair import Keypair

from kit.chain_life import SOL, Driver
from kit.gateway import Site, add_market, legacy_body, site
from kit.machine_time import machine_time, seconds_since
from kit.raw_client import connected, request, served
from kit.rpc_proxy import Call, Fault, Late, Proxy, Script, honest
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from kit.wallets import address, address_of, wallet
from zmart.chain.rpc import Rpc
from zmart.ipfs.pinata import PinataClient
from zmart.local.chain.genesis import fund
from zmart.market.types import Lamports
from zmart.services.connection_bounds import ConnectionBounds
from zmart.services.gateway.api import fee_payer
from zmart.services.gateway.http.time_limit import TimeLimits
from zmart.store import anchors

NEW = {
    "question": "Will this draft outlive the outage?", "end_date": "2100-01-01T00:00:00Z", "b_parameter": 20 * SOL,
    "initial_liquidity": 15 * SOL,
}  # fmt: skip


async def timed(call) -> tuple[httpx.Response, float]:
    began = machine_time()
    answer = await call
    return answer, seconds_since(began)


READS = ("/api/markets?limit=3", "/api/markets/{market}", "/api/markets/{market}/trades", "/api/status", "/")


async def every_answer(
    here: Site, market: str, token: str, when: str, *, at_once: bool = False
) -> list[httpx.Response]:
    """Return the answers of some reads and of a comment; each must come within 2.1 seconds.

    Each read is sent twice, since the first answer fills the response cache.
    """
    comment = {"content": f"Is it there, {when}?", "market_id": market}
    calls = [timed(here.get(path.format(market=market))) for path in (*READS, *READS)]
    calls.append(timed(here.post("/api/discussions", comment, token)))
    results = await asyncio.gather(*calls) if at_once else [await call for call in calls]
    assert max(seconds for _, seconds in results) < 2.1, results
    return [answer for answer, _ in results]


@pytest.mark.parametrize("how", ["hang", "refuse", "cut", "hang_old"])
async def test_an_unavailable_database_is_503_within_two_seconds_and_comes_back_at_once(
    database_url: str, redis_url: str, how: str
) -> None:
    """C8: while the database is unavailable each request ends in about two seconds; afterwards each works at once.

    "hang": nothing answers. "refuse": nothing listens. "cut": connections are cut. "hang_old": existing connections
    hang and new ones work.
    """
    async with (
        TcpProxy.before(database_url) as proxy,
        site(proxy.url, redis_url, limits=TimeLimits(), database_pool_size=4) as here,
    ):
        market, token = await add_market(here.pool, 1), await here.sign_in(wallet(1))
        assert {a.status_code for a in await every_answer(here, market, token, "before")} <= {200, 201}
        getattr(proxy, how)()
        answers = await every_answer(here, market, token, how, at_once=how in ("hang", "refuse"))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert all(answer.headers["retry-after"] for answer in refused)
        assert {answer.status_code for answer in answers} <= {200, 201, 503}
        if how in ("hang", "refuse"):
            assert len(refused) == len(answers)
            assert not (await here.gateway.readiness()).ready
        else:
            assert len(refused) <= 2, "one that is discarded takes the others with it"
        await proxy.restore()
        await until(lambda: here.get("/api/status"), lambda answer: answer.status_code == 200, within_s=2)
        assert {a.status_code for a in await every_answer(here, market, token, "after")} <= {200, 201}
        assert (await here.gateway.readiness()).ready


@pytest.mark.parametrize("after_calls", [0, 1, 2])
async def test_a_hanging_rpc_is_503_within_five_seconds_and_reads_go_on(
    database_url: str, redis_url: str, local_chain, after_calls: int
) -> None:
    """C11: a request whose RPC hangs, from its first call or a later one, is 503 within five seconds; reads go on."""
    async with (
        Proxy.before(local_chain.rpc_url) as proxy,
        site(database_url, redis_url, limits=TimeLimits(), solana_rpc_url=proxy.url) as here,
    ):
        async with Rpc([local_chain.rpc_url]) as rpc:
            life = Driver(local_chain, rpc)
            creator, trader = await life.wallet(), await life.wallet()
            market = await life.open(creator, trader)
        token = await here.sign_in(trader)
        order = {"market_id": market, "outcome": True, "max_cost": SOL}
        assert (await here.post("/api/trades/buy", order, token)).status_code == 200
        proxy.script = hanging_after(after_calls)
        calls = [here.post("/api/trades/buy", order, token), here.post("/api/markets", NEW, token)]
        for answer, seconds in await asyncio.gather(*map(timed, calls)):
            assert (answer.status_code, seconds < 5) == (503, True), (seconds, answer.text)
            assert answer.headers["retry-after"]
        kept = "SELECT count(*) FROM market_documents WHERE question = $1"
        assert await here.pool.fetchval(kept, NEW["question"]) == 1
        status, seconds = await timed(here.get("/api/status"))
        assert (status.status_code, seconds < 2) == (200, True)
        proxy.script = honest
        assert (await here.post("/api/trades/buy", order, token)).status_code == 200


def hanging_after(calls: int) -> Script:
    """Return a script of the RPC proxy that passes on `calls` calls and delays every later answer by 30 seconds."""
    left = calls

    def script(call: Call) -> Fault | None:
        nonlocal left
        left -= 1
        return Late(30) if left < 0 else None

    return script


async def test_a_full_pool_is_503_with_retry_after_and_never_hangs(database_url: str) -> None:
    async with site(database_url, limits=TimeLimits(), database_pool_size=1) as here:
        await add_market(here.pool, 1)
        async with here.pool.acquire():
            answer, seconds = await timed(here.get(f"/api/users/{address(2)}/stats"))
            assert answer.status_code == 503
            assert seconds < 2
            assert int(answer.headers["retry-after"]) > 0
            assert "busy" in answer.json()["message"]
        assert (await here.get(f"/api/users/{address(2)}/stats")).status_code == 200


async def test_reads_go_on_while_redis_is_silent_and_limits_still_hold(
    database_url: str, redis_url: str
) -> None:
    async with (
        TcpProxy.before(redis_url) as wire,
        site(database_url, wire.url, limits=TimeLimits(), rate_limit_reads=8) as here,
    ):
        market = await add_market(here.pool, 1)
        token = await here.sign_in(wallet(1))
        wire.hang()
        answer, seconds = await timed(here.get("/api/markets"))
        assert (answer.status_code, seconds < 1.5) == (200, True)
        comment = {"content": "Still here", "market_id": market}
        assert (await here.post("/api/discussions", comment, token)).status_code == 201
        signed = legacy_body(wallet(2), **comment)
        assert (await here.post("/api/discussions", signed)).status_code == 503
        statuses = [(await here.get("/api/markets")).status_code for _ in range(9)]
        assert 429 in statuses


async def test_a_draft_is_kept_while_the_rpc_is_away_and_the_same_request_takes_it_up(
    database_url: str, redis_url: str, local_chain
) -> None:
    async with site(database_url, redis_url, solana_rpc_url="http://127.0.0.1:9") as here:
        creator = Keypair()
        token = await here.sign_in(creator)
        refused = await here.post("/api/markets", NEW, token)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        mine = {"authorization": f"Bearer {token}"}
        [draft] = (await here.http.get("/api/markets?state=DRAFT", headers=mine)).json()["markets"]
        assert draft["question"] == NEW["question"]
        [open_pin] = await anchors.open_anchors(here.pool, 10)
        assert (open_pin.kind, open_pin.market_id) == (anchors.AnchorKind.QUESTION, draft["id"])
    async with site(
        database_url, redis_url, with_rules=False, solana_rpc_url=local_chain.rpc_url
    ) as restored:
        await fund(restored.gateway.context.chain(), address_of(creator), Lamports(100 * SOL))
        made = await restored.post("/api/markets", NEW, token)
        assert made.status_code == 201
        assert made.json()["id"] == draft["id"]
        assert made.json()["cid"] == open_pin.cid
        other = await restored.post("/api/markets", {**NEW, "description": "Another one."}, token)
        assert other.json()["id"] != draft["id"]
        assert len(await anchors.open_anchors(restored.pool, 10)) == 2


async def test_a_slow_pin_provider_delays_nothing_and_its_pin_stays_open(
    database_url: str, redis_url: str, local_chain
) -> None:
    async with TcpProxy.before("http://127.0.0.1:9") as wire:
        wire.hang()
        values = {
            "pinata_jwt": "x",
            "pinata_api_url": wire.url,
            "solana_rpc_url": local_chain.rpc_url,
            "pin_wait_s": 0.2,
        }
        async with site(database_url, redis_url, **values) as here:
            assert isinstance(here.gateway.context.pins, PinataClient)
            creator = Keypair()
            await fund(here.gateway.context.chain(), address_of(creator), Lamports(100 * SOL))
            made, seconds = await timed(here.post("/api/markets", NEW, await here.sign_in(creator)))
            assert (made.status_code, seconds < 5) == (201, True), made.text
            [waiting] = await anchors.open_anchors(here.pool, 10)
            assert (waiting.cid, waiting.pinned_at) == (made.json()["cid"], None)


async def test_the_status_asks_the_chain_now_and_then_only(
    database_url: str, local_chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = 0
    read = fee_payer.read

    async def counting(rpc: Rpc | None, wallet_: object) -> fee_payer.FeePayerBalance:
        nonlocal requested
        requested += 1
        return await read(rpc, wallet_)

    monkeypatch.setattr(fee_payer, "read", counting)
    async with site(database_url, solana_rpc_url=local_chain.rpc_url) as here:
        answers = await asyncio.gather(*(here.get("/api/status") for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert requested == 1


async def test_a_transaction_says_what_it_may_use_and_what_it_offers(
    database_url: str, redis_url: str, local_chain
) -> None:
    async with site(database_url, redis_url, solana_rpc_url=local_chain.rpc_url) as here:
        async with Rpc([local_chain.rpc_url]) as rpc:
            life = Driver(local_chain, rpc)
            creator, trader = await life.wallet(), await life.wallet()
            market = await life.open(creator, trader)
        token = await here.sign_in(trader)
        order = {"market_id": market, "outcome": True, "max_cost": SOL}
        built = (await here.post("/api/trades/buy", order, token)).json()
        limit, _ = _budget(built["transaction"])
        used = built["simulation"]["units"]
        assert built["simulation"]["ok"]
        assert used < limit < 2 * used + 10_000
        assert (
            5_000 <= built["fee_lamports"] <= 5_000 + here.gateway.context.settings.max_priority_fee_lamports
        )
        early = (
            await here.post(f"/api/markets/{market}/resolve", {"outcome": True, "evidence": "x"}, token)
        ).json()
        assert not early["simulation"]["ok"]
        assert _budget(early["transaction"])[0] > 100_000


def _budget(text: str) -> tuple[int, int]:
    """Return the compute unit limit of a transaction, and its price for one unit in micro-lamports."""
    import base64

    from solders.transaction import VersionedTransaction

    result = {1: 0, 2: 0, 3: 0}
    transaction = VersionedTransaction.from_bytes(base64.b64decode(text))
    for item in transaction.message.instructions:
        if str(transaction.message.account_keys[item.program_id_index]).startswith("ComputeBudget"):
            data = bytes(item.data)
            result[data[0]] = int.from_bytes(data[1:], "little")
    return result[2], result[3]


async def test_a_body_that_does_not_arrive_is_408(database_url: str, redis_url: str) -> None:
    bounds = ConnectionBounds(body_within_s=0.1)
    async with served(database_url, redis_url, bounds=bounds) as here, connected(here.port) as client:
        headers = "Content-Type: application/json\r\nContent-Length: 100\r\n"
        client.writer.write(request("/api/discussions", headers, "POST") + b'{"content": ')
        status, answered, body = await client.answer()
        assert (status, answered["connection"]) == (408, "close")
        assert json.loads(body)["error"] == "Request Timeout"
        assert json.loads(body)["request_id"] == answered["x-request-id"]
        assert await client.is_closed()
