"""What was read about a wallet's lamports is kept for a short time, so that repeated votes cost no repeated reading."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from kit.waiting import until
from kit.wallets import address
from zmart.errors import ChainError
from zmart.market.eligibility import VoteOpening, VoterFacts
from zmart.market.types import ChainTime, Lamports, Signature, Slot
from zmart.votes.held_facts import HeldFacts

OPENING = VoteOpening(ChainTime(1_000), Slot(500), Signature("opened"))
UNKNOWN, NOTHING = VoterFacts(why_unknown="it keeps no history"), VoterFacts(held=Lamports(0))


class Readings:
    """Readings of the chain, which return the given results one after another and can be held up."""

    def __init__(self, results: Sequence[VoterFacts | ChainError]) -> None:
        self.results = list(results)
        self.count = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def read(self) -> VoterFacts:
        self.count += 1
        await self.may_end.wait()
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, ChainError):
            raise result
        return result


@pytest.mark.parametrize("facts", [UNKNOWN, NOTHING])
async def test_a_wallet_that_may_not_vote_is_read_once_however_often_it_tries(facts: VoterFacts) -> None:
    """A wallet with a long history costs an RPC dozens of calls each time that it is read."""
    kept, chain = HeldFacts(), Readings([facts])
    assert [await kept.share(address(1), OPENING, chain.read) for _ in range(50)] == [facts] * 50
    assert chain.count == 1
    other_vote = VoteOpening(ChainTime(2_000), Slot(900), Signature("another"))
    await kept.share(address(1), other_vote, chain.read)
    await kept.share(address(2), OPENING, chain.read)
    assert chain.count == 3


async def test_what_is_no_longer_fresh_is_read_again() -> None:
    kept, chain = HeldFacts(fresh_s=0.0), Readings([UNKNOWN, NOTHING])
    assert await kept.share(address(1), OPENING, chain.read) == UNKNOWN
    assert await kept.share(address(1), OPENING, chain.read) == NOTHING


async def test_a_reading_goes_on_when_its_request_has_timed_out() -> None:
    """The next request gets its result: else a wallet whose reading takes longer than a request could never vote."""
    kept, chain = HeldFacts(), Readings([NOTHING])
    chain.may_end.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kept.share(address(1), OPENING, chain.read), timeout=0.01)
    waiting = [asyncio.create_task(kept.share(address(1), OPENING, chain.read)) for _ in range(20)]
    chain.may_end.set()
    assert await asyncio.gather(*waiting) == [NOTHING] * 20
    assert chain.count == 1


async def test_a_failure_is_not_kept_as_what_an_rpc_said() -> None:
    """Only while as much time passes as it took: an RPC that refuses connections is asked at the next request."""
    kept, chain = HeldFacts(), Readings([ChainError("503"), NOTHING])
    with pytest.raises(ChainError):
        await kept.share(address(1), OPENING, chain.read)

    async def is_read() -> bool:
        with contextlib.suppress(ChainError):
            return await kept.share(address(1), OPENING, chain.read) == NOTHING
        return False

    await until(is_read)


async def test_the_number_of_results_is_bounded() -> None:
    kept, chain = HeldFacts(most_entries=10), Readings([NOTHING])
    for number in range(30):
        await kept.share(address(number), OPENING, chain.read)
    await kept.share(address(29), OPENING, chain.read)
    assert chain.count == 30
    await kept.share(address(1), OPENING, chain.read)
    assert chain.count == 31


async def test_readings_end_with_the_gateway() -> None:
    kept, chain = HeldFacts(), Readings([NOTHING])
    chain.may_end.clear()
    waiting = asyncio.create_task(kept.share(address(1), OPENING, chain.read))
    await until(lambda: chain.count)
    await kept.close()
    assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is asyncio.CancelledError
