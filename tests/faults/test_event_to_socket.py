"""The time from the chain's notice of a trade to its message on the socket, with webhook and log subscription."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect

from kit.chain_life import SOL, Driver
from kit.waiting import until
from zmart.chain import subscriptions
from zmart.chain.rpc import Rpc
from zmart.local.processes import free_port
from zmart.local.providers.helius.delivery import WebhookPoster
from zmart.local.providers.helius.payloads import TransactionSource
from zmart.local.providers.helius.registry import RegisteredWebhook
from zmart.services.indexer.service import Indexer
from zmart.services.webhook import PATH
from zmart.services.websocket.service import WebSocketService
from zmart.settings import load_settings

SECRET = "a secret of the webhook, of 32 characters"


@asynccontextmanager
async def backend(local_chain, database_url, redis_url, **more):
    """Run indexer and socket server, with the settings `more`; yield the ports of the webhook and of the socket."""
    settings = load_settings(
        _env_file=None,
        zmart_env="local",
        database_url=database_url,
        redis_url=redis_url,
        solana_rpc_url=local_chain.rpc_url,
        solana_ws_url=local_chain.ws_url,
        helius_webhook_secret=SECRET,
        ws_port=0,
        **more,
    )
    indexer, sockets = await Indexer.open(settings), await WebSocketService.open(settings)
    port, stop = free_port(), asyncio.Event()
    config = uvicorn.Config(indexer.asgi(), port=port, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    tasks = [asyncio.create_task(work) for work in (indexer.run(stop), sockets.run(stop), server._serve())]

    async def ready():
        return server.started and sockets.port and (await indexer.readiness()).ready

    await until(ready)
    try:
        yield port, sockets.port
    finally:
        server.should_exit = True
        stop.set()
        async with asyncio.timeout(15):
            await asyncio.gather(*tasks)


@asynccontextmanager
async def helius(local_chain, rpc, port, told):
    """Deliver each transaction of the program to the webhook within the block, as Helius does.

    `told` gets, by signature, the monotonic time at which the chain's log subscription named the transaction.
    """
    webhook = RegisteredWebhook(
        webhook_id="w",
        webhook_url=f"http://127.0.0.1:{port}{PATH}",
        transaction_types=["ANY"],
        account_addresses=[local_chain.program.address],
        webhook_type="raw",
        auth_header=SECRET,
        txn_status="all",
    )
    connected = asyncio.Event()
    async with httpx.AsyncClient() as http:
        delivery = WebhookPoster(webhook, TransactionSource(rpc), http)

        async def listen():
            notices = subscriptions.logs(
                local_chain.ws_url, local_chain.program.address, on_connect=connected.set
            )
            async with aclosing(notices) as stream:
                async for notice in stream:
                    told.setdefault(notice.signature, time.monotonic())
                    delivery.offer(notice.signature)

        listening = asyncio.create_task(listen())
        async with asyncio.timeout(15):
            await connected.wait()
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await delivery.close()


async def follow(port, seen, subscribed):
    async with connect(f"ws://127.0.0.1:{port}", compression=None) as socket:
        await socket.send(json.dumps({"action": "subscribe", "channel": "trades"}))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "subscribed":
                subscribed.set()
            elif message["type"] == "trade":
                seen.setdefault(message["data"]["tx_signature"], time.monotonic())


async def test_no_trade_waits_for_somebody_to_look_by_himself(
    local_chain, database_url, redis_url, monkeypatch
):
    """U5: the polls that find work without a notification run every 120 s only, and no trade waits for them."""
    for position in (
        "services.indexer.worker.LONGEST_PAUSE_S",
        "services.indexer.fetcher.LONGEST_PAUSE_S",
        "feed.relay._FALLBACK_POLL_S",
    ):
        monkeypatch.setattr(f"zmart.{position}", 120.0)
    settings = {"indexer_scan_interval_s": 120.0, "rpc_timeout_s": 60.0}
    waited = await measured(local_chain, database_url, redis_url, 30, **settings)
    assert waited[-1] < 30


@pytest.mark.slow
async def test_of_500_trades_99_in_100_are_on_the_socket_within_250_ms(local_chain, database_url, redis_url):
    """U5: the limit of 250 ms is judged only when the machine is idle at the start."""
    idle = os.getloadavg()[0] < (os.cpu_count() or 1) / 2
    waited = await measured(local_chain, database_url, redis_url, 500)
    assert waited[-1] < 2.5, "a service polled because no notification woke it"
    if idle:
        assert at(waited, 0.99) < 0.25
    else:
        print("p99 is not judged: other work kept this machine busy when the trades began")


def at(waited, share):
    return waited[int((len(waited) - 1) * share)]


async def measured(local_chain, database_url, redis_url, number, **more):
    """Make `number` trades; return the seconds from the chain's notice of each to the socket's message, sorted."""
    reported, seen, subscribed = {}, {}, asyncio.Event()
    async with (
        Rpc([local_chain.rpc_url]) as rpc,
        backend(local_chain, database_url, redis_url, **more) as (port, ws_port),
    ):
        driver = Driver(local_chain, rpc)
        people = [await driver.wallet() for _ in range(4)]
        market = await driver.open(people[0], people[1])
        following = asyncio.create_task(follow(ws_port, seen, subscribed))
        async with helius(local_chain, rpc, port, reported):
            await asyncio.wait_for(subscribed.wait(), 10)
            reported.clear()
            left = iter(range(number))

            async def trade(user):
                for n in left:
                    await driver.buy(user, market, bool(n % 2), SOL // 100 + n)
                    await asyncio.sleep(random.uniform(0, 0.1))

            await asyncio.gather(*(trade(user) for user in people))

            async def arrived():
                return len(reported) >= number and reported.keys() <= seen.keys()

            await until(arrived)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    waited = sorted(max(0.0, seen[signature] - reported[signature]) for signature in reported)
    figures = ", ".join(f"p{share} {at(waited, share / 100) * 1000:.0f} ms" for share in (50, 90, 99, 100))
    print(f"{number} trades, from the chain's notice to the socket: {figures}")
    return waited
