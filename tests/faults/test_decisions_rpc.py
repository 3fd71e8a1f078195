"""Services with an RPC that misbehaves: each effect happens once, nothing is stuck, and alerts are raised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from kit.decisions import (
    Scene,
)
from kit.rpc_proxy import (
    Broken,
    Call,
    Edit,
    Fault,
    Late,
    Proxy,
    Refuse,
    Say,
    drops,
    half,
    honest,
    loses_history,
    not_found,
)
from kit.waiting import until
from kit.wallets import address_of
from zmart.chain.sender import PAYER_RENT_LAMPORTS, SendPolicy
from zmart.decisions import payer
from zmart.local.chain.genesis import FUNDS, fund
from zmart.market.types import Lamports, MarketState
from zmart.services import aggregator, monitor
from zmart.services.aggregator.service import Aggregator
from zmart.services.monitor.service import Monitor
from zmart.store import alerts, intents, market_work
from zmart.store.intents import IntentState

END = ["MarketCreated", "ProposalAggregated", "ProposalApproved"]


@pytest.fixture
async def proxy(scene: Scene) -> AsyncIterator[Proxy]:
    async with Proxy.before(scene.chain.rpc_url) as opened:
        yield opened


async def open_alerts(scene: Scene) -> list[str]:
    return [alert.key.split(":")[0] for alert in await alerts.open_alerts(scene.pool)]


async def intents_done(scene: Scene) -> bool:
    rows = await intents.recent(scene.pool, 10)
    return len(rows) == 2 and all(row.state.is_done for row in rows)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
async def test_a_service_with_errors_on_half_of_its_calls_has_one_effect(
    scene: Scene, proxy: Proxy, seed: int
) -> None:
    market = await scene.market()
    await scene.vote(market, yes=3)
    settings = scene.with_settings(solana_rpc_url=proxy.url, aggregator_cron="* * * * * *", rpc_timeout_s=1.0)
    service, stop = await aggregator.create(settings), asyncio.Event()
    proxy.script = half(seed)
    running = asyncio.create_task(service.run(stop))
    try:
        await until(lambda: scene.state(market), lambda state: state is MarketState.APPROVED, within_s=60)
        proxy.script = honest

        await until(lambda: intents_done(scene), within_s=30)
    finally:
        stop.set()
        await asyncio.wait_for(running, 10)
    assert proxy.bad > 10
    assert await scene.events(market) == END


@pytest.mark.parametrize("lie", [not_found, loses_history], ids=["not found", "no history"])
async def test_a_finalization_that_the_rpc_denies_is_seen_on_the_account(
    scene: Scene, proxy: Proxy, lie: object
) -> None:
    """The program would refuse a second finalization: no failure is recorded, since the account shows the first one."""
    market = await scene.resolving()
    await scene.travel(3 * 86_400 + 60)
    async with scene.context(solana_rpc_url=proxy.url) as context:
        brief = SendPolicy(rebroadcast_s=0.1, poll_s=0.02, uncertain_after_s=0.3)
        object.__setattr__(context, "policy", brief)
        service = Monitor(scene.settings, context)
        proxy.script = not_found
        await service.finalize_due()
        await service.finish()
        proxy.script = lie  # type: ignore[assignment]
        await service.finalize_due()
        await service.finish()
    (intent,) = await intents.recent(scene.pool, 10)
    assert intent.state.is_done
    assert intent.attempts == 1
    assert (await scene.events(market)).count("MarketFinalized") == 1
    assert await market_work.of_market(scene.pool, market) == []


async def test_what_nobody_can_know_pages_a_person_and_is_never_signed_again(
    scene: Scene, proxy: Proxy
) -> None:
    market = await scene.resolving()
    await scene.travel(3 * 86_400 + 60)
    async with scene.context(solana_rpc_url=proxy.url, rpc_timeout_s=0.2) as context:
        object.__setattr__(
            context, "policy", SendPolicy(rebroadcast_s=0.1, poll_s=0.02, uncertain_after_s=0.3)
        )
        service = Monitor(scene.settings, context)
        signed = False

        def nothing_known(call: object) -> object:
            nonlocal signed
            signed = signed or proxy.calls["sendTransaction"] > 0
            return (drops(call) or Broken("503")) if signed else None  # type: ignore[arg-type]

        proxy.script = nothing_known  # type: ignore[assignment]
        await service.finalize_due()
        await service.finish()
        (intent,) = await intents.recent(scene.pool, 10)
        assert (intent.state, intent.attempts) == (IntentState.UNCERTAIN, 1)
        assert "uncertain" in await open_alerts(scene)
        proxy.script = honest
        await scene.pool.execute("UPDATE market_work SET next_attempt_at = now()")
        await service.finalize_due()
        await service.finish()
    (intent,) = await intents.recent(scene.pool, 10)
    assert (intent.state, intent.attempts) == (IntentState.LANDED, 1), "the same bytes, once it can be told"
    assert await open_alerts(scene) == []
    assert (await scene.events(market)).count("MarketFinalized") == 1


async def test_a_stop_in_the_middle_of_sending_is_quick_and_the_next_one_goes_on(
    scene: Scene, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmart.services.monitor.service.DRAIN_S", 0.5)
    await scene.resolving()
    await scene.travel(3 * 86_400 + 60)
    proxy.script = drops
    settings = scene.with_settings(solana_rpc_url=proxy.url, monitor_cron="* * * * * *")
    service, stop = await monitor.create(settings), asyncio.Event()
    running = asyncio.create_task(service.run(stop))

    async def sending() -> int:
        return proxy.calls["sendTransaction"]

    await until(sending)
    stop.set()
    await asyncio.wait_for(running, 3)
    (intent,) = await intents.recent(scene.pool, 10)
    assert intent.in_flight
    async with scene.context() as context:
        next_one = Monitor(scene.settings, context)
        await next_one.finalize_due()
        await next_one.finish()
    (after,) = await intents.recent(scene.pool, 10)
    assert (after.state, after.signature) == (IntentState.LANDED, intent.signature)


async def test_a_payer_that_runs_dry_alerts_below_one_sol_and_signs_nothing_at_the_end(scene: Scene) -> None:
    market = await scene.market()
    await scene.vote(market, yes=1)
    backend = address_of(scene.chain.keys.backend)
    try:
        async with scene.context() as context:
            service = Aggregator(scene.settings, context, None)
            await fund(scene.rpc, backend, Lamports(payer.LOW_LAMPORTS - 1))
            assert await payer.check_balance(context) == payer.LOW_LAMPORTS - 1
            assert await open_alerts(scene) == ["payer low"]
            assert payer.lamports._value.get() == payer.LOW_LAMPORTS - 1
            await fund(scene.rpc, backend, Lamports(PAYER_RENT_LAMPORTS))
            await service.decide_due()
            await service.finish()
            (intent,) = await intents.recent(scene.pool, 10)
            assert (intent.state, intent.attempts) == (IntentState.PLANNED, 0)
            (work,) = await market_work.of_market(scene.pool, market)
            assert "send it SOL" in str(work.last_error)
            await fund(scene.rpc, backend, FUNDS["backend"])
            await payer.check_balance(context)
            assert await open_alerts(scene) == []
            await scene.pool.execute("UPDATE market_work SET next_attempt_at = now()")
            await service.decide_due()
            await service.finish()
    finally:
        await fund(scene.rpc, backend, FUNDS["backend"])
    assert await scene.events(market) == END


@pytest.mark.parametrize(
    "how",
    [
        "answers 503",
        "answers 503 once a transaction was sent",
        pytest.param("answers nothing", marks=pytest.mark.slow),
    ],
)
async def test_decisions_go_on_while_one_of_two_rpcs_is_away(scene: Scene, proxy: Proxy, how: str) -> None:
    """The preferred RPC is down: the other one reads, sends, and shows that the transactions landed."""
    market = await scene.market()
    await scene.vote(market, yes=3)
    sent = False

    def away(call: Call) -> Fault | None:
        nonlocal sent
        sent = sent or call.method == "sendTransaction"
        if how == "answers nothing":
            return Late(60)
        return Broken("503") if sent or how == "answers 503" else None

    urls = {"helius_rpc_url": proxy.url, "solana_rpc_url": scene.chain.rpc_url}
    service = await aggregator.create(scene.with_settings(**urls, aggregator_cron="* * * * * *"))
    proxy.script = away
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    try:
        await until(lambda: scene.state(market), lambda state: state is MarketState.APPROVED, within_s=60)
        await until(lambda: intents_done(scene), within_s=30)
        async with asyncio.timeout(3):  # as a probe asks
            assert (await service.readiness()).ready
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)
    assert [row.attempts for row in await intents.recent(scene.pool, 10)] == [1, 1]
    assert await scene.events(market) == END
    assert "uncertain" not in await open_alerts(scene)


async def test_a_decision_does_not_wait_for_the_next_tick_because_one_of_two_rpcs_is_behind(
    scene: Scene, proxy: Proxy
) -> None:
    """The other RPC shows first that the counts landed: what follows is read from a node that has them, too."""
    market = await scene.market()
    await scene.vote(market, yes=3)
    before: dict[str, object] = {}
    sent_at = 0.0

    def behind(call: Call) -> Fault | None:
        nonlocal sent_at
        if call.method == "sendTransaction":
            sent_at = sent_at or time.monotonic()
        lags = bool(sent_at) and time.monotonic() - sent_at < 1.5
        if call.method == "getSignatureStatuses" and lags:
            return not_found(call)
        if call.method != "getMultipleAccounts":
            return None
        addresses, options = call.params
        if lags and "minContextSlot" in options:
            return Refuse(-32016, "Minimum context slot has not been reached")
        if lags:
            return Say(before[str(addresses)]) if str(addresses) in before else None
        return Edit(lambda result: before.setdefault(str(addresses), result))

    proxy.script = behind
    urls = {"helius_rpc_url": proxy.url, "solana_rpc_url": scene.chain.rpc_url}
    async with scene.context(**urls) as context:
        service = Aggregator(scene.with_settings(**urls), context, None)
        await service.decide_due()
        await service.finish()
    assert await scene.state(market) is MarketState.APPROVED
