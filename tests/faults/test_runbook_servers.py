"""Drills of docs/operations.md about servers that are slow or busy: the reason of /ready, and what ends the state."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from kit.database_conditions import DatabaseConditions
from kit.local_stack import paused
from kit.operator import Operator
from kit.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_HOLDS_A_LOCK = (
    "SELECT DISTINCT unnest(pg_blocking_pids(pid)) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
)
_NO_SILENCE = "ALTER TABLE alerts ADD CONSTRAINT drill CHECK (key NOT LIKE 'silent:%') NOT VALID"
_SILENCE = "ALTER TABLE alerts DROP CONSTRAINT drill"


@pytest.fixture
def conditions(operator: Operator) -> DatabaseConditions:
    return DatabaseConditions(operator.settings.require("database_url"))


async def test_a_service_whose_database_hangs_says_so(
    operator: Operator, conditions: DatabaseConditions
) -> None:
    async with conditions.locked("ipfs_anchors"):
        await operator.sees_unready("snapshots", "PostgreSQL does not answer")
    await operator.sees_all_ready()


async def test_services_whose_rpc_hangs_say_so_and_each_logs_it_once(operator: Operator) -> None:
    """The chain's process is stopped. The log has the beginning and the end of the outage, no line for each retry."""
    logs = {name: operator.settings.zmart_home / "logs" / f"{name}.log" for name in ("aggregator", "monitor")}
    sizes = {name: log.stat().st_size for name, log in logs.items()}
    with paused(operator.settings, "chain"):
        for name in logs:
            await operator.sees_unready(name, "The RPC at")
        for name, log in logs.items():
            await until(partial(asyncio.to_thread, _outages, log, sizes[name]), bool, within_s=30)
    await operator.sees_all_ready()
    for name, log in logs.items():
        ended = await until(
            partial(asyncio.to_thread, _outages, log, sizes[name]),
            lambda lines: lines[-1].endswith("again"),
            within_s=30,
        )
        assert [line.split()[4:] for line in ended] == [["does", "not", "answer"], ["answers", "again"]]


def _outages(log: Path, after: int) -> list[str]:
    """Return the events of a log about the RPC's outages and about retries, from this byte on."""
    lines = [
        json.loads(line) for line in log.read_bytes()[after:].decode().splitlines() if line.startswith("{")
    ]
    events = [str(line.get("event")) for line in lines]
    return [event for event in events if event.startswith("The RPC at") or "retry" in event]


async def test_a_session_that_holds_a_lock_is_found_and_ended(
    operator: Operator, conditions: DatabaseConditions
) -> None:
    """The database has a lock_timeout, as managed hosts set it."""
    await conditions.set("lock_timeout", "1s")
    url = operator.settings.require("database_url")
    database, holder = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        await holder.execute("BEGIN; LOCK TABLE index_progress")
        await operator.sees_unready("indexer", "PostgreSQL is busy")
        [found] = await until(lambda: database.fetch(_HOLDS_A_LOCK), bool)
        assert found[0] == holder.get_server_pid()
        await database.execute("SELECT pg_terminate_backend($1)", found[0])
        await operator.sees_all_ready()
    finally:
        holder.terminate()
        await database.close()
        await conditions.reset("lock_timeout")


async def test_a_job_beside_a_service_that_fails_is_told_and_begun_again_by_itself(
    operator: Operator, conditions: DatabaseConditions
) -> None:
    """The job's row violates a constraint, which is not an outage. The log has the traceback."""
    await conditions.execute(_NO_SILENCE)
    try:
        with paused(operator.settings, "snapshots"):
            await operator.sees_unready("monitor", "Watching the services")
            log = (operator.settings.zmart_home / "logs" / "monitor.log").read_text()
            assert "CheckViolationError" in log
    finally:
        await conditions.execute(_SILENCE)
    await operator.sees_all_ready()


async def test_a_socket_server_that_stood_still_says_for_how_long_it_has_not_read_the_feed(
    operator: Operator, conditions: DatabaseConditions
) -> None:
    """The server's process is stopped, as in a paused virtual machine, and then PostgreSQL is slow."""
    async with AsyncExitStack() as held:
        with paused(operator.settings, "websocket"):
            await operator.sees_alert("silent:")
            await held.enter_async_context(conditions.locked("feed_head"))
        await operator.sees_unready("websocket", "The change feed could not be read for")
    await operator.sees_all_ready()
    await operator.sees_alert_closed("silent:")
