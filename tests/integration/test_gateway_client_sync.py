"""Tests of the synchronous client against a running gateway."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from kit.gateway_server import fill, server
from kit.wallets import address, market_id, wallet
from zmart.client import ApiError, Client, SyncClient
from zmart.market.types import Side

ACTIVE = market_id(3)


def test_the_same_calls_without_awaiting(database_url: str, redis_url: str) -> None:
    asyncio.run(fill(database_url))
    with server(database_url, redis_url) as url, SyncClient(url) as api:
        assert api.markets(state="ACTIVE").markets[0].id == ACTIVE
        assert api.quote(ACTIVE, Side.BUY, True, max_cost=10**8).total <= 10**8
        session = api.sign_in(address(4), lambda message: str(wallet(4).sign_message(message)))
        assert session.wallet == address(4)
        assert api.change_profile(address(4), display_name="Ada").display_name == "Ada"
        made = api.comment(ACTIVE, "Hello")
        api.delete_comment(made.discussion.id)
        assert api.user_trades(address(4)).trades[0].market_id
        assert api.leaderboard(by="volume").leaders
        assert api.activity(kind="trade").activities
        assert api.search("rain").count == 7
        assert api.trending().trending
        assert api.market_stats(ACTIVE).stats.total_trades == 4
        assert api.user_votes(address(2)).total == 7
        api.sign_out()
        with pytest.raises(ApiError) as refused:
            api.comment(ACTIVE, "Gone")
        assert refused.value.status == 401


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")} - {
            "close"
        }

    assert calls(SyncClient) == calls(Client)
    assert SyncClient.markets.__name__ == "markets"
