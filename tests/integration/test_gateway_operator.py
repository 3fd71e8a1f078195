"""Tests of an operator's action that goes on after the response to its request."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from kit.gateway import ADMIN, add_market, site
from kit.wallets import address_of, market_id
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.services.gateway.api import operator
from zmart.services.gateway.api.transaction_builder import MarketOnChain
from zmart.store.intents import Action


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
    async with site(database_url) as here:
        await add_market(here.pool, 1, "PROPOSED")
        rpc = cast("Rpc", object())  # nothing uses it, since `execute` is replaced
        context = replace(here.gateway.context, admin=ADMIN, rpc=rpc)
        on_chain = SimpleNamespace(
            account=SimpleNamespace(market_id=market_id(1)),
            config=SimpleNamespace(admin=address_of(ADMIN)),
            address=address_of(ADMIN),
        )
        on_chain = cast("MarketOnChain", on_chain)
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
