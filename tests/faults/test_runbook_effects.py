"""Drills of docs/operations.md about effects on chain whose outcome cannot be told, and about a wrong backend key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from solders.keypair import Keypair

from kit.operator import Operator
from kit.operator_markets import (
    liked,
    proposed,
    resolving,
    the_time_to_vote_passes,
    with_settings,
    zmart,
)
from kit.rpc_proxy import Proxy, honest
from kit.silent_rpcs import GoesDownAfterSending, drops_and_has_no_history
from kit.waiting import until
from kit.wallets import address_of
from zmart.chain.sender import SendPolicy
from zmart.local.chain.genesis import FUNDS, fund, send
from zmart.local.chain.keys import load_keys
from zmart.local.demo import scenes_late as late
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.market.types import MarketId, MarketState, Signature

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def test_effects_that_cannot_be_judged_are_resolved_by_what_an_explorer_shows(
    operator: Operator, world: DemoWorld
) -> None:
    """Of four effects one landed, another process caused one, and two never reached the chain.

    An RPC without history dropped one of the latter two.
    """
    finalized, proposal = await resolving(world, 3), await proposed(world)
    rpc, url = GoesDownAfterSending(len(finalized)), operator.settings.solana_rpc_url
    async with (
        Proxy.before(url, rpc) as down,
        Proxy.before(url, drops_and_has_no_history) as forgetful,
        with_settings(operator, "monitor", solana_rpc_url=down.url),
        with_settings(operator, "aggregator", solana_rpc_url=forgetful.url),
    ):
        await liked(world, proposal)
        await the_time_to_vote_passes(world)
        await until(lambda: len(rpc.sent), lambda sent: sent == len(finalized))
        await _another_finalizes_one_that_was_not_sent(operator, world, rpc.reached_the_chain)
        uncertain = await _all_are_uncertain(operator, len(finalized) + 1)
        found = [await _resolve_by_what_is_seen(operator, world, intent) for intent in uncertain]
        assert sorted(found) == ["already_done", "dead", "dead", "landed"]
        down.script = forgetful.script = honest
        await operator.sees_alert_closed("uncertain:")
        for market in finalized:
            await late.finalized(world, market, True)
        await world.reached(proposal, "APPROVED")
        await operator.sees_alert_closed("failing:")


async def _all_are_uncertain(operator: Operator, number: int) -> list[dict[str, str]]:
    async def uncertain() -> list[dict[str, str]]:
        return await _intents(operator, "--state", "uncertain")

    within_s = SendPolicy().uncertain_after_s + 60
    await until(uncertain, lambda found: len(found) == number, within_s=within_s, every_s=2)
    await operator.sees_alert("uncertain:")
    return await uncertain()


async def _another_finalizes_one_that_was_not_sent(operator: Operator, world: DemoWorld, landed: str) -> None:
    intents = await _intents(operator)
    other = next(one for one in intents if one["action"] == "finalize_market" and one["signature"] != landed)
    backend = load_keys(operator.settings.zmart_home / "keys").backend
    make = world.program.instructions.finalize_market
    await send(world.rpc, [make(address_of(backend), MarketId(other["market_id"]), None)], [backend])


async def _resolve_by_what_is_seen(operator: Operator, world: DemoWorld, intent: dict[str, str]) -> str:
    """Look for the intent's signature and at the market's account; record the outcome that the runbook's table gives.

    Return the recorded outcome.
    """
    found, reason = await _seen(world, intent, await zmart(operator, "intents", "show", intent["id"]))
    await zmart(operator, "intents", "resolve", intent["id"], "--as", found, "--reason", reason, "--yes")
    return found


async def _seen(world: DemoWorld, intent: dict[str, str], shown: str) -> tuple[str, str]:
    signature = Signature(intent["signature"])
    assert f"{signature}, valid through block " in shown
    last_valid = int(shown.partition("valid through block ")[2].partition(":")[0])
    status = (await world.rpc.get_signature_statuses([signature], search_history=True)).values[0]
    if status is not None and status.err is None:
        return "landed", f"seen in slot {status.slot}"
    market = MarketPlay("open", world.users[0])
    market.id, market.address = intent["market_id"], world.program.addresses.market(intent["market_id"])
    if (await world.account(market))[0].state is MarketState.FINALIZED:
        return "already_done", "the market is FINALIZED"
    assert (await world.rpc.get_block_height("finalized")).height > last_valid
    return "dead", f"not there, past block {last_valid}"


async def _intents(operator: Operator, *options: str) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads(await zmart(operator, "intents", "list", "--json", *options))
    return listed


async def test_a_service_whose_key_globalconfig_does_not_name_runs_with_the_key_that_it_names(
    operator: Operator, world: DemoWorld, tmp_path: Path
) -> None:
    key, path = Keypair(), tmp_path / "backend.json"
    path.write_text(json.dumps(list(bytes(key))))
    await fund(world.rpc, address_of(key), FUNDS["backend"])
    async with _globalconfig_names(world, key):
        await operator.sees_unready("aggregator", "The last tick failed: ")
        await operator.sees_unready("monitor", "but GlobalConfig names")
        async with (
            with_settings(operator, "aggregator", backend_keypair_path=str(path)),
            with_settings(operator, "monitor", backend_keypair_path=str(path)),
        ):
            await operator.sees_all_ready()
    await operator.sees_all_ready()


@asynccontextmanager
async def _globalconfig_names(world: DemoWorld, backend: Keypair) -> AsyncIterator[None]:
    """Replace the backend authority in GlobalConfig within the block, as a new deployment would."""
    address = world.program.addresses.global_config()
    info = await world.rpc.get_account(address)
    assert info is not None

    async def write(data: bytes) -> None:
        account = {"lamports": info.lamports, "owner": info.owner, "data": data.hex(), "executable": False}
        await world.rpc.call("surfnet_setAccount", [address, account])

    await write(info.data[:40] + bytes(backend.pubkey()) + info.data[72:])
    try:
        yield
    finally:
        await write(info.data)
