"""The schema goes up and down without a trace, twice at once, and costs nothing when it is there."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest

from zmart.errors import StoreError
from zmart.store import migrate

OBJECTS = """
SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic%'
"""
UNPROTECTED = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relrowsecurity
AND relname NOT LIKE 'alembic%' AND relname NOT LIKE 'pgqueuer%'
"""


async def _value(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def test_up_then_down_leaves_nothing(empty_database_url: str) -> None:
    assert asyncio.run(migrate.status(empty_database_url)).current is None
    assert migrate.upgrade(empty_database_url).up_to_date
    assert asyncio.run(_value(empty_database_url, OBJECTS)) > 50
    migrate.rollback(empty_database_url, "base")
    assert asyncio.run(_value(empty_database_url, OBJECTS)) == 0
    assert migrate.upgrade(empty_database_url).up_to_date


def test_two_migrations_at_once_do_not_collide(empty_database_url: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(migrate.upgrade, [empty_database_url] * 2))
    assert all(result.up_to_date for result in results)


async def test_every_table_has_row_level_security(database_url: str) -> None:
    assert await _value(database_url, UNPROTECTED) is None


async def test_a_stranger_role_reads_what_the_api_shows_and_nothing_else(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "DROP ROLE IF EXISTS stranger; CREATE ROLE stranger;"
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO stranger;"
            "INSERT INTO alerts (key, severity, message) VALUES ('k', 'warning', 'secret');"
            f"INSERT INTO discussions (market_id, wallet, content, deleted_at) VALUES"
            f" ('{'a' * 64}', '{'1' * 32}', 'shown', NULL), ('{'a' * 64}', '{'1' * 32}', 'gone', now());"
            "SET ROLE stranger"
        )
        assert await connection.fetchval("SELECT count(*) FROM alerts") == 0
        assert await connection.fetchval("SELECT string_agg(content, ',') FROM discussions") == "shown"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                f"INSERT INTO discussions (market_id, wallet, content) VALUES ('{'a' * 64}', '{'1' * 32}', 'x')"
            )
    finally:
        await connection.execute("RESET ROLE; DROP OWNED BY stranger; DROP ROLE stranger")
        await connection.close()


async def test_a_database_that_is_away_is_one_sentence_that_says_what_to_check() -> None:
    with pytest.raises(StoreError, match="check DATABASE_URL"):
        await migrate.status("postgresql://postgres@127.0.0.1:1/none")
