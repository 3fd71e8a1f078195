"""Drills of docs/operations.md about the index's data: it differs from the chain, or events cannot be folded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kit.database_conditions import DatabaseConditions
from kit.operator import Operator
from kit.operator_deliveries import deliver, delivery_of
from kit.operator_index import asked, voted
from kit.operator_markets import liked, proposed, with_settings, zmart
from kit.rpc_proxy import Call, Edit, Fault, Proxy
from zmart.local.demo import scenes_early as early
from zmart.local.demo.world import DemoWorld, MarketPlay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_DAMAGE = "UPDATE markets SET shares_yes = shares_yes + 1 WHERE market_id = $1"
_TRADES = "SELECT count(*) FROM trades WHERE market_id = $1"
_FAR_SLOTS = 50_000_000


async def test_a_market_that_stands_still_for_a_wrong_pricing_model_goes_on_with_the_right_one(
    operator: Operator, world: DemoWorld
) -> None:
    market = await _active(world)
    async with with_settings(operator, "indexer", pricing_model="v069"):
        await _bought(world, market)
        assert market.id in await operator.sees_alert("index-stuck-markets")
    await zmart(operator, "indexer", "rebuild", ends_with=1)
    await operator.sees_alert_closed("index-stuck-markets")
    assert await asked(operator, _TRADES, market.id) == 1


async def test_an_index_that_differs_from_the_chain_is_named_and_made_right_by_a_rebuild(
    operator: Operator, world: DemoWorld
) -> None:
    """A row is damaged by SQL, as by a bug of an earlier version."""
    market = await _active(world)
    await _bought(world, market)
    async with with_settings(operator, "indexer", indexer_audit_interval_s="2"):
        await DatabaseConditions(operator.settings.require("database_url")).execute(_DAMAGE, market.id)
        assert "shares_yes" in await operator.sees_alert("index-differs")
        assert "shares_yes" in await zmart(operator, "indexer", "audit", ends_with=1)
        await zmart(operator, "indexer", "backfill", "--from", "0")
        await zmart(operator, "indexer", "rebuild", ends_with=1)
        await zmart(operator, "indexer", "audit")
        await operator.sees_alert_closed("index-differs")


async def test_a_chain_whose_slots_went_back_is_told_until_the_indexer_lists_another(
    operator: Operator, world: DemoWorld
) -> None:
    """Advancing the clock made slots go back on local chains of an earlier release. No market is stuck by that."""
    async with (
        Proxy.before(operator.settings.solana_rpc_url, _the_newest_is_lower) as rpc,
        with_settings(operator, "indexer", solana_rpc_url=rpc.url),
    ):
        for user in world.users[:2]:
            await user.transact("/api/markets", early.new_market(MarketPlay("open", user), datetime.now(UTC)))
        await operator.sees_alert("index-slots-backwards")
    await operator.sees_alert_closed("index-slots-backwards")


def _the_newest_is_lower(call: Call) -> Fault | None:
    def turn(page: list[dict]) -> list[dict]:
        if len(page) > 1:
            page[0]["slot"] = page[1]["slot"] - 1
        return page

    return Edit(turn) if call.method == "getSignaturesForAddress" else None


async def test_an_event_of_a_slot_that_the_chain_does_not_come_near_is_told_until_it_is_removed(
    operator: Operator, world: DemoWorld
) -> None:
    """The event is delivered by a sender who knows the webhook's secret."""
    far = await delivery_of(world, await voted(world, await proposed(world), world.users[1]))
    far["slot"] += _FAR_SLOTS
    far["transaction"]["signatures"][0] = "5" * 87
    assert await deliver(operator, far, operator.settings.require("helius_webhook_secret")) == 200
    assert "default partition" in await operator.sees_alert("index-outside-partitions")
    await operator.sees_alert_closed("index-outside-partitions")


async def _active(world: DemoWorld) -> MarketPlay:
    market = await proposed(world)
    await liked(world, market)
    await early.decided(world, market)
    await early.activate(world, market)
    return market


async def _bought(world: DemoWorld, market: MarketPlay) -> None:
    """Buy YES on chain, without waiting for the index."""
    body = {"market_id": market.id, "outcome": True, "max_cost": 900_000_000}
    await world.users[1].transact("/api/trades/buy", body)
