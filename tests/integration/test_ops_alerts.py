"""Tests that people get each opening and each closing of an alert once, whichever process sends it.

The receiver may refuse a message or be unavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from kit.alert_receiver import Receiver
from kit.waiting import until
from zmart.ops.alerts import send_alerts, send_next
from zmart.ops.silence import report_silence, watch_silence
from zmart.settings import Settings
from zmart.store import alerts, service_status
from zmart.store.pool import Pool


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver.listening() as listening:
        yield listening


async def test_every_alert_is_told_by_one_of_three_tellers_when_it_opens_and_when_it_closes(
    pool: Pool, receiver: Receiver, database_url: str
) -> None:
    settings = Settings(_env_file=None, database_url=database_url, alert_webhook_url=receiver.url)
    stop = asyncio.Event()
    tellers = [asyncio.create_task(send_alerts(settings, stop, 0.02)) for _ in range(3)]
    keys = [f"k{number}" for number in range(10)]

    async def told() -> int:
        return len(receiver.heard)

    for key in keys:
        await alerts.raise_alert(pool, key, "critical", f"about {key}")
    await until(told, lambda number: number == 10)
    for key in keys:
        await alerts.raise_alert(pool, key, "critical", "again")  # sends nothing
        await alerts.resolve_alert(pool, key)
    await until(told, lambda number: number == 20)
    stop.set()
    await asyncio.gather(*tellers)
    assert sorted(receiver.told()) == sorted((key, status) for key in keys for status in ("open", "resolved"))
    first = next(message for message in receiver.heard if message["key"] == "k0")
    assert first["text"] == first["content"] == "ZMART critical: about k0"


async def test_an_alert_that_nobody_takes_is_told_again_after_a_pause(pool: Pool, receiver: Receiver) -> None:
    await alerts.raise_alert(pool, "k", "warning", "m")
    await alerts.raise_alert(pool, "other", "warning", "m")
    receiver.status = 500
    async with httpx.AsyncClient() as http:
        assert [await send_next(pool, http, receiver.url) for _ in range(3)] == [True, True, False]
        receiver.status = 200
        await pool.execute("UPDATE alerts SET claimed_until = now()")
        assert [await send_next(pool, http, receiver.url) for _ in range(3)] == [True, True, False]
        await alerts.raise_alert(pool, "third", "warning", "m")
        assert await send_next(pool, http, "http://127.0.0.1:1/secret")
    assert receiver.told() == [("k", "open"), ("other", "open")] * 2


async def test_what_closes_while_it_is_told_is_told_again(pool: Pool, receiver: Receiver) -> None:
    await alerts.raise_alert(pool, "k", "warning", "m")
    notification = await alerts.claim_notification(pool, 30)
    assert notification is not None
    await alerts.resolve_alert(pool, "k")
    await alerts.mark_notified(pool, notification)
    second_result = await alerts.claim_notification(pool, 30)
    assert second_result is not None
    assert second_result.alert.resolved_at is not None
    await alerts.mark_notified(pool, second_result)
    assert await alerts.claim_notification(pool, 30) is None


async def test_without_an_address_nobody_is_told(database_url: str) -> None:
    await asyncio.wait_for(send_alerts(Settings(_env_file=None), asyncio.Event()), 1)


async def open_keys(pool: Pool) -> list[str]:
    return [alert.key for alert in await alerts.open_alerts(pool)]


async def be_silent(pool: Pool, service: str, seconds: int) -> None:
    await pool.execute(
        "UPDATE service_status SET seen_at = now() - make_interval(secs => $2) WHERE service = $1",
        service,
        seconds,
    )


async def test_a_service_that_no_longer_reports_is_an_alert_until_one_of_its_processes_does(
    pool: Pool,
) -> None:
    """C17: a service that no longer reports is an alert until one of its processes reports again.

    A process that ends at each start is started again without limit, so only the alert tells of it.
    """
    for service in ("indexer", "gateway", "websocket"):
        await service_status.report(pool, service, "here:1", True, "", {})
    await be_silent(pool, "indexer", 40)
    await be_silent(pool, "gateway", 25)
    silent = await report_silence(pool, frozenset())
    assert await open_keys(pool) == []  # nobody could report if PostgreSQL was unavailable until now
    silent = await report_silence(pool, silent)
    assert await open_keys(pool) == ["silent:indexer"]
    await service_status.report(pool, "indexer", "here:2", True, "", {})
    assert await report_silence(pool, silent) == frozenset()
    assert await open_keys(pool) == []


async def test_a_service_that_stops_in_order_is_no_alert(pool: Pool) -> None:
    await service_status.report(pool, "indexer", "here:1", True, "", {})
    await be_silent(pool, "indexer", 40)
    silent = await report_silence(pool, await report_silence(pool, frozenset()))
    assert await open_keys(pool) == ["silent:indexer"]
    await service_status.forget(pool, "indexer", "here:1")
    await report_silence(pool, silent)
    assert await open_keys(pool) == []


async def test_a_service_that_is_down_for_days_is_not_told_as_resolved(pool: Pool) -> None:
    await service_status.report(pool, "indexer", "here:1", True, "", {})
    await be_silent(pool, "indexer", 86_300)
    silent = await report_silence(pool, await report_silence(pool, frozenset()))
    assert await open_keys(pool) == ["silent:indexer"]
    await be_silent(pool, "indexer", 9 * 86_400)
    await service_status.report(pool, "gateway", "here:1", True, "", {})
    await service_status.forget(pool, "gateway", "here:1")
    assert await report_silence(pool, silent) == {"indexer"}
    assert await open_keys(pool) == ["silent:indexer"]


async def test_a_process_that_was_replaced_is_not_missed_when_its_service_stops_in_order(pool: Pool) -> None:
    """As a pod that was killed, and whose successor has another name, when its deployment is removed later."""
    await service_status.report(pool, "indexer", "pod-a:1", True, "", {})
    await be_silent(pool, "indexer", 400)
    await service_status.report(pool, "indexer", "pod-b:1", True, "", {})
    await service_status.forget(pool, "indexer", "pod-b:1")
    assert await report_silence(pool, await report_silence(pool, frozenset())) == frozenset()
    assert await open_keys(pool) == []


async def test_every_monitor_watches(pool: Pool, database_url: str) -> None:
    await service_status.report(pool, "indexer", "here:1", True, "", {})
    await be_silent(pool, "indexer", 40)
    stop = asyncio.Event()
    watch = asyncio.create_task(
        watch_silence(Settings(_env_file=None, database_url=database_url), stop, every_s=0.01)
    )
    await until(lambda: open_keys(pool), lambda keys: keys == ["silent:indexer"])
    stop.set()
    await watch


async def test_a_killed_process_is_listed_for_a_minute(pool: Pool) -> None:
    """C25: a killed process is listed for a minute; its row remains for the alert."""
    await service_status.report(pool, "indexer", "here:1", True, "", {})
    await be_silent(pool, "indexer", 55)
    assert [row.service for row in await service_status.all_statuses(pool)] == ["indexer"]
    await be_silent(pool, "indexer", 61)
    assert await service_status.all_statuses(pool) == []
    assert list(await service_status.silence(pool)) == ["indexer"]
