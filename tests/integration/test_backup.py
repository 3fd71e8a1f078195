"""Tests of `zmart backup`, `zmart backup verify` and `zmart restore`: a backup is of one moment and restored whole."""

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from kit import commands
from kit.schema_dump import load
from kit.waiting import wait_for
from zmart.errors import ConfigError, StoreError
from zmart.local.held_decisions import is_held
from zmart.local.postgres import find_bin_dir
from zmart.ops.backup import dumping, files, restoring
from zmart.ops.backup.files import DamagedBackup
from zmart.store import database_state, migrate
from zmart.store.database_state import DatabaseState, TableState
from zmart.store.migrations import HEAD, REVISIONS

PROGRAMS = [find_bin_dir()]
COMMENT = (
    "INSERT INTO discussions (market_id, wallet, content) VALUES (repeat('ab', 32), repeat('1', 32), $1)"
)


def run(url: str, sql: str, *arguments: object) -> object:
    async def ran() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql, *arguments)
        finally:
            await connection.close()

    return asyncio.run(ran())


def state_of(url: str) -> DatabaseState:
    return asyncio.run(database_state.read_state(url))


def back_up(url: str, folder: Path) -> Path:
    return asyncio.run(dumping.back_up(url, folder, PROGRAMS))


@pytest.fixture
def used_url(empty_database_url: str) -> str:
    """Return the address of a database with the newest schema and the rows of the revision before it."""
    asyncio.run(load(empty_database_url, REVISIONS[-2]))
    migrate.upgrade(empty_database_url)
    return empty_database_url


@pytest.fixture
def other_url(new_database: Callable[[str], str]) -> str:
    """Return the address of a second, empty database."""
    return new_database("template1")


@pytest.fixture
def writer(used_url: str) -> Iterator[Callable[[], int]]:
    """Insert comments until the test ends; the yielded function returns how many were inserted so far."""
    count, stopped = 0, threading.Event()

    def write() -> None:
        nonlocal count
        while not stopped.is_set():
            run(used_url, COMMENT, f"while it is dumped {count}")
            count += 1

    thread = threading.Thread(target=write)
    thread.start()
    yield lambda: count
    stopped.set()
    thread.join()


def test_a_backup_is_of_one_moment_while_everything_is_written(
    used_url: str, other_url: str, writer: Callable[[], int], tmp_path: Path
) -> None:
    """The manifest's counts, digests and feed offset are those of the dump.

    The feed of a restored database continues after that offset.
    """
    wait_for(lambda: writer() > 3)
    backup = back_up(used_url, tmp_path)
    before = writer()
    wait_for(lambda: writer() > before)
    manifest = asyncio.run(dumping.verify(used_url, backup, PROGRAMS))
    assert manifest.state.feed_offset < state_of(used_url).feed_offset
    assert (manifest.state.revision, manifest.state.tables["users"].rows) == (HEAD, 1)
    assert run(used_url, "SELECT count(*) FROM pg_database WHERE datname LIKE 'zmart_scratch_%'") == 0

    report = restoring.restore(other_url, backup, tmp_path, PROGRAMS)
    restored = state_of(other_url)
    assert (report.replaced, report.schema.up_to_date) == (None, True)
    assert restored.tables.keys() == manifest.state.tables.keys()
    changed = {name for name, table in restored.tables.items() if table != manifest.state.tables[name]}
    assert changed == {"feed_head"}, "the epoch and the home, nothing else"
    assert restored.feed_epoch == report.feed_epoch != manifest.state.feed_epoch
    run(other_url, COMMENT, "after the restore")
    assert state_of(other_url).feed_offset == manifest.state.feed_offset + 1


def test_a_backup_replaces_what_is_there_whatever_its_schema(
    used_url: str, other_url: str, tmp_path: Path
) -> None:
    asyncio.run(load(other_url, REVISIONS[0]))
    run(other_url, COMMENT, "of the older schema")
    expected = state_of(other_url)
    older = back_up(other_url, tmp_path)

    report = restoring.restore(used_url, older, tmp_path, PROGRAMS)
    assert (report.manifest.state.revision, report.schema.current) == (REVISIONS[0], HEAD)
    migrate.rollback(used_url, REVISIONS[0])
    restored = state_of(used_url)
    assert {**restored.tables, "feed_head": 0} == {**expected.tables, "feed_head": 0}

    assert report.replaced is not None, "what was there is kept"
    restoring.restore(used_url, report.replaced, None, PROGRAMS)
    assert state_of(used_url).tables["users"].rows == 1


