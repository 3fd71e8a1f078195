"""Tests that every client sees the local chain's slots only grow, while its clock is moved or after it is killed."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import suppress

import psutil
import pytest

from kit.waiting import until, watched
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.local.chain.server import ChainServer

HOUR_S = 3_600
JUMPS_S = (25 * HOUR_S, 1, 30 * HOUR_S, 1, 6 * HOUR_S)


@pytest.fixture
async def rpc(chain: ChainServer) -> AsyncIterator[Rpc]:
    async with Rpc([chain.rpc_url], attempts=1) as client:
        yield client


async def jump(rpc: Rpc, **target: int) -> None:
    await rpc.call("surfnet_timeTravel", [target])


async def advance(rpc: Rpc, seconds: int) -> None:
    now = await rpc.get_clock("processed")
    await jump(rpc, absoluteTimestamp=(now.unix_timestamp + seconds) * 1000)


async def slot(rpc: Rpc) -> int:
    return await rpc.get_slot("processed")


async def clock_slot(rpc: Rpc) -> int:
    return (await rpc.get_clock("processed")).slot


def kill(chain: ChainServer) -> None:
    assert chain._process is not None
    chain._process.kill()
    chain._process.wait()


async def test_no_client_sees_a_lower_slot_while_the_clock_is_moved(rpc: Rpc) -> None:
    """No client sees a lower slot while the clock is moved, in getSlot or in the Clock sysvar.

    Until its next block, Surfpool itself has the number of the slot within its epoch in that sysvar.
    """
    looks = (lambda: slot(rpc), lambda: clock_slot(rpc), lambda: clock_slot(rpc))
    async with watched(*looks) as shown:
        for seconds in JUMPS_S:
            await advance(rpc, seconds)
            before = max(max(seen, default=0) for seen in shown)
            assert await clock_slot(rpc) >= before
        await jump(rpc, absoluteSlot=await slot(rpc) + 500_000)
        await jump(rpc, absoluteEpoch=20)
    assert all(len(seen) > 20 for seen in shown)
    assert shown == [sorted(seen) for seen in shown]


async def test_a_clock_is_not_set_to_a_slot_that_has_been(rpc: Rpc) -> None:
    """A jump to a past slot or epoch is refused, and so is a reset.

    Surfpool itself goes back to the first slot of the present epoch, and to slot 0 when it is reset.
    """
    await jump(rpc, absoluteSlot=1_000_000)
    before = await slot(rpc)
    for target in (
        {"absoluteEpoch": 2},
        {"absoluteEpoch": 1},
        {"absoluteSlot": 999_999},
        {"absoluteSlot": -1},
    ):
        with pytest.raises(ChainError):
            await jump(rpc, **target)
    with pytest.raises(ChainError, match="zmart clean"):
        await rpc.call("surfnet_resetNetwork")
    assert before <= await slot(rpc) < before + 10_000


async def test_a_chain_that_is_killed_while_its_clock_is_moved_comes_back_at_no_lower_slot(
    chain: ChainServer, rpc: Rpc
) -> None:
    began = await slot(rpc)
    async with watched(lambda: slot(rpc), lambda: clock_slot(rpc)) as shown:
        moving = asyncio.create_task(advance(rpc, 300 * HOUR_S))
        await until(lambda: max(shown[0], default=0), lambda seen: seen > began + 1_000_000)
        kill(chain)
        with suppress(ChainError):
            await moving
    last = max(max(seen) for seen in shown)
    chain.start()
    assert await slot(rpc) > last
    assert await clock_slot(rpc) > last


async def test_a_chain_whose_journal_cannot_be_written_stands_still_and_never_repeats_a_slot(
    chain: ChainServer, rpc: Rpc
) -> None:
    await stand_still(chain, rpc)
    with pytest.raises(ChainError, match="free some space"):
        await advance(rpc, HOUR_S)
    limit(chain, None)
    last = await slot(rpc)
    await until(lambda: slot(rpc), lambda seen: seen > last + 10)
    await stand_still(chain, rpc)
    last, time_s = await slot(rpc), (await rpc.get_clock("processed")).unix_timestamp
    kill(chain)
    chain.start()
    assert await slot(rpc) > last
    assert (await rpc.get_clock("processed")).unix_timestamp >= time_s


async def stand_still(chain: ChainServer, rpc: Rpc) -> None:
    """Let the journal grow no more, and wait until the slot is the same after half a second, the time of ten slots."""
    limit(chain, (chain.folder / "journal").stat().st_size)
    before = -1

    async def stands() -> bool:
        nonlocal before
        last, before = before, await slot(rpc)
        return last == before

    await until(stands, every_s=0.5, within_s=60)


def limit(chain: ChainServer, size_bytes: int | None) -> None:
    assert chain._process is not None
    allowed = resource.RLIM_INFINITY if size_bytes is None else size_bytes
    psutil.Process(chain._process.pid).rlimit(psutil.RLIMIT_FSIZE, (allowed, resource.RLIM_INFINITY))


async def test_slots_only_grow_over_other_ends_and_other_slot_times(chain: ChainServer, rpc: Rpc) -> None:
    """Slots only grow if the chain is killed after a save, is stopped, or starts with eight times longer slots."""
    await rpc.call("zmart_save")
    last = await slot(rpc)
    await until(lambda: slot(rpc), lambda seen: seen > last + 20)
    last = await slot(rpc)
    kill(chain)
    chain.slot_ms = 400
    chain.start()
    assert await slot(rpc) > last
    async with watched(lambda: slot(rpc)) as shown:
        await until(lambda: len(shown[0]) > 5)
        chain.stop()
    chain.start()
    assert await slot(rpc) >= max(shown[0])


async def test_a_chain_that_starts_on_a_full_disk_stands_still_at_once(chain: ChainServer, rpc: Rpc) -> None:
    """What is reserved in a journal that says that the chain has ended counts for nothing, since a start ignores it."""
    chain.stop()
    size_bytes = (chain.folder / "journal").stat().st_size
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, allowed[1]))  # the started process inherits it
    try:
        chain.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    async with watched(lambda: slot(rpc)) as shown:
        await until(lambda: len(shown[0]) > 300)
    assert shown[0][-1] - shown[0][0] <= 1
    last = shown[0][-1]
    limit(chain, None)
    await until(lambda: slot(rpc), lambda seen: seen > last + 2)


async def test_time_travels_that_are_requested_at_once_follow_each_other(rpc: Rpc) -> None:
    before = await slot(rpc)
    await asyncio.gather(*(jump(rpc, absoluteSlot=before + 10_000 * number) for number in (1, 2, 3, 4)))
    assert before + 40_000 <= await slot(rpc) < before + 41_000
