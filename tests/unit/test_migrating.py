"""docs/migrating.md, for users of the plan or of the former backend, names only what exists (U16)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from zmart.market import events
from zmart.services.gateway.openapi import offline
from zmart.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
PLANNED = """
GET /api/markets · POST /api/markets · POST /api/markets/{key}/approve · POST /api/markets/{key}/activate ·
POST /api/markets/{key}/resolve · POST /api/markets/{key}/cancel · POST /api/trades/buy · POST /api/trades/sell ·
POST /api/trades/claim · POST /api/trades/withdraw · POST /api/votes/proposal · POST /api/votes/dispute ·
GET /api/discussions/{key} · POST /api/discussions · GET /api/users/{wallet} · PUT /api/users/{wallet} ·
POST /api/auth/nonce · POST /api/auth/verify
"""


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[tuple[str, str]]:
    """Return the rows of a section's table, as pairs of columns, without the header row."""
    lines = re.findall(r"^\| (.+?) \| (.+) \|$", section(title), re.MULTILINE)
    assert len(lines) > 3, title
    return lines[1:]


@pytest.mark.parametrize("call", [call.strip() for call in PLANNED.replace("\n", " ").split("·")])
def test_the_page_names_every_call_of_the_plan_that_differs(call: str) -> None:
    """U16: the page names each API call of the plan that differs from ours."""
    assert f"`{call}`" in PAGE


def test_every_call_that_the_page_names_exists() -> None:
    """U16: every API call that the page names exists, with its path and method."""
    paths = offline.document()["paths"]
    for method, path in re.findall(r"`(GET|POST|PUT|DELETE) (/api[^ `?]*)", PAGE):
        assert method.lower() in paths.get(path, {}), f"{method} {path}"


def test_every_event_of_the_program_is_on_the_page() -> None:
    """U16: the page lists the program's 18 events, and maps the plan's former event names to them."""
    names = {kind.__name__ for kind in get_args(events.AnyEvent) if kind is not events.Unlogged}
    assert len(names) == 18
    assert {name for name in names if name not in section("Events")} == set()
    assert {old: new for old, new in rows("Events") if old in events.OLD_NAMES} == events.OLD_NAMES


def test_every_setting_of_the_right_column_exists() -> None:
    """U16: every setting to which the page maps a setting of the former backend exists."""
    known = {name.upper() for name in Settings.model_fields}
    for old, new in [*rows("Settings"), *rows("Front end")]:
        named = re.findall(r"`([A-Z][A-Z0-9_]+)`", old if new == "the same" else new)
        assert {name for name in named if name not in known} == set(), old


def test_every_table_of_the_right_column_exists() -> None:
    """U16: every table of the right column, and every table in the statements for `zmart psql`, exists."""
    schema = "".join(path.read_text() for path in sorted((ROOT / "src").rglob("*up.sql")))
    tables = set(re.findall(r"CREATE TABLE (\w+)", schema)) | {"alembic_version"}
    named = {name for _, new in rows("Tables") for name in re.findall(r"^`(\w+)`", new)}
    named |= set(re.findall(r"FROM (\w+)", section("Commands")))
    assert named - tables == set()
    assert len(named) > 10
