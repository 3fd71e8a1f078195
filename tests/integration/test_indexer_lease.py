"""Tests of rows that a process has taken to fetch: others take them soon after it has died, and not before."""

from __future__ import annotations

from functools import partial

import pytest

from kit.waiting import until
from zmart.market.types import Signature, Slot
from zmart.services.indexer import lease
from zmart.store import inbox
from zmart.store.inbox import Hint
from zmart.store.pool import Pool


async def test_a_row_is_its_fetchers_while_it_works_and_any_others_soon_after_it_died(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_S", 1.0)
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.2)
    await inbox.store(pool, "scan", [Hint(Signature("1" * 88), Slot(7), None)])
    renewals = 0

    async def renew(lease_s: float) -> None:
        nonlocal renewals
        await inbox.renew_fetches(pool, [row.id for row in taken], lease_s)
        renewals += 1

    take = partial(inbox.claim_fetches, pool, 10, lease.LEASE_S)
    taken = await take()
    assert len(taken) == 1
    async with lease.renewing(renew):
        await until(lambda: renewals > 8)  # longer than the lease
        assert await take() == []
    again = await until(take, within_s=5)
    assert [row.id for row in again] == [row.id for row in taken]


def test_a_lease_leaves_time_for_a_take_over_within_ten_seconds() -> None:
    assert lease.RENEW_EVERY_S * 2 < lease.LEASE_S <= 5
