"""Tests of migrations: up and down leave nothing, two at once do not collide, and the schema protects its rows."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from kit.database_conditions import DatabaseConditions
from zmart.cli.migrate import app
from zmart.errors import Invalid, StoreError
from zmart.store import migrate
from zmart.store.migrations import REVISIONS, fingerprint

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


def test_migrations_run_from_a_package_in_any_folder(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W24: migrations run from a folder of any name, although Alembic interpolates its configuration."""
    folder = tmp_path / """a%b%%c%(here)s "q" \\ #h ;s"""
    folder.mkdir()
    (folder / "migrations").symlink_to(Path(migrate.__file__).parent / "migrations")
    monkeypatch.setattr(migrate, "__file__", str(folder / "migrate.py"))
    assert migrate.upgrade(empty_database_url).up_to_date


def test_two_migrations_at_once_do_not_collide(empty_database_url: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(migrate.upgrade, [empty_database_url] * 2))
    assert all(result.up_to_date for result in results)


def test_a_database_knows_which_migrations_made_it(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    made_by = "SELECT string_agg(revision || fingerprint, ',' ORDER BY revision) FROM schema_migrations"
    expected = ",".join(revision + fingerprint(revision) for revision in REVISIONS)
    assert asyncio.run(_value(empty_database_url, made_by)) == expected


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("DROP TABLE schema_migrations", "created by a different migration 0001"),
        ("DELETE FROM schema_migrations WHERE revision = '0001'", "created by a different migration 0001"),
        (
            "UPDATE schema_migrations SET fingerprint = repeat('0', 64)",
            "created by a different migration 0001",
        ),
        (
            "UPDATE alembic_version SET version_num = '9999'",
            "has revision 9999, which this version does not know",
        ),
    ],
)
def test_a_database_of_other_migrations_is_told_what_to_do_and_left_alone(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, changed: str, said: str
) -> None:
    migrate.upgrade(empty_database_url)
    asyncio.run(_value(empty_database_url, changed))
    before = asyncio.run(_value(empty_database_url, OBJECTS))
    monkeypatch.setattr("zmart.cli.migrate._url", lambda: empty_database_url)
    result = CliRunner().invoke(app, ["status"])
    assert (result.exit_code, said in result.output) == (1, True)
    for refused in (migrate.upgrade, migrate.rollback):
        with pytest.raises(StoreError, match=said):
            refused(empty_database_url)
    assert asyncio.run(_value(empty_database_url, OBJECTS)) == before


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("0123456789abcdef" * 4, True),
        ("f" * 64, True),
        ("f" * 63, False),
        ("f" * 65, False),
        ("F" * 64, False),
        ("g" * 64, False),
        ("f" * 64 + "\n", False),
        ("\n" + "f" * 63, False),
        ("f" * 62 + "\u00e9", False),
        ("f" * 63 + "\u00e9", False),
        ("f" * 63 + "\u0661", False),
        ("", False),
    ],
)
async def test_a_market_key_is_64_lower_case_hex_digits(
    database_url: str, value: str, accepted: bool
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        if accepted:
            assert await connection.fetchval("SELECT $1::text::market_key", value) == value
        else:
            with pytest.raises(asyncpg.CheckViolationError, match="market_key"):
                await connection.fetchval("SELECT $1::text::market_key", value)
    finally:
        await connection.close()


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


@pytest.mark.parametrize("command", [["up"], ["rollback", "--yes"]])
@pytest.mark.parametrize("start", ["empty", "migrated"])
def test_a_read_only_database_ends_a_migration_with_one_sentence(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, command: list[str], start: str
) -> None:
    """W14: a migration of a read-only database ends with one sentence, and works once the database takes writes."""
    if start == "migrated":
        migrate.upgrade(empty_database_url)
        migrate.rollback(empty_database_url, "-1")
    elif command != ["up"]:
        return
    monkeypatch.setattr("zmart.cli.migrate._url", lambda: empty_database_url)
    conditions = DatabaseConditions(empty_database_url)
    asyncio.run(conditions.set("default_transaction_read_only", "on"))
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert done.output.startswith("PostgreSQL accepts no writes (")
    assert len(done.output.splitlines()) == 1
    asyncio.run(conditions.reset("default_transaction_read_only"))
    assert CliRunner().invoke(app, ["up"]).exit_code == 0


@pytest.mark.parametrize(
    "revision", ["", "head", migrate.HEAD, "9999", "'; drop", "\udcff", "-99", "--1"], ids=ascii
)
def test_a_revision_that_does_not_exist_is_a_sentence_and_nothing_is_reverted(
    empty_database_url: str, revision: str
) -> None:
    """P16: a rollback to a revision that does not exist is refused with a sentence, and reverts nothing."""
    before = migrate.upgrade(empty_database_url).current
    with pytest.raises(Invalid, match="is no revision before"):
        migrate.rollback(empty_database_url, revision)
    assert asyncio.run(migrate.status(empty_database_url)).current == before
