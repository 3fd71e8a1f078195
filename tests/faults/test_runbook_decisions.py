"""Drills of docs/operations.md about decisions that fail, or that wait for a person or for the index."""

from __future__ import annotations

import asyncpg
import pytest

from kit.operator import Operator
from kit.operator_markets import (
    MarketsOnTheWay,
    agreed,
    disputed,
    liked,
    proposed,
    the_time_to_vote_passes,
    with_settings,
    zmart,
)
from kit.waiting import until
from kit.wallets import address_of
from zmart.chain.sender import PAYER_RENT_LAMPORTS
from zmart.decisions.approvals import OPERATORS_ROUND
from zmart.local.chain.genesis import send
from zmart.local.chain.keys import load_keys
from zmart.local.demo import scenes_early as early
from zmart.local.demo import scenes_late as late
from zmart.local.demo.user import DemoUser
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.market.types import Address, Lamports, MarketId
from zmart.store import intents
from zmart.store.intents import Action
from zmart.store.pool import Pool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_FUNDS_LAMPORTS = Lamports(1_000 * 10**9)
_WAITING_JOBS = "SELECT count(*) FROM market_work WHERE status = 'waiting: index'"
_AGE_THE_WAIT = (
    "UPDATE market_work SET status_since = now() - interval '11 min' WHERE status = 'waiting: index'"
)


async def test_decisions_that_fail_are_tried_at_once_when_the_fee_payer_has_sol_again(
    operator: Operator, world: DemoWorld
) -> None:
    markets = await MarketsOnTheWay.make(world)
    payer = Address((await world.api.get("/api/status"))["fee_payer"])
    await world.rpc.call("surfnet_setAccount", [payer, {"lamports": PAYER_RENT_LAMPORTS}])
    await markets.become_due(world)
    assert "send it SOL" in await operator.sees_alert("failing:proposal:")
    assert "send it SOL" in await operator.sees_alert("failing:finalize:")
    assert "send it SOL" in await operator.sees_alert("failing:dispute:")
    await world.rpc.request_airdrop(payer, _FUNDS_LAMPORTS)
    await until(lambda: world.rpc.get_balance(payer), lambda lamports: lamports > _FUNDS_LAMPORTS)
    await zmart(operator, "aggregate", markets.proposal.id)
    await zmart(operator, "finalize", markets.finalize.id)
    await zmart(operator, "finalize", markets.dispute.id)
    await operator.sees_alert_closed("failing:proposal:")
    await operator.sees_alert_closed("failing:finalize:")
    await operator.sees_alert_closed("failing:dispute:")
    await markets.are_decided(world)


async def test_decisions_wait_for_an_indexer_that_is_stopped_and_go_on_by_themselves(
    operator: Operator, world: DemoWorld
) -> None:
    markets = await MarketsOnTheWay.make(world)
    async with operator.without("indexer"):
        await markets.become_due(world)
        await _the_decisions_have_waited(operator, 3)
        assert "the decision needs slot" in await operator.sees_alert("index-behind:proposal")
        assert "the decision needs slot" in await operator.sees_alert("index-behind:dispute")
        assert "the decision needs chain time" in await operator.sees_alert("index-behind:finalize")
        assert await operator.reason("indexer") == "ConnectError"
    await operator.sees_alert_closed("index-behind:proposal")
    await operator.sees_alert_closed("index-behind:dispute")
    await operator.sees_alert_closed("index-behind:finalize")
    await markets.are_decided(world)


async def _the_decisions_have_waited(operator: Operator, number: int) -> None:
    """Wait until `number` decisions wait for the index, then change their rows to have waited for eleven minutes."""
    database = await asyncpg.connect(operator.settings.require("database_url"))
    try:
        await until(lambda: database.fetchval(_WAITING_JOBS), lambda waiting: waiting == number)
        await database.execute(_AGE_THE_WAIT)
    finally:
        await database.close()


async def test_a_proposal_waits_for_the_admin_until_the_operator_signs_its_approval(
    operator: Operator, world: DemoWorld
) -> None:
    market = await proposed(world)
    async with (
        with_settings(operator, "aggregator", admin_keypair_path=""),
        with_settings(operator, "gateway", admin_keypair_path=""),
    ):
        await liked(world, market)
        assert market.id in await operator.sees_alert("waiting:proposal:")
        answer = await world.api.post(f"/api/markets/{market.id}/approve", {}, world.operator_token)
        assert answer["status"] == "unsigned"
        await _admin(operator, world).send(answer)
        await operator.sees_alert_closed("waiting:proposal:")
    await world.reached(market, "APPROVED")


def _admin(operator: Operator, world: DemoWorld) -> DemoUser:
    """Return the admin as a user, who signs with a key that the services do not have."""
    return DemoUser("the admin", world.api, load_keys(operator.settings.zmart_home / "keys").admin)


async def test_a_proposal_waits_for_the_admins_key_until_it_is_set(
    operator: Operator, world: DemoWorld
) -> None:
    market = await proposed(world)
    async with with_settings(operator, "aggregator", admin_keypair_path=""):
        await liked(world, market)
        assert market.id in await operator.sees_alert("waiting:proposal:")
    await operator.sees_alert_closed("waiting:proposal:")
    await world.reached(market, "APPROVED")


