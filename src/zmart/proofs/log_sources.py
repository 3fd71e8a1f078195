"""Read a market's vote log from a published copy: the API, a file or IPFS. votes/vote_log.py reads the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx
import msgspec

from zmart import bounded_http
from zmart.bounded_files import read_at_most
from zmart.bounded_http import HttpAnswer
from zmart.errors import Invalid, NotFound, ZmartError
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.loopback import client_options
from zmart.market.integers import parse_decimal
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import MarketId
from zmart.proofs import merkle
from zmart.proofs.log_documents import MAX_PAGE, LogPage

_MAX_FILE_BYTES = 512 * 1024 * 1024
_LARGE_FILE_S = 3_600.0
_MAX_PAGE_BYTES = 16 * 1024 * 1024
_PAGE_S = 60.0
_MOST_REQUESTS = 10
_BUSY = frozenset((429, 502, 503, 504))


async def from_api(base_url: str, market_id: MarketId) -> list[bytes]:
    """Read the log page by page from GET /api/votes/<market>/log, and return its entries.

    Raises NotFound for an unknown market, Invalid for an invalid page, and ZmartError if the API does not answer.
    """
    async with httpx.AsyncClient(timeout=30.0, **client_options(base_url)) as client:
        url = f"{base_url.rstrip('/')}/api/votes/{market_id}/log"

        async def page(start: int) -> LogPage:
            query = {"start": start, "limit": MAX_PAGE}
            try:
                answer = await _patient(lambda: _get(client, url, query))
            except (httpx.HTTPError, httpx.InvalidURL) as problem:
                raise ZmartError(
                    f"{base_url} does not answer ({type(problem).__name__}): give --api."
                ) from None
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise NotFound(f"{base_url} knows no market {market_id}.")
            if answer.status_code != httpx.codes.OK:
                raise ZmartError(f"{base_url} answered with HTTP status {answer.status_code}.")
            return _page(answer.content, market_id)

        return await read_pages(page)


async def from_ipfs(gateway_url: str, cid: str, market_id: MarketId) -> list[bytes]:
    """Read a saved log from IPFS, check its bytes against the CID, and return its entries. Raises Invalid, PinError."""
    raw = await fetch_from_gateway(gateway_url, cid, max_bytes=_MAX_FILE_BYTES, within_s=_LARGE_FILE_S)
    return [entry.encode() for entry in _page(raw, market_id).entries]


def as_file(log: Sequence[bytes], market_id: MarketId) -> bytes:
    """Return the whole log as the bytes of one page of the API. Equal logs give equal bytes, and so the same CID."""
    root = merkle.roots_at(map(merkle.leaf_hash, log), [len(log)])[len(log)]
    entries = [entry.decode() for entry in log]
    page = LogPage(market_id=market_id, size=len(log), root=root.hex(), start=0, entries=entries)
    return msgspec.json.encode(page, order="deterministic")


def from_file(path: Path, market_id: MarketId) -> list[bytes]:
    """Read the log from a file that `as_file` or the API's response made, and return its entries. Raises Invalid."""
    try:
        raw = read_at_most(path, _MAX_FILE_BYTES)
    except OSError as problem:
        raise Invalid("file", f"{path} cannot be read ({problem.strerror}).") from None
    return [entry.encode() for entry in _page(raw, market_id).entries]


async def read_pages(page: Callable[[int], Awaitable[LogPage]]) -> list[bytes]:
    """Return the entries of a log up to at least the size that its first page names; `page(start)` reads one page.

    A page without entries ends the reading early.
    """
    first = await page(0)
    entries = [entry.encode() for entry in first.entries]
    while len(entries) < first.size:
        more = await page(len(entries))
        if not more.entries:
            break
        entries += [entry.encode() for entry in more.entries]
    return entries


async def _get(client: httpx.AsyncClient, url: str, query: dict[str, int]) -> HttpAnswer:
    return await bounded_http.request(
        client, "GET", url, within_s=_PAGE_S, max_bytes=_MAX_PAGE_BYTES, params=query
    )


async def _patient(request: Callable[[], Awaitable[HttpAnswer]]) -> HttpAnswer:
    """Request a page up to 10 times, while the API is busy or at its rate limit, and return the last answer.

    Each wait is as long as Retry-After says, at most 60 s: a long log has more pages than the rate limit allows in a
    minute.
    """
    for _ in range(_MOST_REQUESTS - 1):
        answer = await request()
        if answer.status_code not in _BUSY:
            return answer
        seconds = parse_decimal(answer.headers.get("retry-after", ""))
        await asyncio.sleep(1 if seconds is None else min(seconds, 60))
    return await request()


def _page(raw: bytes, market_id: MarketId) -> LogPage:
    try:
        page = msgspec.json.decode(raw, type=LogPage)
    except JSON_ERRORS as problem:
        raise Invalid("log", f"This is no page of a vote log: {problem}") from None
    if page.market_id != market_id:
        raise Invalid("log", f"This is the log of market {page.market_id}.")
    return page
