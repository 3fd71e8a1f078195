"""Drills of docs/operations.md about the index.

The RPC refuses, withholds transactions or belongs to another chain; or the indexer does not know the program's version.
"""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from kit.operator import Operator
from kit.operator_index import (
    QUOTA,
    asked,
    becomes_indexed,
    indexer_before,
    is_indexed,
    keeps_no_logs,
    other_idl,
    shows_no_transaction,
    shows_nothing_as_final,
    voted,
)
from kit.operator_markets import proposed, with_settings, zmart
from kit.rpc_proxy import Call, Fault, Late, Proxy, Say
from kit.waiting import until
from zmart.local.demo.world import DemoWorld

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_OTHER_GENESIS = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"
_SLOW_S = 3.0
# As if three minutes had passed: the alerts are raised after one and two minutes.
_AGE_WAITING = "UPDATE inbox SET received_at = received_at - interval '3 min' WHERE state = 'pending'"
_AGE_UNCONFIRMED = "UPDATE unconfirmed_transactions SET received_at = received_at - interval '3 min'"
_AGE_NOT_FINAL = (
    "UPDATE chain_transactions SET indexed_at = indexed_at - interval '3 min' WHERE finality = 'confirmed'"
)
_LISTED = "SELECT count(*) FROM unconfirmed_transactions WHERE listed"


async def test_transactions_that_the_rpc_does_not_return_are_read_from_another_rpc(
    operator: Operator, world: DemoWorld
) -> None:
    market, user = await proposed(world), world.users[1]
    async with operator.without("providers"), indexer_before(operator, shows_no_transaction):
        signature = await voted(world, market, user)
        await operator.sees_unready("indexer", "transactions wait to be indexed")
        await asked(operator, _AGE_WAITING)
        message = await operator.sees_alert("index-unreadable")
        assert (signature in message, QUOTA in message) == (True, True)
        assert QUOTA in await zmart(operator, "indexer", "dead-letters", "show", signature)
        tried = await zmart(operator, "indexer", "dead-letters", "replay", signature)
        assert tried == "1 will be tried again\n"
    await operator.sees_alert_closed("index-unreadable")
    await operator.sees_all_ready()
    await becomes_indexed(operator, market, user)


async def test_deliveries_that_the_rpc_lists_and_does_not_show_are_confirmed_by_another_rpc(
    operator: Operator, world: DemoWorld
) -> None:
    market, user = await proposed(world), world.users[1]
    async with indexer_before(operator, shows_no_transaction):
        await voted(world, market, user)
        await until(lambda: asked(operator, _LISTED))
        await asked(operator, _AGE_UNCONFIRMED)
        await operator.sees_unready("indexer", "deliveries are not confirmed by the RPC, which lists them")
        assert QUOTA in await operator.sees_alert("index-unconfirmed")
    await operator.sees_alert_closed("index-unconfirmed")
    await operator.sees_all_ready()
    await becomes_indexed(operator, market, user)


async def test_transactions_that_the_rpc_never_shows_as_final_are_so_by_another_rpc(
    operator: Operator, world: DemoWorld
) -> None:
    market, user = await proposed(world), world.users[1]
    async with operator.without("providers"), indexer_before(operator, shows_nothing_as_final):
        signature = await voted(world, market, user)
        await becomes_indexed(operator, market, user)
        await asked(operator, _AGE_NOT_FINAL)
        await until(lambda: operator.sees_alert("index-not-final"), lambda message: signature in message)
    await operator.sees_alert_closed("index-not-final")
    await operator.sees_all_ready()


@pytest.mark.parametrize("service", ["indexer", "aggregator", "monitor"])
async def test_an_rpc_of_another_chain_is_named_until_its_address_is_corrected(
    operator: Operator, service: str
) -> None:
    right = operator.settings.solana_rpc_url
    async with (
        Proxy.before(right, _of_another_chain) as proxy,
        with_settings(operator, service, helius_rpc_url=right, solana_rpc_url=proxy.url),
    ):
        message = await operator.sees_alert("rpc-refused:")
        assert (proxy.url.removeprefix("http://") in message, _OTHER_GENESIS in message) == (True, True)
        assert f"rpc-refused:{service}" in await operator.alerts()
    await operator.sees_alert_closed("rpc-refused:")


def _of_another_chain(call: Call) -> Fault | None:
    return Say(_OTHER_GENESIS) if call.method == "getGenesisHash" else None


async def test_events_that_a_version_does_not_know_are_read_again_by_one_that_does(
    operator: Operator, world: DemoWorld, tmp_path: Path
) -> None:
    market, user = await proposed(world), world.users[1]
    idl = other_idl(tmp_path, "events", "ProposalVoteSubmitted")
    async with with_settings(operator, "indexer", solana_idl_path=idl):
        signature = await voted(world, market, user)
        assert signature in await operator.sees_alert("index-unknown-events")
        assert not await is_indexed(operator, market, user)
    assert await zmart(operator, "indexer", "reread") == "1 transactions will be read again\n"
    await operator.sees_alert_closed("index-unknown-events")
    await becomes_indexed(operator, market, user)


async def test_dead_letters_are_listed_shown_dropped_and_replayed_after_an_update(
    operator: Operator, world: DemoWorld, tmp_path: Path
) -> None:
    market, [user, other] = await proposed(world), world.users[1:3]
    idl = other_idl(tmp_path, "instructions", "submit_proposal_vote")
    async with operator.without("providers"), indexer_before(operator, keeps_no_logs, solana_idl_path=idl):
        signature, unwanted = await voted(world, market, user), await voted(world, market, other)
        await operator.sees_alert("index-dead-letters")
        await operator.sees_unready("indexer", "a gap in slot")
        await until(lambda: _listed(operator), lambda listed: signature in listed and unwanted in listed)
        shown = await zmart(operator, "indexer", "dead-letters", "show", signature)
        assert ("an instruction is unknown" in shown, '"instructions"' in shown) == (True, True)
        await zmart(operator, "indexer", "dead-letters", "drop", unwanted, "--yes")
        listed = await _listed(operator)
        assert (signature in listed, unwanted in listed) == (True, False)
    replayed = await zmart(operator, "indexer", "dead-letters", "replay", "all")
    assert replayed == "1 will be tried again\n"
    await operator.sees_alert_closed("index-dead-letters")
    await operator.sees_all_ready()
    await becomes_indexed(operator, market, user)
    assert not await is_indexed(operator, market, other)


async def _listed(operator: Operator) -> str:
    return await zmart(operator, "indexer", "dead-letters", "list")


async def test_the_first_scan_of_a_chain_takes_its_time(operator: Operator) -> None:
    own = operator.settings.require("database_url")
    fresh = own.rpartition("/")[0] + "/first_start"
    database = await asyncpg.connect(own)
    await database.execute("CREATE DATABASE first_start")
    await database.close()
    await zmart(operator, "migrate", "up", database_url=fresh)
    async with indexer_before(operator, _lists_slowly, database_url=fresh):
        await operator.sees_unready("indexer", "the first scan of the chain has not ended")
        await operator.sees_all_ready()


def _lists_slowly(call: Call) -> Fault | None:
    return Late(_SLOW_S) if call.method == "getSignaturesForAddress" else None
