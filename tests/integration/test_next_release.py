"""Tests of this release beside the next one: it works, and starts, on a newer schema that says so, and on no other."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from kit.next_release import REVISION, NextRelease
from kit.votes import add_market, vote_by_session
from kit.wallets import market_id, wallet
from zmart.cli.migrate import app
from zmart.errors import ConfigError, StoreError
from zmart.market.types import VoteKind
from zmart.store import change_feed, live_state, migrate, votes
from zmart.store.database_check import require_usable
from zmart.store.migrations import HEAD, LOCK_WITHIN_S
from zmart.store.pool import Pool

_MARKET = market_id(9)


async def use(pool: Pool, voter: int) -> None:
    """Vote, count, update a market and read the feed: what this release does with tables that the next one changes."""
    await vote_by_session(pool, _MARKET, wallet(voter))
    assert (await votes.counts(pool, _MARKET))[VoteKind.PROPOSAL].total == voter
    await pool.execute("UPDATE markets SET price_yes_e9 = price_yes_e9 + 1 WHERE market_id = $1", _MARKET)
    state = await live_state.market(pool, _MARKET)
    changes = await change_feed.read_after(pool, 0, 1_000_000)
    assert [change.offset for change in changes] == list(range(1, state.head + 1))


async def test_this_release_works_on_the_schema_of_the_next_one_and_starts_on_it(
    pool: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = NextRelease(tmp_path)
    await add_market(pool, _MARKET, "PROPOSED")
    await use(pool, 1)
    blocker = await asyncpg.connect(database_url)
    try:
        reading = blocker.transaction()
        await reading.start()
        await blocker.execute("SELECT FROM markets")
        migrating = asyncio.create_task(following.migrate(database_url, "up"))
        began, longest_s, voter = time.monotonic(), 0.0, 1
        while longest_s < LOCK_WITHIN_S / 2 and time.monotonic() - began < 20:
            before = time.monotonic()
            voter += 1
            await use(pool, voter)
            longest_s = max(longest_s, time.monotonic() - before)
        assert not migrating.done(), "it needs the lock that the reader holds"
        assert LOCK_WITHIN_S / 2 <= longest_s < LOCK_WITHIN_S + 1, (
            "who comes after it, waits no longer than it"
        )
        await reading.rollback()
        assert f"database: {REVISION}" in await migrating
    finally:
        await blocker.close()

    await use(pool, voter + 1)
    await require_usable(database_url)
    schema = await migrate.status(database_url)
    assert (schema.current, schema.works, schema.up_to_date) == (REVISION, True, False)
    assert await asyncio.to_thread(migrate.upgrade, database_url) == schema
    with pytest.raises(StoreError, match="migrate it with the version that created it"):
        await asyncio.to_thread(migrate.rollback, database_url)
    monkeypatch.setattr("zmart.cli.migrate._url", lambda: database_url)
    told = await asyncio.to_thread(CliRunner().invoke, app, ["status"])
    assert (told.exit_code, "newer, and this version works on it" in told.output) == (0, True)

    assert f"database: {HEAD}" in await following.migrate(database_url, "rollback", "--yes")
    assert (await migrate.status(database_url)).up_to_date
    await use(pool, voter + 2)


async def test_this_release_refuses_a_schema_that_lacks_what_it_needs(
    database_url: str, tmp_path: Path
) -> None:
    await NextRelease(tmp_path, oldest_code=REVISION).migrate(database_url, "up")
    with pytest.raises(ConfigError, match=f"has revision {REVISION}, which this version does not know"):
        await require_usable(database_url)
    assert not (await migrate.status(database_url)).works


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("COMMENT ON TABLE alembic_version IS NULL", f"has revision {REVISION}"),
        (
            "UPDATE schema_migrations SET fingerprint = repeat('0', 64) WHERE revision = '0001'",
            "created by a different migration 0001",
        ),
    ],
)
async def test_a_newer_schema_is_no_permission_by_itself(
    pool: Pool, database_url: str, changed: str, said: str
) -> None:
    await pool.execute(f"UPDATE alembic_version SET version_num = '{REVISION}'")
    await pool.execute(
        f"COMMENT ON TABLE alembic_version IS 'revision {REVISION}: code from {HEAD} on works'"
    )
    await require_usable(database_url)
    await pool.execute(changed)
    with pytest.raises(ConfigError, match=said):
        await require_usable(database_url)
