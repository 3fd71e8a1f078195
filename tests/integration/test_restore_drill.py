"""Test of the drill in docs/operations.md: clients that resume after it get a gap and then every change once."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_websocket_contract import ask, client, receive, serving
from websockets.asyncio.client import ClientConnection

from zmart.local.postgres import Postgres, find_bin_dir
from zmart.local.processes import free_port
from zmart.settings import load_settings
from zmart.store import change_feed, migrate
from zmart.store.pool import Pool

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
MARKET, WALLET = "ab" * 32, "1" * 32
CHANNEL = f"discussions:{MARKET}"
COMMENT = f"INSERT INTO discussions (market_id, wallet, content) VALUES ('{MARKET}', '{WALLET}', $1)"
# Each comment is a transaction of its own.
MANY_COMMITS = (
    "DO $$ BEGIN FOR n IN 1..3000 LOOP INSERT INTO discussions (market_id, wallet, content) "
    f"VALUES ('{'cd' * 32}', '{WALLET}', n::text); COMMIT; END LOOP; END $$"
)
NUMBER = "SELECT pg_current_xact_id()::text::bigint"
COUNT_TO = "DO $$ BEGIN WHILE pg_current_xact_id()::text::bigint < {} LOOP COMMIT; END LOOP; END $$"


@pytest.fixture
def other_server(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "postgres", free_port(), durable=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.erase()


def run_from_the_drill(beginning: str, database_url: str, folder: Path) -> None:
    """Run the command in docs/operations.md that starts with `beginning`, exactly as it is written there."""
    section = OPERATIONS.read_text("utf-8").partition("## Backup and restore")[2].partition("\n## ")[0]
    result = re.search(rf"(?:`|^    )({re.escape(beginning)}[^`\n]*)", section, re.M)
    assert result, beginning
    environment = {
        "PATH": f"{find_bin_dir()}:{os.environ['PATH']}",
        "DATABASE_URL": database_url,
        "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
    }
    subprocess.run(["sh", "-ec", result[1]], cwd=folder, env=environment, check=True, timeout=120)


async def contents(socket: ClientConnection, count: int) -> list[tuple[int, str]]:
    messages = [await receive(socket) for _ in range(count)]
    return [(message["offset"], message["data"]["discussion"]["content"]) for message in messages]


@pytest.mark.parametrize("lost", [0, 5], ids=["nothing is lost", "the last commits are lost"])
async def test_a_client_that_resumes_after_a_restore_misses_nothing_and_gets_nothing_twice(
    database_url: str, redis_url: str, other_server: Postgres, tmp_path: Path, lost: int
) -> None:
    def settings_of(url: str):
        return load_settings(zmart_env="local", database_url=url, redis_url=redis_url, ws_port=0)

    pool = await Pool.open(database_url, size=2, wait_s=30)
    first_number = await pool.fetchval(NUMBER)
    await pool.execute(MANY_COMMITS)
    async with serving(settings_of(database_url)) as service, client(service) as socket:
        epoch = (await ask(socket, action="subscribe", channel=CHANNEL))["epoch"]
        await pool.execute(COMMENT, "backed up")
        seen = await contents(socket, 1)
        await asyncio.to_thread(run_from_the_drill, "pg_dump", database_url, tmp_path)
        for number in range(lost):
            await pool.execute(COMMENT, f"lost {number}")
        seen += await contents(socket, lost)
    await pool.close()

    restored_url = other_server.create_database("restored")
    await asyncio.to_thread(run_from_the_drill, "pg_restore", restored_url, tmp_path)
    await asyncio.to_thread(migrate.upgrade, restored_url)

    pool = await Pool.open(restored_url, size=2, wait_s=30)
    stored = (await change_feed.head(pool)).head
    assert stored == seen[0][0]
    await pool.execute(COUNT_TO.format(first_number))
    assert first_number <= await pool.fetchval(NUMBER) < first_number + 2_000, (
        "it counts through used numbers again"
    )
    async with serving(settings_of(restored_url)) as service:
        written = [(stored + n, f"new {n}") for n in range(1, 200)]
        for _, text in written[:100]:
            await pool.execute(COMMENT, text)
        async with client(service) as socket:
            gap = await ask(socket, action="subscribe", channel=CHANNEL, epoch=epoch, offset=seen[-1][0])
            assert gap["type"] == "gap", "what the client has seen may be gone: it is told so"
            state = await receive(socket)
            assert state["epoch"] != epoch
            assert (state["data"]["outcome"], state["data"]["offset"]) == ("gap", stored + 100)
            assert "new 100" in [comment["content"] for comment in state["data"]["snapshot"]]
            for _, text in written[100:]:
                await pool.execute(COMMENT, text)
            assert await contents(socket, 99) == written[100:]
        async with client(service) as socket:
            second_result = await ask(
                socket, action="subscribe", channel=CHANNEL, epoch=state["epoch"], offset=stored + 100
            )
            assert second_result["data"]["outcome"] == "replayed"
            assert await contents(socket, 99) == written[100:]
    changes = await change_feed.read_after(pool, 0, 10_000)
    assert [change.offset for change in changes] == list(range(1, stored + 200))
    await pool.close()


async def test_a_database_that_was_not_restored_keeps_its_epoch(database_url: str) -> None:
    pool = await Pool.open(database_url, size=1)
    epoch = (await change_feed.head(pool)).epoch
    await asyncio.to_thread(migrate.upgrade, database_url)
    assert not await change_feed.renew_restored_epoch(pool)
    assert (await change_feed.head(pool)).epoch == epoch
    await pool.close()
