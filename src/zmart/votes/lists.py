"""Fetch the signed voter lists of the rule `listed` from IPFS by their CID, check them and store them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextvars import Context

import msgspec
import structlog

from zmart.errors import ZmartError
from zmart.feed.tasks import end, retrieve
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.market.eligibility import VoterFacts
from zmart.market.types import Address, Wallet
from zmart.proofs.voter_list import MAX_BYTES, parse_list
from zmart.settings import Settings
from zmart.store import projections, voter_lists
from zmart.store.pool import Pool

WAIT_S = 1.0
"""How many seconds after a fetch began its callers wait for it; the fetch itself goes on. A vote over the API is given
up after 1.8 s (TimeLimits.write_s)."""
REMEMBERED_S = 30.0
"""For how many seconds a failed fetch is not repeated."""
MOST_FETCHES = 8
_FETCHING = "the list of voters is being fetched: try again in some seconds."
_TOO_MANY = "too many lists of voters are being fetched: try again in some seconds."
log = structlog.get_logger()


class RunningListFetch(msgspec.Struct, frozen=True):
    """A fetch of a list. `task` returns why it failed, "" once the list is stored; `began_s` is when it began, by the
    monotonic clock."""

    task: asyncio.Task[str]
    began_s: float


class FailedListFetch(msgspec.Struct, frozen=True):
    """Why a list could not be fetched, and until when it is not fetched again, by the monotonic clock."""

    reason: str
    until_s: float


class ListFetches:
    """Fetch lists of voters, each once at a time for all callers of this process.

    A gateway may search long for a list, longer than any caller can wait: so a fetch outlives its callers, and the next
    ones have the stored list. Call `aclose` before the pool is closed.
    """

    def __init__(
        self, wait_s: float = WAIT_S, remembered_s: float = REMEMBERED_S, most: int = MOST_FETCHES
    ) -> None:
        self._wait_s = wait_s
        self._remembered_s = remembered_s
        self._most = most
        self._fetches: dict[str, RunningListFetch] = {}
        self._failures: dict[str, FailedListFetch] = {}

    async def load(self, pool: Pool, settings: Settings, program: Address, cid: str) -> str:
        """Fetch and store the list `cid` unless it is stored. Return "" if it is stored now, else why it is not.

        It takes at most `wait_s` seconds, besides the database; callers that come later in the same fetch wait less.
        Raises StoreError.
        """
        if await voter_lists.known(pool, cid):
            return ""
        fetch = self._fetches.get(cid)
        if fetch is None:
            if failed := self._failure(cid):
                return failed.reason
            if len(self._fetches) >= self._most:
                return _TOO_MANY
            fetch = self._begin(pool, settings, program, cid)
        left_s = max(fetch.began_s + self._wait_s - time.monotonic(), 0)
        await asyncio.wait({fetch.task}, timeout=left_s)
        if not fetch.task.done():
            return _FETCHING
        return _FETCHING if fetch.task.cancelled() else fetch.task.result()

    async def finish(self) -> None:
        """Wait until the fetches in progress have ended, within their own limit of time."""
        await asyncio.gather(*(fetch.task for fetch in self._fetches.values()), return_exceptions=True)

    async def aclose(self) -> None:
        """End all fetches."""
        await end([fetch.task for fetch in self._fetches.values()])

    def _failure(self, cid: str) -> FailedListFetch | None:
        now_s = time.monotonic()
        self._failures = {each: failed for each, failed in self._failures.items() if now_s < failed.until_s}
        return self._failures.get(cid)

    def _begin(self, pool: Pool, settings: Settings, program: Address, cid: str) -> RunningListFetch:
        # In a context of its own: the fetch belongs to no request, and outlives the limits of the one that began it.
        fetching = self._fetch(pool, settings, program, cid)
        task = asyncio.create_task(fetching, context=Context())
        task.add_done_callback(lambda ended: self._ended(cid, ended))
        self._fetches[cid] = RunningListFetch(task, time.monotonic())
        return self._fetches[cid]

    async def _fetch(self, pool: Pool, settings: Settings, program: Address, cid: str) -> str:
        rules = await projections.read_config(pool)
        if rules is None:
            return "the program's configuration is not indexed yet."
        try:
            raw = await fetch_from_gateway(settings.ipfs_gateway_url, cid, max_bytes=MAX_BYTES)
            voter_list = parse_list(raw, cid, program, (rules.backend_authority, rules.admin))
        except ZmartError as problem:
            log.warning("the list of voters was not fetched", cid=cid, reason=str(problem))
            self._failures[cid] = FailedListFetch(str(problem), time.monotonic() + self._remembered_s)
            return str(problem)
        await voter_lists.keep(pool, cid, voter_list.signer, voter_list.wallets)
        log.info("the list of voters was fetched", cid=cid, wallets=len(voter_list.wallets))
        return ""

    def _ended(self, cid: str, task: asyncio.Task[str]) -> None:
        del self._fetches[cid]
        retrieve(task)


async def which_are_listed(pool: Pool, cid: str, wallets: Sequence[Wallet]) -> dict[Wallet, VoterFacts]:
    """Return for each wallet whether it is in the stored list `cid`."""
    listed = await voter_lists.listed(pool, cid, wallets)
    return {wallet: VoterFacts(listed=wallet in listed) for wallet in wallets}