async def test_a_dispute_with_too_few_votes_is_settled_by_a_later_one(
    operator: Operator, world: DemoWorld
) -> None:
    market = await disputed(world)
    await the_time_to_vote_passes(world)
    assert "0 vote(s)" in await operator.sees_alert("waiting:dispute:")
    await agreed(world, market)
    await operator.sees_alert_closed("waiting:dispute:")
    await late.finalized(world, market, False)


async def test_a_result_under_review_is_released_by_the_operator(
    operator: Operator, world: DemoWorld
) -> None:
    market = await disputed(world)
    await agreed(world, market)
    async with with_settings(operator, "monitor", dispute_review="hold"):
        await the_time_to_vote_passes(world)
        assert "It waits for an operator" in await operator.sees_alert("waiting:dispute:")
        await zmart(operator, "decisions", "release", market.id, "--note", "its voters are known")
        await operator.sees_alert_closed("waiting:dispute:")
    await late.finalized(world, market, False)


async def test_a_doubtful_result_is_told_until_the_operator_has_seen_it(
    operator: Operator, world: DemoWorld
) -> None:
    market = await disputed(world)
    await agreed(world, market)
    async with with_settings(operator, "monitor", dispute_review="alert"):
        await the_time_to_vote_passes(world)
        assert "wallets" in await operator.sees_alert("dispute review:")
        await late.finalized(world, market, False)
        await zmart(operator, "decisions", "release", market.id, "--note", "its voters are known")
        await operator.sees_alert_closed("dispute review:")
    assert "its voters are known" in await zmart(operator, "decisions", "reviews")


async def test_a_market_that_another_process_took_back_to_resolving_is_finalized_by_a_person_alone(
    operator: Operator, world: DemoWorld
) -> None:
    market, backend = await disputed(world), load_keys(operator.settings.zmart_home / "keys").backend
    await agreed(world, market)
    make = world.program.instructions.aggregate_dispute_votes
    await send(world.rpc, [make(address_of(backend), MarketId(market.id), 1, 0)], [backend])
    await the_time_to_vote_passes(world)
    assert "A person must decide" in await operator.sees_alert("waiting:finalize:")
    assert "landed in slot" in await zmart(operator, "finalize", market.id, "--as-proposed", "--yes")
    await operator.sees_alert_closed("waiting:finalize:")
    await late.finalized(world, market, True)


async def test_held_decisions_are_made_once_the_services_are_started_without_hold(
    operator: Operator, world: DemoWorld
) -> None:
    market = await proposed(world)
    async with (
        with_settings(operator, "aggregator", "--hold-decisions"),
        with_settings(operator, "monitor", hold_decisions="true"),
    ):
        await operator.sees_alert("decisions-held:aggregator")
        await operator.sees_alert("decisions-held:monitor")
        await liked(world, market)
        await operator.sees_all_ready()
        assert (await world.market(market))["state"] == "PROPOSED"
    await operator.sees_alert_closed("decisions-held:aggregator")
    await operator.sees_alert_closed("decisions-held:monitor")
    await world.reached(market, "APPROVED")


async def test_an_approval_that_was_left_open_is_refused_until_the_votes_pass_again(
    operator: Operator, world: DemoWorld
) -> None:
    market, [first, *others] = await proposed(world), world.users[1:10]
    against, later = others[:2], others[2:]
    async with with_settings(operator, "aggregator", admin_keypair_path=""):
        await early.vote(world, market, "proposal", [[(first, "like")]])
        await operator.sees_alert("waiting:proposal:")
        await early.vote(world, market, "proposal", [[(user, "dislike") for user in against]])
        await _an_approval_is_left_open(operator, market)
        assert "1 for and 2 against" in await operator.sees_alert("approval refused:")
        await early.vote(world, market, "proposal", [[(user, "like") for user in later]])
    await world.reached(market, "APPROVED")
    await operator.sees_alert_closed("approval refused:")


async def _an_approval_is_left_open(operator: Operator, market: MarketPlay) -> None:
    """Leave the intent of an operator's approval as a process of an earlier release left it, which closed no vote."""
    pool = await Pool.open(operator.settings.require("database_url"), size=1)
    try:
        await intents.plan(pool, MarketId(market.id), Action.APPROVE_PROPOSAL, OPERATORS_ROUND, {})
    finally:
        await pool.close()


async def test_a_schedule_whose_row_is_missing_is_told_until_a_restart_writes_it(operator: Operator) -> None:
    async with with_settings(operator, "aggregator", aggregator_cron="* * * * * *"):
        await operator.sees_all_ready()
        database = await asyncpg.connect(operator.settings.require("database_url"))
        await database.execute("DELETE FROM pgqueuer_schedules WHERE expression = '* * * * * *'")
        await database.close()
        await operator.sees_unready("aggregator", "no process has run it at its last 3 times")
    await operator.sees_all_ready()
