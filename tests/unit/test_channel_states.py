"""Tests of the states of channels that new subscriptions share: bounded in bytes, and each for a second."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from zmart.feed.channels import Channel, ChannelKind
from zmart.market.types import MarketId
from zmart.services.websocket import metrics, state
from zmart.services.websocket.state import FRESH_S, ChannelStates


class Database:
    """Reads that give states of `size` bytes at the time `now_s`; `reads` are the markets that were read."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_s = 1_000.0
        self.size = 200_000
        self.reads: list[str] = []
        patch.setattr(state, "_load", self._load)
        patch.setattr(state, "_snapshot", lambda kind, live: msgspec.Raw(b"x" * self.size))
        patch.setattr(state, "time", SimpleNamespace(monotonic=lambda: self.now_s))

    async def _load(self, _: object, channel: Channel) -> Any:
        self.reads.append(channel.market_id or "")
        return SimpleNamespace(epoch="epoch", head=1, kept_from=1)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    return Database(monkeypatch)


async def read(states: ChannelStates, *numbers: int) -> None:
    for number in numbers:
        await states.state(Channel(ChannelKind.DISCUSSIONS, MarketId(f"{number:064x}")), "epoch")


def held_bytes() -> float:
    return metrics.states_bytes._value.get()


async def test_states_of_long_discussions_take_a_bounded_memory_and_the_oldest_are_evicted(
    database: Database,
) -> None:
    """The state of one channel may have 213 KB: 1,000 of them were 213 MB in each process, for as long as it ran."""
    states = ChannelStates(None, max_bytes=1_000_000)  # type: ignore[arg-type]  # its one use is replaced
    await read(states, *range(20))
    assert 800_000 < held_bytes() <= 1_000_000
    database.reads.clear()
    await read(states, 16, 17, 18, 19)
    assert database.reads == []
    await read(states, 15)
    assert len(database.reads) == 1


async def test_states_that_are_not_fresh_any_more_are_evicted_by_the_next_read(database: Database) -> None:
    states = ChannelStates(None)  # type: ignore[arg-type]  # its one use is replaced
    await read(states, *range(20))
    assert held_bytes() > 20 * database.size
    database.now_s += FRESH_S
    await read(states, 7)
    assert database.size < held_bytes() < 2 * database.size


async def test_a_state_beyond_the_limit_is_answered_and_not_held(database: Database) -> None:
    states = ChannelStates(None, max_bytes=1_000)  # type: ignore[arg-type]  # its one use is replaced
    await read(states, 1, 1)
    assert (len(database.reads), held_bytes()) == (2, 0)
