"""While PostgreSQL or the RPC hangs, /ready says so within a second, and /health answers at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest
from pydantic import SecretStr

from kit.decisions import Scene
from kit.machine_time import machine_time, seconds_since
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.ipfs.pinata import PinataClient
from zmart.ops.probes import Probes
from zmart.services.aggregator.service import Aggregator
from zmart.services.contract import Readiness, Service
from zmart.services.indexer.service import Indexer
from zmart.services.monitor.service import Monitor
from zmart.services.snapshots.service import SnapshotService
from zmart.settings import Settings
from zmart.store.pool import Pool

WITHIN_S = 1.0


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def _service(name: str, scene: Scene, stack: AsyncExitStack, settings: Settings) -> Service:
    """Return an open service with these settings. `stack` closes it."""
    match name:
        case "indexer":
            await scene.pool.execute("DELETE FROM index_progress")  # it names no real chain
            indexer = await Indexer.open(settings)
            stack.push_async_callback(indexer._engine.close)
            stack.callback(indexer._state.close)
            return indexer
        case "snapshots":
            pool, pins = (
                await Pool.open(settings.require("database_url")),
                PinataClient.from_settings(settings),
            )
            stack.push_async_callback(pool.close)
            stack.push_async_callback(pins.close)
            snapshots = SnapshotService(settings, pool, pins)
            stack.callback(snapshots._open.close)
            return snapshots
    urls = {name: getattr(settings, name) for name in ("database_url", "solana_rpc_url")}
    context = await stack.enter_async_context(scene.context(**urls))
    if name == "monitor":
        return Monitor(settings, context)
    return Aggregator(settings, context, None)


async def _asked(probes: Probes) -> Readiness:
    """Ask for readiness, as a caller of /ready does, and check that it is told in time, and health at once."""
    began = machine_time()
    assert msgspec.json.encode(probes.health())
    readiness = await probes.readiness()
    assert seconds_since(began) <= WITHIN_S
    return readiness


async def _hangs_and_answers_again(service: Service, proxy: TcpProxy, reason: str) -> None:
    probes = Probes(service)
    await until(lambda: _asked(probes), lambda said: "answer" not in said.reason)
    proxy.hang()
    said = await until(lambda: _asked(probes), lambda said: reason in said.reason, within_s=8)
    assert not said.ready
    await proxy.restore()
    await until(lambda: _asked(probes), lambda said: "answer" not in said.reason, within_s=8)


@pytest.mark.parametrize("name", ["aggregator", "monitor", "indexer", "snapshots"])
async def test_while_postgresql_hangs_each_service_says_so_within_a_second(
    name: str, scene: Scene, stack: AsyncExitStack
) -> None:
    proxy = await stack.enter_async_context(TcpProxy.before(scene.settings.require("database_url")))
    settings = scene.with_settings(database_url=proxy.url, pinata_jwt=SecretStr("a-test-jwt"))
    service = await _service(name, scene, stack, settings)
    await _hangs_and_answers_again(service, proxy, "PostgreSQL does not answer")


@pytest.mark.parametrize("name", ["aggregator", "monitor"])
async def test_while_the_rpc_hangs_who_decides_says_so_within_a_second(
    name: str, scene: Scene, stack: AsyncExitStack
) -> None:
    proxy = await stack.enter_async_context(TcpProxy.before(scene.settings.solana_rpc_url))
    service = await _service(name, scene, stack, scene.with_settings(solana_rpc_url=proxy.url))
    await _hangs_and_answers_again(service, proxy, f"The RPC at 127.0.0.1:{proxy.port} does not answer")


@pytest.mark.parametrize("name", ["aggregator", "monitor"])
async def test_a_tick_that_failed_because_the_rpc_hangs_is_in_health(
    name: str, scene: Scene, stack: AsyncExitStack
) -> None:
    proxy = await stack.enter_async_context(TcpProxy.before(scene.settings.solana_rpc_url))
    settings = scene.with_settings(solana_rpc_url=proxy.url)
    service = await _service(name, scene, stack, settings)
    assert isinstance(service, Aggregator | Monitor)
    service._context.rpc._rpc._attempts = 1
    service._context.rpc._rpc._http.timeout = 0.5
    proxy.hang()
    await service._tick()
    health = Probes(service).health()
    assert (health["status"], str(health["last_error"])[:11]) == ("degraded", "The RPC at ")
