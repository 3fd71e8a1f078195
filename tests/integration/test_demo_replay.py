"""Tests of the demo's check that a replay of the live feed equals what a live client received."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from kit import rows
from kit.sockets import serving
from kit.waiting import until
from zmart.errors import ZmartError
from zmart.local.demo.recorder import SocketRecorder
from zmart.local.demo.replay_check import compare_with_replay
from zmart.services.websocket.service import WebSocketService
from zmart.settings import load_settings
from zmart.store import change_feed
from zmart.store.pool import Pool

MARKET = "ab" * 32
CHANNEL = f"discussions:{MARKET}"
COMMENTS = 4


@pytest.fixture
async def service(database_url: str, redis_url: str) -> AsyncIterator[WebSocketService]:
    async with serving(load_settings(database_url=database_url, redis_url=redis_url, ws_port=0)) as service:
        yield service


def url(service: WebSocketService) -> str:
    return f"ws://127.0.0.1:{service.port}"


@pytest.fixture
async def live(service: WebSocketService, pool: Pool) -> SocketRecorder:
    """A live client that received some comments of a market, and has ended."""
    await rows.add_markets(pool, [rows.market_fold(MARKET)])
    async with SocketRecorder.listening(url(service), [CHANNEL]) as recorder:
        for number in range(COMMENTS):
            await pool.execute(
                "INSERT INTO discussions (market_id, wallet, content) VALUES ($1, $2, $3)",
                MARKET, "1" * 32, str(number),
            )  # fmt: skip
        await recorder.message(CHANNEL, "the last comment", content=str(COMMENTS - 1))
    return recorder


async def test_a_replay_equals_what_was_received_live(
    service: WebSocketService, live: SocketRecorder
) -> None:
    said = await compare_with_replay(url(service), live, [CHANNEL])
    assert said == f"{COMMENTS} messages in 1 channels, 0 reconnects, 0 gaps"


async def test_a_fail_over_before_the_replay_is_no_difference(
    service: WebSocketService, live: SocketRecorder, pool: Pool
) -> None:
    """The feed begins a new epoch when another PostgreSQL becomes the primary: a replay by the former one is a gap."""
    began = await change_feed.renew_epoch(pool)
    await until(lambda: service._hub.epoch == began)
    said = await compare_with_replay(url(service), live, [CHANNEL])
    assert said == f"{COMMENTS} messages in 1 channels, 0 reconnects, 0 gaps"


async def test_a_feed_that_was_pruned_cannot_be_compared(
    service: WebSocketService, live: SocketRecorder, pool: Pool
) -> None:
    await pool.execute("UPDATE feed_commits SET committed_at = now() - interval '25 hours'")
    await change_feed.prune(pool, keep_hours=24)
    began = await change_feed.renew_epoch(pool)  # otherwise the server still has the changes in memory
    await until(lambda: service._hub.epoch == began)
    with pytest.raises(ZmartError, match="each of 5 replays had a gap"):
        await compare_with_replay(url(service), live, [CHANNEL])


@pytest.mark.parametrize("fault", ["lost", "changed", "repeated"])
async def test_a_difference_is_named(service: WebSocketService, live: SocketRecorder, fault: str) -> None:
    place = next(n for n, message in enumerate(live.messages) if message.data.get("content") == "1")
    message = live.messages[place]
    expected = {
        "lost": r"the replay differs from the live messages: \[.*, .*, .*\], not \[",
        "changed": f"#{message.offset} has content '1', not 'one'",
        "repeated": "offsets are not strictly rising",
    }[fault]
    live.messages[place : place + 1] = {
        "lost": [],
        "changed": [replace(message, data={**message.data, "content": "one"})],
        "repeated": [message, message],
    }[fault]
    with pytest.raises(ZmartError, match=expected):
        await compare_with_replay(url(service), live, [CHANNEL])
