"""The demo's client of the live feed follows the rules of docs/websocket.md for clients that miss no message."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve

from zmart.local.demo.recorder import SocketRecorder

CHANNEL = "trades:m"
Answer = dict[str, object]
Connections = list[list[Answer]]


def change(offset: int, signature: str, epoch: str = "first") -> Answer:
    data = {"action": "created", "id": signature, "tx_signature": signature}
    return {"type": "trade", "channel": CHANNEL, "epoch": epoch, "offset": offset, "data": data}


def subscribed(offset: int, outcome: str, epoch: str = "first", **state: object) -> Answer:
    data = {"outcome": outcome, **state}
    return {"type": "subscribed", "channel": CHANNEL, "epoch": epoch, "offset": offset, "data": data}


def gap(start: int, end: int) -> Answer:
    data = {"from": start, "to": end}
    return {"type": "gap", "channel": CHANNEL, "epoch": "second", "offset": end, "data": data}


UNAVAILABLE = {"type": "error", "epoch": "first", "data": {"code": "unavailable", "error": "try again"}}
RESTART = {"type": "restart"}


@asynccontextmanager
async def scripted(answers: Connections) -> AsyncIterator[tuple[str, list[Answer]]]:
    """Serve a WebSocket that answers each connection's subscription with the next list of `answers`.

    Yields the server's URL and the list of the requests that it receives.
    """
    asked: list[Answer] = []

    async def connected(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "welcome"}))
        async for text in socket:
            asked.append(json.loads(text))
            for answer in answers.pop(0):
                if answer is RESTART:
                    await socket.close(1012, "feed restarted; retry_ms=100")
                else:
                    await socket.send(json.dumps(answer))

    async with serve(connected, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}", asked


def positions(asked: list[Answer]) -> list[tuple[object, object]]:
    return [(each.get("epoch"), each.get("offset")) for each in asked]


async def test_who_is_refused_for_the_moment_asks_again_from_the_same_offset() -> None:
    answers: Connections = [
        [subscribed(3, "fresh"), change(4, "one"), RESTART],
        [UNAVAILABLE],
        [subscribed(4, "replayed"), change(5, "two")],
    ]
    async with (
        scripted(answers) as (url, asked),
        SocketRecorder.listening(url, [CHANNEL]) as recorder,
    ):
        assert (await recorder.message(CHANNEL, "the purchase", tx_signature="two")).offset == 5
    assert positions(asked) == [(None, None), ("first", 4), ("first", 4)]


async def test_what_changed_within_a_gap_is_read_from_the_state_after_it() -> None:
    """A change within a gap counts as received only if the state after the gap has it.

    A state without a gap before it does not replace a missed message.
    """
    before, missed = ({"id": name, "tx_signature": name} for name in ("one", "two"))
    answers: Connections = [
        [subscribed(3, "fresh", snapshot=[]), change(4, "one"), RESTART],
        [gap(5, 6), RESTART],  # the server restarts before it has sent the state
        [gap(5, 6), subscribed(6, "gap", "second", snapshot=[before, missed]), change(7, "three", "second")],
    ]
    async with (
        scripted(answers) as (url, asked),
        SocketRecorder.listening(url, [CHANNEL]) as recorder,
    ):
        assert (await recorder.message(CHANNEL, "the purchase", tx_signature="two")).type == "subscribed"
        await recorder.message(CHANNEL, "the next one", tx_signature="three")
        assert [each["id"] for each in recorder.displayed(CHANNEL)] == ["one", "two", "three"]
        assert [each.offset for each in recorder.tape(CHANNEL)] == [4, 7]
        assert recorder.gaps == {CHANNEL: [range(5, 7), range(5, 7)]}
    assert positions(asked) == [(None, None), ("first", 4), ("first", 4)]


async def test_after_a_fail_over_the_offset_of_the_new_epoch_counts_though_it_is_smaller() -> None:
    answers: Connections = [
        [subscribed(9, "fresh"), RESTART],
        [gap(10, 6), subscribed(6, "gap", "second", snapshot=[]), RESTART],
        [subscribed(6, "replayed", "second"), change(7, "one", "second")],
    ]
    async with (
        scripted(answers) as (url, asked),
        SocketRecorder.listening(url, [CHANNEL]) as recorder,
    ):
        await recorder.message(CHANNEL, "the purchase", tx_signature="one")
    assert positions(asked) == [(None, None), ("first", 9), ("second", 6)]
