"""What the gateway does while something that it needs is unavailable, slow or full."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from kit.chain_life import SOL, Driver
from kit.gateway import add_market, legacy_body, site
from kit.raw_client import connected, request, served
from kit.wallets import address, wallet
from zmart.chain.rpc import Rpc
from zmart.ipfs.pinata import PinataClient
from zmart.services.connection_limits import ConnectionBounds
from zmart.services.gateway.api import fee_payer
from zmart.store import anchors

NEW = {
    "question": "Will this draft outlive the outage?", "end_date": "2100-01-01T00:00:00Z", "b_parameter": 20 * SOL,
    "initial_liquidity": 15 * SOL,
}  # fmt: skip


class Wire:
    """A TCP connection's way to a server, which can be made silent."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._open = asyncio.Event()
        self._open.set()
        self._ways: set[asyncio.Task[None]] = set()
        self.port = 0

    def silence(self) -> None:
        self._open.clear()

    def restore(self) -> None:
        self._open.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = asyncio.current_task()
        assert way is not None
        self._ways.add(way)
        writers = [writer]
        try:
            await self._open.wait()
            there, back = await asyncio.open_connection(*self._target)
            writers.append(back)
            both = [self._carry(reader, back), self._carry(there, writer)]
            await asyncio.wait(map(asyncio.create_task, both), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for one in writers:
                one.transport.abort()
            self._ways.discard(way)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Wire]:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.restore()
            listener.close()
            for way in list(self._ways):
                way.cancel()
            await asyncio.gather(*self._ways, return_exceptions=True)
            await asyncio.sleep(0)  # the aborted transports close


async def timed(call) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = await call
    return answer, time.monotonic() - began


async def test_a_silent_database_is_503_within_two_seconds_and_comes_back(database_url: str) -> None:
    there = urlsplit(database_url)
    async with Wire(there.hostname or "", there.port or 0).running() as wire:
        through = database_url.replace(f":{there.port}/", f":{wire.port}/")
        async with site(through) as here:
            await add_market(here.pool, 1)
            assert (await here.get("/api/markets")).status_code == 200
            wire.silence()
            for path in ("/api/markets?limit=3", f"/api/users/{address(2)}/stats"):
                answer, seconds = await timed(here.get(path))
                assert (answer.status_code, seconds < 2.2) == (503, True), answer.text
                assert answer.headers["retry-after"]
            assert not (await here.gateway.readiness()).ready
            wire.restore()
            async with asyncio.timeout(10):
                while (await here.get("/api/markets?limit=2")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


async def test_a_full_pool_is_503_with_retry_after_and_never_hangs(database_url: str) -> None:
    async with site(database_url, database_pool_size=1) as here:
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
    there = urlsplit(redis_url)
    async with Wire(there.hostname or "", there.port or 0).running() as wire:
        through = redis_url.replace(f":{there.port}", f":{wire.port}")
        async with site(database_url, through, rate_limit_reads=8) as here:
            market = await add_market(here.pool, 1)
            token = await here.sign_in(wallet(1))
            wire.silence()
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
        token = await here.sign_in(wallet(1))
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
    async with Wire("127.0.0.1", 9).running() as wire:
        wire.silence()
        away = f"http://127.0.0.1:{wire.port}"
        values = {
            "pinata_jwt": "x",
            "pinata_api_url": away,
            "solana_rpc_url": local_chain.rpc_url,
            "pin_wait_s": 0.2,
        }
        async with site(database_url, redis_url, **values) as here:
            assert isinstance(here.gateway.context.pins, PinataClient)
            made, seconds = await timed(here.post("/api/markets", NEW, await here.sign_in(wallet(1))))
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
    """Compute unit limit and price of a transaction."""
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
