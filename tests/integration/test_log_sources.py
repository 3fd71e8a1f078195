"""Tests of reading a market's vote log over HTTP: an API that is busy for some seconds is asked again."""

from __future__ import annotations

import msgspec
import pytest

from kit.http_servers import serving
from zmart.errors import ZmartError
from zmart.market.types import MarketId
from zmart.proofs.log_documents import LogPage
from zmart.proofs.log_sources import from_api

MARKET = MarketId("ab" * 32)
PAGE = msgspec.json.encode(LogPage(market_id=MARKET, size=1, root="00" * 32, start=0, entries=["an entry"]))


class Answers:
    """An API that answers with these statuses in turn, and then with a log of one entry."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.requests = 0

    async def __call__(self, scope, receive, send) -> None:
        self.requests += 1
        status = self._statuses.pop(0) if self._statuses else 200
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE if status == 200 else b"{}"})


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_an_api_that_is_busy_for_a_while_is_waited_for(status: int) -> None:
    """C5: an API that answers 429, 502, 503 or 504 for a while does not end the reading of a vote log.

    It does so while its database is locked or read-only for seconds.
    """
    api = Answers(status, status, status)
    async with serving(api) as url:
        assert await from_api(url, MARKET) == [b"an entry"]
    assert api.requests == 4


@pytest.mark.parametrize(("status", "requests"), [(500, 1), (403, 1), (503, 10)])
async def test_what_does_not_end_by_itself_is_told(status: int, requests: int) -> None:
    api = Answers(*[status] * 20)
    async with serving(api) as url:
        with pytest.raises(ZmartError, match=f"HTTP status {status}"):
            await from_api(url, MARKET)
    assert api.requests == requests