def test_a_backup_that_is_not_what_its_manifest_says_is_refused(used_url: str, tmp_path: Path) -> None:
    backup = back_up(used_url, tmp_path)
    before = state_of(used_url)
    manifest, dump = (backup / files.MANIFEST).read_bytes(), (backup / files.DUMP).read_bytes()

    middle = len(dump) // 2
    for damaged in (dump[:middle], dump[:middle] + bytes([dump[middle] ^ 1]) + dump[middle + 1 :], b""):
        (backup / files.DUMP).write_bytes(damaged)
        with pytest.raises(DamagedBackup, match="checksum"):
            restoring.restore(used_url, backup, None, PROGRAMS)
    (backup / files.DUMP).write_bytes(dump)

    (backup / files.MANIFEST).write_bytes(manifest[:100])
    with pytest.raises(DamagedBackup, match="cannot be read"):
        restoring.restore(used_url, backup, None, PROGRAMS)

    said = msgspec.json.decode(manifest, type=files.BackupManifest)
    wrong = msgspec.structs.replace(
        said.state, tables={**said.state.tables, "users": said.state.tables["votes"]}
    )
    (backup / files.MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(said, state=wrong)))
    with pytest.raises(DamagedBackup, match="the table users has other rows"):
        asyncio.run(dumping.verify(used_url, backup, PROGRAMS))

    newer = msgspec.structs.replace(said.state, revision="9999")
    (backup / files.MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(said, state=newer)))
    with pytest.raises(ConfigError, match="which this release does not know: restore it with that release"):
        restoring.restore(used_url, backup, None, PROGRAMS)
    assert state_of(used_url) == before


@pytest.mark.parametrize("form", ["in the query", "two names", "a schema of its own"])
def test_a_backup_is_checked_whatever_form_the_address_has(
    empty_database_url: str, tmp_path: Path, form: str
) -> None:
    parts = urlsplit(empty_database_url)
    name = parts.path.removeprefix("/")
    if form == "a schema of its own":
        run(empty_database_url, "CREATE SCHEMA app")
    url = {
        "in the query": f"postgresql:///{name}?host=127.0.0.1&port={parts.port}&user={parts.username}"
        f"&password={parts.password}",
        "two names": f"{empty_database_url}?dbname={name}",
        "a schema of its own": f"{empty_database_url}?options=-csearch_path%3Dapp",
    }[form]
    migrate.upgrade(url)
    backup = back_up(url, tmp_path)
    manifest = asyncio.run(dumping.verify(url, backup, PROGRAMS))
    assert manifest.schema == ("app" if form == "a schema of its own" else "public")


SERVICE_THAT_RUNS = (
    "INSERT INTO service_status (service, instance, ready, reason, details) "
    "VALUES ('gateway', 'h:1', true, '', '{}')"
)


def test_a_restore_waits_for_services_to_be_stopped(used_url: str, tmp_path: Path) -> None:
    backup = back_up(used_url, tmp_path)
    run(used_url, SERVICE_THAT_RUNS)
    stops: list[str] = []
    dump = (backup / files.DUMP).read_bytes()
    (backup / files.DUMP).write_bytes(b"damaged")
    with pytest.raises(DamagedBackup):
        restoring.restore(used_url, backup, None, PROGRAMS, stop_services=lambda: stops.append("stopped"))
    assert not stops, "a refused backup stops no service"
    (backup / files.DUMP).write_bytes(dump)
    with pytest.raises(ConfigError, match=r"Services work in this database: gateway \(h:1\)"):
        restoring.restore(used_url, backup, None, PROGRAMS, stop_services=lambda: stops.append("stopped"))
    assert stops == ["stopped"]
    with pytest.raises(ConfigError, match=r"Services work in this database: gateway \(h:1\)"):
        restoring.restore(used_url, backup, None, PROGRAMS)
    run(used_url, "UPDATE service_status SET seen_at = now() - interval '16 seconds'")
    restoring.restore(used_url, backup, None, PROGRAMS)


