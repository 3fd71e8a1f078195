"""Drills of docs/operations.md about webhooks: one that Helius switched off, and false deliveries with the secret."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest
from solders.instruction import AccountMeta, Instruction
from solders.system_program import TransferParams, transfer

from kit.operator import Operator
from kit.operator_deliveries import Delivery, deliver, delivery_of
from kit.operator_index import asked, becomes_indexed, voted
from kit.operator_markets import proposed, with_settings, zmart
from zmart.local.chain.genesis import send
from zmart.local.demo.world import DemoWorld

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_OTHER_SECRET = "a-secret-that-no-other-sender-knows"
_MARK = "Program data: "
# As if an hour had passed since the last false delivery: for that long the alert stays open.
_AGE_FALSE = "UPDATE false_deliveries SET detected_at = detected_at - interval '1 hour'"


async def test_a_webhook_whose_deliveries_were_refused_is_switched_on_by_register(
    operator: Operator, world: DemoWorld
) -> None:
    soon = {"helius_check_interval_s": "2"}
    async with (
        with_settings(operator, "indexer", helius_webhook_secret=_OTHER_SECRET, **soon),
        _transactions(world),
    ):
        assert "too many deliveries failed" in await operator.sees_alert("webhook-inactive")
    async with with_settings(operator, "indexer", **soon):
        assert "INACTIVE" in await zmart(operator, "webhook", "list")
        assert (await zmart(operator, "webhook", "register")).startswith("enabled again: ")
        await operator.sees_alert_closed("webhook-inactive")
    assert "INACTIVE" not in await zmart(operator, "webhook", "list")


@asynccontextmanager
async def _transactions(world: DemoWorld) -> AsyncIterator[None]:
    """Send transactions within the block that name the program but do not call it; each of them is delivered."""
    key = world.users[0].key
    named = AccountMeta(world.program.id, is_signer=False, is_writable=False)

    async def endless() -> None:
        for lamports in itertools.count(1):  # each is another transaction
            plain = transfer(
                TransferParams(from_pubkey=key.pubkey(), to_pubkey=key.pubkey(), lamports=lamports)
            )
            await send(
                world.rpc, [Instruction(plain.program_id, plain.data, [*plain.accounts, named])], [key]
            )

    sending = asyncio.create_task(endless())
    try:
        yield
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


async def test_a_sender_who_lies_is_kept_out_by_another_secret(operator: Operator, world: DemoWorld) -> None:
    market, other, user = await proposed(world), await proposed(world), world.users[1]
    old = operator.settings.require("helius_webhook_secret")
    async with operator.without("providers"), operator.without("indexer"):
        signature = await voted(world, market, user)
        lie = await _with_the_opposite_vote(world, signature)
        assert await deliver(operator, lie, old) == 200
    message = await operator.sees_alert("index-false-deliveries")
    assert re.search(rf"{signature}, received [^;]* UTC: log lines, events\.$", message), message
    await becomes_indexed(operator, market, user)
    async with _another_secret(operator):
        for port in ("api_port", "indexer_port"):
            assert await deliver(operator, lie, old, port) == 401
        await voted(world, other, user)
        await becomes_indexed(operator, other, user)
        await asked(operator, _AGE_FALSE)
        await operator.sees_alert_closed("index-false-deliveries")


async def _with_the_opposite_vote(world: DemoWorld, signature: str) -> Delivery:
    """Return a delivery of the transaction with the opposite vote in its log."""
    delivery = await delivery_of(world, signature)
    lines = delivery["meta"]["logMessages"]
    delivery["meta"]["logMessages"] = [_opposite(world, line) for line in lines]
    return delivery


def _opposite(world: DemoWorld, line: str) -> str:
    if not line.startswith(_MARK):
        return line
    vote = world.program.events.decode(base64.b64decode(line.removeprefix(_MARK)))
    other = world.program.events.encode(msgspec.structs.replace(vote, vote=False))
    return _MARK + base64.b64encode(other).decode()


@asynccontextmanager
async def _another_secret(operator: Operator) -> AsyncIterator[None]:
    """Run gateway and indexer with another secret within the block, and register the webhook with that secret."""
    async with (
        with_settings(operator, "gateway", helius_webhook_secret=_OTHER_SECRET),
        with_settings(operator, "indexer", helius_webhook_secret=_OTHER_SECRET),
    ):
        out = await zmart(operator, "webhook", "register", helius_webhook_secret=_OTHER_SECRET)
        assert out.startswith("updated: ")
        yield
    await zmart(operator, "webhook", "register")
