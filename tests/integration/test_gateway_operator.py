"""Tests of an operator's action that continues after the response to its request."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from kit.gateway import ADMIN, Site, add_market, site
from kit.wallets import address_of, market_id
from zmart.chain.rpc import Rpc
from zmart.chain.sender import Expired, Failed, InsufficientFunds, Outcome
from zmart.decisions.context import DecisionContext
from zmart.errors import ChainError, ProgramError
from zmart.services.gateway.api import operator
from zmart.services.gateway.api.transaction_builder import MarketOnChain
from zmart.services.gateway.context import AppContext
from zmart.store import intents
from zmart.store.intents import Action, IntentRow

NODE = "http://127.0.0.1:1"
"""An endpoint that nothing asks, since `execute` is replaced."""


async def proposed(here: Site) -> tuple[AppContext, MarketOnChain]:
    """Write a proposed market, and return it with the context of a gateway that has the admin's key."""
    await add_market(here.pool, 1, "PROPOSED")
    rpc = cast("Rpc", object())  # nothing uses it either
    on_chain = SimpleNamespace(
        account=SimpleNamespace(market_id=market_id(1)),
        config=SimpleNamespace(admin=address_of(ADMIN)),
        address=address_of(ADMIN),
    )
    return replace(here.gateway.context, admin=ADMIN, rpc=rpc), cast("MarketOnChain", on_chain)


async def test_an_action_that_an_aggregator_continues_is_not_called_failed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever prevents an action now, it remains planned, and an aggregator executes it later.

    An operator who read that it failed, and then decided otherwise, would not expect that.
    """
    refused = Failed(6011, "CannotCancelMarket", "no")
    outcomes: list[Outcome | ChainError] = [Expired(3), InsufficientFunds("Send it SOL."), refused]

    async def execute(*_: object) -> Outcome:
        outcome = outcomes.pop(0)
        if isinstance(outcome, ChainError):
            raise outcome
        return outcome

    monkeypatch.setattr(operator, "execute", execute)
    async with site(database_url, solana_rpc_url=NODE) as here:
        context, on_chain = await proposed(here)
        answer = await operator.send_as_admin(context, on_chain, Action.CANCEL_MARKET)
        assert answer.status == "pending"
        with pytest.raises(ChainError, match=r"Send it SOL. .* remains planned"):
            await operator.send_as_admin(context, on_chain, Action.CANCEL_MARKET)
        with pytest.raises(ProgramError, match="CannotCancelMarket"):
            await operator.send_as_admin(context, on_chain, Action.CANCEL_MARKET)
        (planned,) = await intents.open_intents(here.pool, [Action.CANCEL_MARKET])
        assert planned.market_id == market_id(1)


async def test_the_failure_of_an_action_whose_request_has_ended_is_logged(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of an action whose client has left, or was answered "pending", is logged when it occurs.

    Otherwise it would be logged only when the task is garbage-collected.
    """
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def execute(*_: object) -> None:
        began.set()
        await goes_on.wait()
        raise ChainError("The RPC does not answer.")

    monkeypatch.setattr(operator, "execute", execute)
    async with site(database_url, solana_rpc_url=NODE) as here:
        context, on_chain = await proposed(here)
        request = asyncio.create_task(operator.send_as_admin(context, on_chain, Action.CANCEL_MARKET))
        await began.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        under_way = [task for task in asyncio.all_tasks() if market_id(1) in task.get_name()]
        assert len(under_way) == 1
        with capture_logs() as lines:
            goes_on.set()
            await asyncio.wait(under_way)
            await asyncio.sleep(0)  # lets the callbacks of the task run
    (line,) = (line for line in lines if line["log_level"] == "error")
    assert line["event"] == "the operator's action failed after its response"
    assert market_id(1) in line["task"]
    assert str(line["exc_info"]) == "The RPC does not answer."


@pytest.mark.parametrize("second", ["", "http://127.0.0.1:2"])
async def test_what_one_of_two_endpoints_denies_is_not_signed_again_by_a_gateway(
    database_url: str, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """A gateway that sends the admin's transactions itself judges by both endpoints, as an aggregator does."""
    asked: list[list[str]] = []

    async def execute(decisions: DecisionContext, _: IntentRow) -> None:
        asked.extend([endpoint.url for endpoint in rpc._rpc._endpoints] for rpc in decisions.witnesses)

    monkeypatch.setattr(operator, "execute", execute)
    async with site(database_url, helius_rpc_url=second, solana_rpc_url=NODE) as here:
        await operator.send_as_admin(*await proposed(here), Action.CANCEL_MARKET)
    assert asked == [[url] for url in (second, NODE) if url]
