"""Drills of docs/operations.md on a running stack: cause a state, check its described signs, take the given steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis.asyncio import Redis

from kit.database_conditions import DatabaseConditions
from kit.operator import Operator
from zmart.chain.rpc import Rpc
from zmart.local.chain import travel
from zmart.local.demo import scenes_early as early
from zmart.local.demo.world import DemoWorld
from zmart.local.stack import supervisor_of
from zmart.services.contract import SERVICES
from zmart.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_WEEK_S = 8 * 86_400


async def test_postgresql_is_stopped_and_started(operator: Operator) -> None:
    async with operator.without("postgres"):
        for service in SERVICES:
            # which of them: whether the last attempt lost its connection, or got none
            await operator.sees_unready(service, "PostgreSQL is unavailable", "does not answer")
        await operator.sees_unready("websocket", "Connections stay open without new messages")
        answer = await operator.http.get(f"http://127.0.0.1:{operator.settings.api_port}/dashboard")
        assert (answer.status_code, "PostgreSQL" in answer.text) == (503, True)
    await operator.sees_all_ready()


async def test_postgresql_accepts_no_writes_until_it_does(operator: Operator) -> None:
    conditions = DatabaseConditions(operator.settings.require("database_url"))
    await conditions.set("default_transaction_read_only", "on")
    try:
        await operator.sees_unready("indexer", "accepts no writes")
    finally:
        await conditions.reset("default_transaction_read_only")
    await operator.sees_all_ready()


async def test_the_rpc_is_stopped_and_started(operator: Operator) -> None:
    async with operator.without("chain"):
        await operator.sees_unready("indexer", "is the RPC there?")
    await operator.sees_all_ready()


async def test_a_service_that_hangs_is_told_as_silent_until_it_runs(operator: Operator) -> None:
    with _hanging(operator.settings, "snapshots"):
        assert "snapshots" in await operator.sees_alert("silent:")
    await operator.sees_alert_closed("silent:")


@contextmanager
def _hanging(settings: Settings, process: str) -> Iterator[None]:
    """Stop a process by SIGSTOP within the block, then kill it; its supervisor starts it again."""
    pid = next(info.pid for info in supervisor_of(settings.zmart_home).processes() if info.name == process)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_redis_refuses_writes_until_it_takes_them(operator: Operator) -> None:
    redis = Redis.from_url(operator.settings.require("redis_url"))
    await redis.config_set("min-replicas-to-write", "1")
    try:
        await operator.sees_alert("sign-in")
    finally:
        await redis.config_set("min-replicas-to-write", "0")
        await redis.aclose()
    await operator.sees_alert_closed("sign-in")


async def test_the_fee_payer_runs_low_and_is_sent_sol(operator: Operator) -> None:
    async with Rpc.from_settings(operator.settings) as rpc:
        payer = await _backend_authority(operator)
        before = await rpc.get_balance(payer)
        await rpc.call("surfnet_setAccount", [payer, {"lamports": 100_000_000}])
        assert payer in await operator.sees_alert("payer low:")
        await rpc.request_airdrop(payer, before)
    await operator.sees_alert_closed("payer low:")


async def _backend_authority(operator: Operator) -> str:
    status = (await operator.http.get(f"http://127.0.0.1:{operator.settings.api_port}/api/status")).json()
    return str(status["fee_payer"])


async def test_a_market_without_progress_is_told_until_it_is_cancelled(operator: Operator) -> None:
    async with DemoWorld.open(operator.settings) as world:
        await early.fund(world)
        await early.sign_in(world)
        await early.create(world, world.cancelled)
        await travel.advance(world.rpc, _WEEK_S)
        assert world.cancelled.id in await operator.sees_alert("stuck markets")
        await early.cancel(world, world.cancelled)
    await operator.sees_alert_closed("stuck markets")


async def test_pins_cannot_be_made_until_the_provider_is_back(operator: Operator) -> None:
    async with DemoWorld.open(operator.settings) as world:
        await early.fund(world)
        await early.sign_in(world)
        await early.create(world, world.undisputed)
        async with operator.without("providers"):
            await _snapshot(operator, world.undisputed.id)
            await operator.sees_unready("snapshots", "pins are not verified", "The last run failed")
            await operator.sees_alert("snapshots failing")
    await operator.sees_alert_closed("snapshots failing")


async def _snapshot(operator: Operator, market_id: str) -> None:
    headers = {"authorization": f"Bearer {operator.settings.require('operator_token')}"}
    url = f"http://127.0.0.1:{operator.settings.snapshots_port}/api/snapshots/run"
    await operator.http.post(url, json={"market_id": market_id}, headers=headers)
