"""The compatibility that a migration declares between schema and code is what its SQL allows."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from zmart.store import migrations
from zmart.store.migrations import REVISIONS

TAKES_AWAY = re.compile(
    r"""\bDROP\s+(?!FUNCTION\s+IF\s+EXISTS|TRIGGER\s+IF\s+EXISTS)\w+
    | \bRENAME\b | \bTRUNCATE\b | \bREVOKE\b | \bSET\s+NOT\s+NULL\b | \bALTER\s+COLUMN\s+\w+\s+(?:SET\s+DATA\s+)?TYPE\b
    | \bCREATE\s+UNIQUE\s+INDEX\b | \bADD\s+(?:CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b
    | \bADD\s+COLUMN\s+(?:(?!,|;|\bDEFAULT\b).)*\bNOT\s+NULL\b(?:(?!,|;|\bDEFAULT\b).)*(?=,|;|$)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def taken_away(sql: str) -> list[str]:
    """Return the statements of a migration that break older code, except those on tables that it creates itself."""
    text = re.sub(r"--[^\n]*", "", sql)
    made = "|".join(re.findall(r"CREATE TABLE (\w+)", text)) or "$^"
    statements = [one for one in text.split(";") if not re.search(rf"\b(?:ON|TABLE)\s+(?:{made})\b", one)]
    return [found.group() for one in statements for found in TAKES_AWAY.finditer(one)]


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE markets DROP COLUMN creator;",
        "ALTER TABLE markets ADD COLUMN note text NOT NULL;",
        "ALTER TABLE markets ADD COLUMN a int DEFAULT 1, ADD COLUMN b text\n NOT NULL;",
        "ALTER TABLE markets RENAME COLUMN creator TO author;",
        "ALTER TABLE markets ALTER COLUMN creator TYPE varchar;",
        "ALTER TABLE markets ALTER COLUMN creator SET NOT NULL;",
        "ALTER TABLE markets ADD CONSTRAINT short CHECK (length(creator) < 40);",
        "CREATE UNIQUE INDEX one ON markets (creator);",
        "DROP TABLE votes; DROP VIEW something;",
        "CREATE TABLE added (id int); TRUNCATE votes;",
    ],
)
def test_sql_that_takes_something_from_older_code_is_recognized(sql: str) -> None:
    assert taken_away(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE markets ADD COLUMN note text;",
        "ALTER TABLE markets ADD COLUMN note text NOT NULL DEFAULT '', ADD COLUMN n int DEFAULT 0 NOT NULL;",
        "CREATE TABLE added (id int NOT NULL); CREATE UNIQUE INDEX one ON added (id);",
        "CREATE INDEX one ON markets (creator); -- nothing to DROP TABLE here",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
    ],
)
def test_sql_that_only_adds_is_recognized(sql: str) -> None:
    assert taken_away(sql) == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_migration_declares_which_code_works_on_it(revision: str) -> None:
    (folder,) = migrations.VERSIONS.glob(f"{revision}_*/")
    declared = import_module(f"{migrations.__name__}.versions.{folder.name}").oldest_code
    assert declared in REVISIONS
    assert declared <= revision
    if declared < revision:
        assert taken_away(migrations.up_sql(revision)) == [], (
            "older code would miss this: declare a later revision"
        )


def test_older_code_works_on_a_schema_if_it_works_on_every_migration_to_it() -> None:
    assert [migrations.oldest_code(revision) for revision in ("0001", "0002", "0003", "0004", "0005")] == [
        *("0001", "0002", "0003", "0003", "0003")
    ]


@pytest.mark.parametrize("comment", [None, "", "revision 0004: code from 0003 on works", "revision 0005"])
def test_a_comment_that_says_nothing_of_the_revision_is_no_permission(comment: str | None) -> None:
    assert migrations.oldest_code_in(comment, "0005") is None
