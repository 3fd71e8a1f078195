"""A market's vote log from wherever there is a copy: an API, a file, the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import msgspec

from zmart.errors import Invalid, NotFound, ZmartError
from zmart.market.types import MarketId
from zmart.proofs import vote_log
from zmart.proofs.vote_log import MAX_PAGE, LogPage
from zmart.store.pool import Pool

_MAX_FILE_BYTES = 512 * 1024 * 1024


async def from_api(base_url: str, market_id: MarketId) -> list[bytes]:
    """Page by page from GET /api/votes/<market>/log. Raises NotFound, Invalid, ZmartError."""
    async with httpx.AsyncClient(base_url=base_url, timeout=30.0) as client:

        async def page(start: int) -> LogPage:
            query = {"start": start, "limit": MAX_PAGE}
            try:
                answer = await client.get(f"/api/votes/{market_id}/log", params=query)
            except (httpx.HTTPError, httpx.InvalidURL) as problem:
                raise ZmartError(
                    f"{base_url} does not answer ({type(problem).__name__}): give --api."
                ) from None
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise NotFound(f"{base_url} knows no market {market_id}.")
            if answer.status_code != httpx.codes.OK:
                raise ZmartError(f"{base_url} answered with HTTP status {answer.status_code}.")
            return _page(answer.content, market_id)

        return await _all(page)


async def from_database(database_url: str, market_id: MarketId) -> list[bytes]:
    pool = await Pool.open(database_url, size=1)
    try:
        return await _all(lambda start: vote_log.page(pool, market_id, start))
    finally:
        await pool.close()


def from_file(path: Path, market_id: MarketId) -> list[bytes]:
    """A saved answer of the API with the whole log. Raises Invalid."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise Invalid("file", f"{path} is larger than any log.")
        raw = path.read_bytes()
    except OSError as problem:
        raise Invalid("file", f"{path} cannot be read ({problem.strerror}).") from None
    return [entry.encode() for entry in _page(raw, market_id).entries]


async def _all(page: Callable[[int], Awaitable[LogPage]]) -> list[bytes]:
    """Until a page ends the log as it was at the first look; a page that brings nothing ends it, too."""
    first = await page(0)
    entries = [entry.encode() for entry in first.entries]
    while len(entries) < first.size:
        more = await page(len(entries))
        if not more.entries:
            break
        entries += [entry.encode() for entry in more.entries]
    return entries


def _page(raw: bytes, market_id: MarketId) -> LogPage:
    try:
        found = msgspec.json.decode(raw, type=LogPage)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        raise Invalid("log", f"This is no page of a vote log: {problem}") from None
    if found.market_id != market_id:
        raise Invalid("log", f"This is the log of market {found.market_id}.")
    return found