def zmart(url: str, home: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "DATABASE_URL": url, "ZMART_HOME": str(home), "ZMART_ENV_FILE": os.devnull}
    return subprocess.Popen(
        [*commands.ZMART, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


OF_PG_RESTORE = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_restore'"
WAITS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def killed_while_it_waits_for(url: str, table: str, process: "subprocess.Popen[str]") -> None:
    """Kill `process` while it waits for a lock on `table`, which this function holds."""
    holder, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            async with asyncio.timeout(60):
                while not await watcher.fetchval(WAITS):
                    assert process.poll() is None, process.communicate()
                    await asyncio.sleep(0.02)
            process.kill()
            process.wait()
    finally:
        await holder.close()
        await watcher.close()


def without_feed_head(state: DatabaseState) -> dict[str, TableState]:
    return {name: table for name, table in state.tables.items() if name != "feed_head"}


def test_a_backup_and_a_restore_that_were_killed_leave_all_or_nothing_and_are_begun_again(
    used_url: str, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    with zmart(used_url, tmp_path, "backup") as process:
        asyncio.run(killed_while_it_waits_for(used_url, "discussions", process))
    with pytest.raises(ConfigError, match="There is no backup"):
        files.newest(backups)
    with zmart(used_url, tmp_path, "backup", "--json") as process:
        result = json.loads(process.communicate(timeout=60)[0])
    assert result["manifest"]["state"] == msgspec.to_builtins(state_of(used_url))
    assert [path.name for path in backups.iterdir() if path.is_dir()] == [Path(result["backup"]).name]
    restored = without_feed_head(files.read_manifest(files.newest(backups)).state)

    run(used_url, COMMENT, "after the backup")
    before = without_feed_head(state_of(used_url))
    restore = ("restore", "--yes", "--without-backup")
    with zmart(used_url, tmp_path, *restore) as process:
        asyncio.run(killed_while_it_waits_for(used_url, "trades", process))
    assert is_held(tmp_path)
    wait_for(lambda: run(used_url, OF_PG_RESTORE) == 0)
    assert without_feed_head(state_of(used_url)) in (before, restored)

    with zmart(used_url, tmp_path, *restore) as process:
        said = process.communicate(timeout=60)[0]
    assert (process.returncode, "HOLD_DECISIONS" in said) == (0, True), said
    assert without_feed_head(state_of(used_url)) == restored


def test_decisions_are_held_before_a_restore_changes_anything_and_not_if_it_is_refused(
    used_url: str, tmp_path: Path
) -> None:
    """A kill between the two leaves services that hold for no reason, never restored votes without the mark."""
    backup = back_up(used_url, tmp_path / "backups")
    run(used_url, COMMENT, "after the backup")
    before = state_of(used_url)

    def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restoring.restore(used_url, backup, None, PROGRAMS, before_change=killed)
    assert state_of(used_url) == before
    run(used_url, SERVICE_THAT_RUNS)
    with zmart(used_url, tmp_path, "restore", "--yes") as process:
        assert "Services work in this database" in process.communicate(timeout=60)[0]
    assert not is_held(tmp_path)


def test_a_restore_that_is_run_again_does_not_restore_what_the_first_one_replaced(
    used_url: str, tmp_path: Path
) -> None:
    """The newest backup is that of `zmart backup`, also after a restore has backed up what was there."""
    wanted = back_up(used_url, tmp_path / "backups")
    restored = without_feed_head(state_of(used_url))
    run(used_url, COMMENT, "after the backup")
    for _ in range(2):
        with zmart(used_url, tmp_path, "restore", "--yes", "--json") as process:
            said = process.communicate(timeout=60)[0]
        assert process.returncode == 0, said
        assert json.loads(said.splitlines()[-1])["backup"] == str(wanted)
        assert without_feed_head(state_of(used_url)) == restored
    (first, _) = sorted((tmp_path / "backups" / "replaced").glob("zmart-*"))
    assert files.read_manifest(first).state.tables["discussions"].rows == restored["discussions"].rows + 1


def test_a_role_from_which_rows_are_hidden_makes_no_backup(used_url: str, tmp_path: Path) -> None:
    role = f"reader_{token_hex(4)}"
    run(used_url, f"CREATE ROLE {role} LOGIN PASSWORD 'reads'")
    try:
        run(used_url, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        parts = urlsplit(used_url)
        url = parts._replace(netloc=f"{role}:reads@{parts.hostname}:{parts.port}").geturl()
        with pytest.raises(ConfigError, match="row security hides it"):
            back_up(url, tmp_path)
        assert list(tmp_path.glob("zmart-*")) == []
    finally:
        run(used_url, f"DROP OWNED BY {role}")
        run(used_url, f"DROP ROLE {role}")


def test_an_older_pg_dump_is_not_taken_for_a_newer_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="postgresql-client-99"):
        dumping.find_programs(99, PROGRAMS)
    with pytest.raises((ConfigError, StoreError), match="is no backup"):
        files.read_manifest(tmp_path)
