"""Offer the client's calls to code without asyncio; each call returns when its response has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from zmart.client.api import Client

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def _blocking(
    call: Callable[Concatenate[Client, Given], Coroutine[Any, Any, Answer]],
) -> Callable[Concatenate[SyncClient, Given], Answer]:
    def wait_for(self: SyncClient, /, *arguments: Given.args, **options: Given.kwargs) -> Answer:
        return self._run(call(self._client, *arguments, **options))

    wait_for.__name__, wait_for.__doc__ = call.__name__, call.__doc__
    return wait_for


class SyncClient:
    """Call the API without asyncio, from one thread; use as a context manager, or call `close()`.

    The calls and their errors are those of `Client`. Code in a running event loop must use `Client` itself.
    """

    def __init__(self, base_url: str, *, timeout_s: float = 20.0, token: str = "") -> None:
        self._runner = asyncio.Runner()
        self._client = Client(base_url, timeout_s=timeout_s, token=token)

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the API."""
        try:
            self._run(self._client.close())
        finally:
            self._runner.close()

    def _run(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        return self._runner.run(call)

    sign_in = _blocking(Client.sign_in)
    sign_out = _blocking(Client.sign_out)
    markets = _blocking(Client.markets)
    market = _blocking(Client.market)
    draft = _blocking(Client.draft)
    search = _blocking(Client.search)
    trending = _blocking(Client.trending)
    timeline = _blocking(Client.timeline)
    trades = _blocking(Client.trades)
    candles = _blocking(Client.candles)
    market_stats = _blocking(Client.market_stats)
    holders = _blocking(Client.holders)
    quote = _blocking(Client.quote)
    create_market = _blocking(Client.create_market)
    activate = _blocking(Client.activate)
    resolve = _blocking(Client.resolve)
    dispute = _blocking(Client.dispute)
    approve = _blocking(Client.approve)
    cancel = _blocking(Client.cancel)
    buy = _blocking(Client.buy)
    sell = _blocking(Client.sell)
    claim = _blocking(Client.claim)
    withdraw = _blocking(Client.withdraw)
    send = _blocking(Client.send)
    transaction = _blocking(Client.transaction)
    vote = _blocking(Client.vote)
    vote_counts = _blocking(Client.vote_counts)
    vote_proof = _blocking(Client.vote_proof)
    comment = _blocking(Client.comment)
    delete_comment = _blocking(Client.delete_comment)
    discussions = _blocking(Client.discussions)
    snapshots = _blocking(Client.snapshots)
    user = _blocking(Client.user)
    change_profile = _blocking(Client.change_profile)
    user_stats = _blocking(Client.user_stats)
    user_trades = _blocking(Client.user_trades)
    user_votes = _blocking(Client.user_votes)
    positions = _blocking(Client.positions)
    position = _blocking(Client.position)
    portfolio = _blocking(Client.portfolio)
    leaderboard = _blocking(Client.leaderboard)
    activity = _blocking(Client.activity)
    status = _blocking(Client.status)
    events = _blocking(Client.events)
