"""The disk of a whole stack becomes full while it works and is then freed: all parts wait, say why, and continue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import pytest

from kit.commands import environment, run
from kit.local_stack import ADDON, stack_in
from kit.mounts import mounted
from kit.operator import Operator
from kit.waiting import wait_for
from zmart.cli.stack_output import ProcessRow, rows
from zmart.errors import ZmartError
from zmart.local import doctor
from zmart.local.demo.play import play
from zmart.local.ports import NAMES
from zmart.local.process_group import members
from zmart.ops.dashboard import Dashboard
from zmart.ops.disk import full_disk
from zmart.settings import Settings

pytestmark = pytest.mark.slow
FULL_FOR_S = 60
BACK_WITHIN_S = 10.0
"""Seconds to readiness after the disk is freed: five, and as many again for a busy machine."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 700 MiB, which has room for a stack and little more; return its folder."""
    with mounted(tmp_path / "disk", "700m") as folder:
        yield folder


def fill(folder: Path, number: int) -> None:
    """Fill the file system of `folder` with a file until it has no room."""
    with suppress(OSError), (folder / f"filler {number}").open("wb", buffering=0) as filler:
        while filler.write(bytes(1 << 16)):
            pass


@contextmanager
def old_snapshot(database_url: str) -> Iterator[None]:
    """Hold a snapshot of the database within the block, as a backup does.

    So no update can take the place of an older version of its row: what the services write needs room on the disk.
    Otherwise it may find it in the tables, and nothing fails for minutes.
    """
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database_url))
        runner.run(connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"))
        yield
        runner.run(connection.close())


def all_run(found: list[ProcessRow]) -> bool:
    return all(row.state == "running" and row.ready is not False for row in found)


async def headline(settings: Settings) -> str:
    dashboard = Dashboard(settings)
    try:
        return (await dashboard.page())[1]
    finally:
        await dashboard.close()


def test_a_full_disk_is_waited_for_named_and_survived(small_disk: Path) -> None:
    """C4, C12, C16: the disk fills during a demo; nothing is restarted by hand, and the next demo's checks hold."""
    home = small_disk / "home"
    home.mkdir()
    with stack_in(home) as stack, old_snapshot(stack.require("database_url")):
        before = {row.name: row.pid for row in rows(home)}
        interrupted = asyncio.run(play(stack, on_start=lambda market, step: fill(small_disk, 0)))
        assert interrupted.failed_step
        for number in range(1, FULL_FOR_S):  # space that a server frees is filled again
            fill(small_disk, number)
            time.sleep(1)
        assert full_disk(home) == doctor._disk(home).sentence
        assert full_disk(home) in asyncio.run(headline(stack))
        asyncio.run(ready_says_so(stack))
        assert all(row.reason for row in rows(home))
        assert full_disk(home) in {row.reason for row in rows(home)}
        assert set(before) == {row.name for row in rows(home)}
        for filler in small_disk.glob("filler *"):
            filler.unlink()
        wait_for(lambda: ready_again(home), BACK_WITHIN_S)
        report = asyncio.run(play(stack))
        assert report.failed_step == ""
        assert [check for check in report.books if not check.ok] == []


async def ready_says_so(settings: Settings) -> None:
    """Check that /ready of the indexer names the disk, as the runbook says."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        await Operator(settings, http).sees_unready("indexer", "The disk of")


def ready_again(home: Path) -> bool:
    with suppress(ZmartError):
        return all_run(rows(home))
    return False


@pytest.mark.parametrize("size", ["64k", "1m", "24m"])
async def test_a_start_without_room_is_one_sentence_that_says_so(tmp_path: Path, size: str) -> None:
    """C12, C16: the room ends at different points of the start."""
    with mounted(tmp_path / "disk", size) as disk:
        home = disk / "home"
        home.mkdir()
        (home / "node").symlink_to(ADDON)
        status, out, err = await run("up", "-d", env=environment(zmart_home=home, **dict.fromkeys(NAMES, 0)))
        assert status == 1
        assert "disk" in err or "No space left on device" in err
        assert "Traceback" not in out + err
        assert members(home) == []
