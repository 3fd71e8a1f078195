"""A retrying loop continues through temporary errors of a server, ends when it is stopped, and does not hide bugs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from kit.waiting import until
from zmart.chain.rpc_errors import RpcError, TransientRpcError
from zmart.decisions.ticks import TickRecord
from zmart.errors import Busy, ChainError, ConfigError, ReadOnly, RolledBack, Unavailable
from zmart.store.retrying import Outages, StopSignal, retrying


class Scripted:
    """A scripted turn of a loop, and the loop's wake source.

    Each turn returns or raises the next step of the script. The wake source records every pause, in seconds, and is
    stopped when the script ends.
    """

    def __init__(self, script: Sequence[float | Exception]) -> None:
        self._script = list(script)
        self.pauses: list[float] = []

    @property
    def stopped(self) -> bool:
        return not self._script

    def clear(self) -> None:
        pass

    async def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def turn(self) -> float:
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


@pytest.fixture
def outages() -> Outages:
    return Outages(reported_after_s=0.0)


@pytest.mark.parametrize("kind", [Unavailable, Busy, ReadOnly])
async def test_a_turn_that_a_server_refused_is_repeated_after_a_pause_and_said(
    kind: type[Exception], outages: Outages
) -> None:
    loop = Scripted([5.0, kind("PostgreSQL is not well.")])
    await retrying(loop.turn, loop, "Counting", outages, retry_s=0.5)
    assert loop.pauses == [5.0, 0.5]
    assert outages.reason == "Counting waits: PostgreSQL is not well."


async def test_the_next_success_ends_an_outage(outages: Outages) -> None:
    loop = Scripted([Busy("no"), 0.0])
    await retrying(loop.turn, loop, "Counting", outages)
    assert outages.reason == ""


async def test_the_longest_wait_is_the_reason(outages: Outages) -> None:
    outages.begin("First", "one.")
    outages.begin("Second", "two.")
    assert outages.reason == "First waits: one."
    outages.end("First")
    assert outages.reason == "Second waits: two."


async def test_a_wait_that_has_just_begun_makes_no_service_unready() -> None:
    outages = Outages()
    outages.begin("Counting", "no")
    assert outages.reason == ""


async def test_a_transaction_that_gave_way_is_repeated_at_once_and_is_no_outage(outages: Outages) -> None:
    loop = Scripted([RolledBack("deadlock")])
    await retrying(loop.turn, loop, "Counting", outages)
    assert max(loop.pauses) < 0.1
    assert outages.reason == ""


async def test_work_that_is_left_is_done_without_a_pause() -> None:
    loop = Scripted([0.0, 0.0, 3.0])
    await retrying(loop.turn, loop, "Counting")
    assert loop.pauses == [3.0]


@pytest.mark.parametrize("bug", [KeyError("x"), ChainError("not waited for here")], ids=repr)
async def test_a_bug_ends_the_loop(bug: Exception) -> None:
    loop = Scripted([bug, 0.0])
    with pytest.raises(type(bug)):
        await retrying(loop.turn, loop, "Counting")


async def test_other_errors_are_waited_for_where_that_is_said(outages: Outages) -> None:
    loop = Scripted([ChainError("The RPC is silent.")])
    await retrying(loop.turn, loop, "Counting", outages, errors=(ChainError,))
    assert outages.reason == "Counting waits: The RPC is silent."


async def test_a_stop_ends_a_pause() -> None:
    stop = asyncio.Event()

    async def turn() -> float:
        asyncio.get_running_loop().call_soon(stop.set)
        return 3600.0

    async with asyncio.timeout(10):
        await retrying(turn, StopSignal(stop), "Counting")


async def test_a_success_wakes_the_loops_that_wait(outages: Outages) -> None:
    """C6: the first success after an outage wakes the other loops at once, although their pauses are not over."""
    stop, is_back, runs = asyncio.Event(), asyncio.Event(), {"first": 0, "second": 0}

    def turn_of(name: str) -> Callable[[], Awaitable[float]]:
        async def turn() -> float:
            runs[name] += 1
            if not is_back.is_set():
                raise Unavailable("PostgreSQL is unavailable.")
            return 60.0

        return turn

    retries = {"first": 0.05, "second": 60.0}
    loops = [
        asyncio.create_task(retrying(turn_of(name), StopSignal(stop), name, outages, retry_s=retry_s))
        for name, retry_s in retries.items()
    ]
    await until(lambda: runs["first"] > 3 and runs["second"] == 1)
    is_back.set()
    await until(lambda: runs["second"] == 2 and outages.reason == "", within_s=5)
    stop.set()
    await asyncio.gather(*loops)


@pytest.mark.parametrize(
    ("problem", "is_outage"),
    [
        (Unavailable("x"), True),
        (Busy("x"), True),
        (ReadOnly("x"), True),
        (TransientRpcError("x"), True),
        (RpcError("getSlot", -32602, "x"), False),
        (ConfigError("x"), False),
        (KeyError("x"), False),
    ],
)
async def test_a_tick_knows_whether_an_outage_kept_it_from_its_work(
    problem: Exception, is_outage: bool
) -> None:
    async def fails() -> None:
        raise problem

    async def succeeds() -> None:
        return

    registry = CollectorRegistry()
    ticks = TickRecord(
        "a tick", Counter("ticks", "", ["result"], registry=registry), Histogram("s", "", registry=registry)
    )
    assert not await ticks.run(fails)
    assert (ticks.was_outage, bool(ticks.error)) == (is_outage, True)
    assert ticks.reason == f"The last tick failed: {ticks.error}"
    assert await ticks.run(succeeds)
    assert (ticks.was_outage, ticks.error, ticks.reason) == (False, "", "")
