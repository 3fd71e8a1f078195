"""Tests of invented cursors: each is refused or taken as a place in the list, and none makes the server fail."""

from __future__ import annotations

import base64

from kit.gateway import Site, add_market, site
from kit.wallets import address, market_id

COMMENT, MARKET = "0f8fad5b-d9cb-469f-a165-70867728950e", "ab" * 32
MOMENTS = ["2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.9-14:00", "\\u0000"]
NAMES = [COMMENT, address(1), "\\u0000", f"{MARKET}\\n"]
NUMBERS = ["-1", "1e400", str(2**62), str(2**63), str(10**30), "null", '"\\u0000"']
KEYS = [
    *(f'["{moment}","{name}"]' for moment in MOMENTS for name in NAMES),
    *(f'[{number},"{MARKET}"]' for number in NUMBERS),
    *(f"[{number},{number},{number}]" for number in NUMBERS),
    *(f"[{number}]" for number in NUMBERS),
    "[]", "{}", "5", "[" * 300 + "]" * 300, "[" * 120, '["\\ud800"]',
]  # fmt: skip
SORTS = ("newest", "volume", "ending", "trending")


def cursor(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


async def status_of(here: Site, path: str) -> int:
    """Return the status of a GET, repeated up to ten times while a busy machine makes it 503."""
    for _ in range(10):
        if (answer := await here.get(path)).status_code != 503:
            break
    return answer.status_code


async def statuses(here: Site, path: str) -> set[int]:
    """Return the statuses of a list for every key as its cursor; `path` ends with the cursor's parameter and "="."""
    keys = [key.encode() for key in KEYS] + [b'["\xff"]', b"\xff"]
    return {await status_of(here, path + cursor(key)) for key in keys}


async def test_no_cursor_makes_the_server_fail(database_url: str, redis_url: str) -> None:
    """W9, W11: a cursor with an impossible time, NUL, a too large number or no key is answered with 200 or 400."""
    async with site(database_url, redis_url, rate_limit_reads=100_000) as here:
        for number in (1, 2):
            await add_market(here.pool, number)
        key = market_id(1)
        for path in (
            *(f"/api/markets?sort={sort}&cursor=" for sort in SORTS),
            f"/api/markets/{key}/trades?cursor=",
            f"/api/markets/{key}/timeline?cursor=",
            f"/api/markets/{key}/votes?cursor=",
            f"/api/discussions/{key}?cursor=",
            f"/api/users/{address(1)}/trades?cursor=",
            "/api/events/latest?cursor=",
            "/?cursor=",
            f"/markets/{key}?trades=",
            f"/markets/{key}?talk=",
            f"/wallets/{address(1)}?trades=",
        ):  # fmt: skip
            assert await statuses(here, path) <= {200, 400}, path
