"""Lists of voters are fetched beside the requests and decisions that need them, each once for a whole process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import cast

import pytest
from solders.keypair import Keypair

from kit import rows
from kit.waiting import until
from kit.wallets import address_of
from zmart.ipfs.pinning import PinError
from zmart.market.types import Address
from zmart.ops.tracing.recorder import request_id
from zmart.proofs.voter_list import VoterList, sign_list
from zmart.services.aggregator.judging import OpenVotesJudge
from zmart.settings import Settings
from zmart.store import voter_lists
from zmart.store.pool import Pool
from zmart.votes.eligibility import Voters
from zmart.votes.lists import ListFetches

PROGRAM = Address("1" * 32)
SETTINGS = Settings(_env_file=None)
FETCHING = "the list of voters is being fetched: try again in some seconds."


class ScriptedGateway:
    """An IPFS gateway that sends `files` once `open` is set; `requested` has the CIDs that were requested of it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.files: dict[str, bytes] = {}
        self.requested: list[str] = []
        self.given_up: list[str] = []
        self.request_ids: set[str] = set()

    async def fetch(self, _url: str, cid: str, *, max_bytes: int) -> bytes:
        self.requested.append(cid)
        self.request_ids.add(request_id.get())
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.given_up.append(cid)
            raise
        if cid not in self.files:
            raise PinError(f"The gateway answered 504 for {cid}.")
        return self.files[cid]


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> ScriptedGateway:
    scripted = ScriptedGateway()
    monkeypatch.setattr("zmart.votes.lists.fetch_from_gateway", scripted.fetch)
    return scripted


@pytest.fixture
async def signed(pool: Pool, gateway: ScriptedGateway) -> VoterList:
    admin = Keypair()
    await rows.add_config(pool, address_of(admin))
    signed = sign_list(PROGRAM, [address_of(Keypair())], admin)
    gateway.files[signed.cid] = signed.encode()
    return signed


@pytest.fixture
async def fetches() -> AsyncIterator[ListFetches]:
    opened = ListFetches(wait_s=0.02)
    yield opened
    await opened.aclose()


async def load(pool: Pool, fetches: ListFetches, cid: str) -> str:
    return await fetches.load(pool, SETTINGS, PROGRAM, cid)


async def test_a_list_that_takes_longer_than_any_request_is_stored_by_one_fetch(
    pool: Pool, gateway: ScriptedGateway, signed: VoterList, fetches: ListFetches
) -> None:
    request_id.set("of a request")
    reasons = await asyncio.gather(*(load(pool, fetches, signed.cid) for _ in range(5)))
    assert set(reasons) == {FETCHING}
    assert await load(pool, fetches, signed.cid) == FETCHING
    gateway.open.set()
    await until(lambda: voter_lists.known(pool, signed.cid))
    assert await load(pool, fetches, signed.cid) == ""
    assert gateway.requested == [signed.cid]
    assert gateway.request_ids == {""}, "the fetch is not a part of the request that began it"


async def test_a_request_that_is_given_up_does_not_end_the_fetch(
    pool: Pool, gateway: ScriptedGateway, signed: VoterList
) -> None:
    fetches = ListFetches(wait_s=60)
    requests = [asyncio.create_task(load(pool, fetches, signed.cid)) for _ in range(2)]
    await until(lambda: gateway.requested)
    for request in requests:
        request.cancel()
        with suppress(asyncio.CancelledError):
            await request
    gateway.open.set()
    await until(lambda: voter_lists.known(pool, signed.cid))
    assert (gateway.requested, gateway.given_up) == ([signed.cid], [])
    await fetches.aclose()


async def test_callers_wait_for_a_fetch_only_in_its_first_moments(
    pool: Pool, gateway: ScriptedGateway, signed: VoterList
) -> None:
    """Many markets with one list do not wait one after the other."""
    fetches = ListFetches(wait_s=0.3)
    assert await load(pool, fetches, signed.cid) == FETCHING
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(10):
        assert await load(pool, fetches, signed.cid) == FETCHING
    assert loop.time() - began < 10 * 0.3
    await fetches.aclose()


async def test_a_failed_fetch_is_remembered_for_some_time(
    pool: Pool, gateway: ScriptedGateway, signed: VoterList
) -> None:
    gateway.open.set()
    lasting, short = ListFetches(wait_s=5, remembered_s=60), ListFetches(wait_s=5, remembered_s=0)
    for _ in range(3):
        assert "answered 504" in await load(pool, lasting, "QmOther")
    assert len(gateway.requested) == 1
    assert await load(pool, lasting, signed.cid) == "", "it delays no other list"
    for _ in range(3):
        assert "answered 504" in await load(pool, short, "QmOther")
    assert len(gateway.requested) == 1 + 1 + 3


async def test_the_number_of_fetches_is_bounded(
    pool: Pool, gateway: ScriptedGateway, signed: VoterList
) -> None:
    fetches = ListFetches(wait_s=0.02, most=2)
    assert [await load(pool, fetches, cid) for cid in ("QmA", "QmB")] == [FETCHING, FETCHING]
    assert "too many lists" in await load(pool, fetches, signed.cid)
    gateway.open.set()
    await until(lambda: load(pool, fetches, signed.cid), lambda reason: reason == "")
    await fetches.aclose()


async def test_a_shutdown_ends_the_fetches(
    pool: Pool, gateway: ScriptedGateway, signed: VoterList, fetches: ListFetches
) -> None:
    before = asyncio.all_tasks()
    assert await load(pool, fetches, signed.cid) == FETCHING
    await until(lambda: gateway.requested)
    [fetching] = [task for task in asyncio.all_tasks() - before if "_fetch" in str(task.get_coro())]
    await fetches.aclose()
    assert gateway.given_up == [signed.cid]
    assert fetching.cancelled()


class HangingVoters:
    """Voters whose judgements do not end until `may_end` is set."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.begun = self.fixed = 0

    async def fix_open(self) -> None:
        self.fixed += 1

    async def judge_open(self) -> None:
        self.begun += 1
        await self.may_end.wait()


async def test_a_tick_waits_once_for_judgements_that_hang() -> None:
    """The terms of new votes are fixed meanwhile, and judgements begin again once the earlier ones have ended."""
    before, voters = asyncio.all_tasks(), HangingVoters()
    judge = OpenVotesJudge(cast("Voters", voters), within_s=0.02)
    for _ in range(3):
        await judge.start_and_wait()
    assert (voters.begun, voters.fixed) == (1, 2)
    voters.may_end.set()
    await judge.finish()
    await judge.start_and_wait()
    assert voters.begun == 2
    voters.may_end.clear()
    await judge.start_and_wait()
    await judge.aclose()
    assert asyncio.all_tasks() == before


async def test_a_single_run_ends_with_the_list_stored_for_the_next_one(
    pool: Pool, gateway: ScriptedGateway, signed: VoterList, fetches: ListFetches
) -> None:
    """`zmart aggregate` and `zmart finalize` would else end the fetch each time that they are tried."""
    assert await load(pool, fetches, signed.cid) == FETCHING
    ending = asyncio.create_task(fetches.finish())
    gateway.open.set()
    await ending
    assert await load(pool, fetches, signed.cid) == ""
    assert gateway.requested == [signed.cid]
