"""Tests of the embedded PostgreSQL and Valkey as running servers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from zmart.errors import ConfigError
from zmart.local.postgres import Postgres, find_bin_dir
from zmart.local.processes import RunAs, StartError, free_port, start_command
from zmart.local.valkey import Valkey

IS_ROOT = os.getuid() == 0
NOBODY = 65534


@pytest.fixture
def new_postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "postgres", free_port())
    yield server
    server.stop()
    server.erase()


@pytest.fixture
def new_valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey", free_port())
    yield server
    server.stop()


async def test_postgres_is_prepared_by_programs_in_any_folder(tmp_path: Path) -> None:
    """W24: PostgreSQL is set up by programs in a folder of any name.

    initdb gives the path of another program to a shell.
    """
    install = find_bin_dir().parent
    folder = tmp_path / """a%b "q" \\ $x `y` #h ;s"""
    copy = folder / install.parent.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    server = Postgres(folder / "postgres", free_port(), copy / "bin", durable=False)
    try:
        server.start()
        assert await fetch_value(server.url(), "SELECT 1") == 1
    finally:
        server.stop()
        server.erase()


async def fetch_value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_postgres_speaks_utf8_and_logical_decoding(new_postgres: Postgres) -> None:
    new_postgres.start()
    assert await fetch_value(new_postgres.url(), "SHOW wal_level") == "logical"
    assert await fetch_value(new_postgres.url(), "SELECT lower('ÄÖ')") == "äö"


async def test_postgres_keeps_its_rows_after_kill_9(new_postgres: Postgres) -> None:
    new_postgres.start()
    await fetch_value(new_postgres.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
    assert new_postgres._process is not None
    others = psutil.Process(new_postgres._process.pid).children(recursive=True)
    new_postgres._process.kill()
    new_postgres._process.wait()
    psutil.wait_procs(others, timeout=30)  # a server refuses to start while such processes run
    new_postgres.start()
    assert await fetch_value(new_postgres.url(), "SELECT answer FROM kept") == 42


async def test_a_stranger_on_this_machine_gets_into_neither_server(
    new_postgres: Postgres, new_valkey: Valkey
) -> None:
    new_postgres.start()
    new_valkey.start()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(new_postgres.url().replace(new_postgres.password, "guess"))
    with pytest.raises(redis.AuthenticationError), redis.Redis(port=new_valkey.port, retry=None) as client:
        client.ping()


def test_a_taken_port_is_said_in_the_servers_own_words(new_postgres: Postgres) -> None:
    with (
        socket.create_server(("127.0.0.1", new_postgres.port)),
        pytest.raises(StartError, match="ended at its start"),
    ):
        new_postgres.start()
    assert "Address already in use" in new_postgres.log.read_text("utf-8")


def test_without_user_namespaces_root_runs_postgres_as_nobody_and_a_user_as_oneself(
    new_postgres: Postgres,
) -> None:
    run_as, uid = (RunAs.NOBODY, 65534) if IS_ROOT else (RunAs.SELF, os.getuid())
    (new_postgres.folder / "run_as").write_text(run_as.value)
    new_postgres.start()
    assert new_postgres._process is not None
    assert psutil.Process(new_postgres._process.pid).uids().real == uid


def test_a_data_folder_of_another_mode_is_refused(new_postgres: Postgres) -> None:
    (new_postgres.folder / "run_as").write_text("self" if IS_ROOT else "namespace")
    with pytest.raises(ConfigError, match="zmart up --fresh"):
        new_postgres.start()


def test_data_of_another_major_version_says_which_programs_it_needs(new_postgres: Postgres) -> None:
    new_postgres.start()
    new_postgres.stop()
    (new_postgres.data / "PG_VERSION").write_text("14\n")
    with pytest.raises(ConfigError, match=r"PostgreSQL 14.* LOCAL_POSTGRES_BIN_DIR") as refused:
        new_postgres.start()
    assert "postgresql-14" in str(refused.value)
    assert "nothing was deleted" in str(refused.value)


def test_valkey_keeps_its_keys_after_kill_9(new_valkey: Valkey) -> None:
    new_valkey.start()
    with redis.Redis.from_url(new_valkey.url()) as client:
        client.xadd("votes", {"market": "1"})
    assert new_valkey._process is not None
    new_valkey._process.send_signal(signal.SIGKILL)
    new_valkey._process.wait()
    new_valkey.start()
    with redis.Redis.from_url(new_valkey.url()) as client:
        assert client.xlen("votes") == 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder through which every user may pass; pytest's folders lie below one that only its user may enter."""
    with tempfile.TemporaryDirectory(prefix="zmart-") as name:
        os.chmod(name, 0o711)
        yield Path(name)


def test_an_ordinary_user_runs_both_servers_as_oneself(open_folder: Path) -> None:
    code = f"""
from pathlib import Path
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
home = Path({str(open_folder)!r}) / "own"
for server in (Postgres(home / "postgres", free_port()), Valkey(home / "valkey", free_port())):
    server.start()
    server.stop()
print(Postgres(home / "postgres", free_port()).run_as.value)
"""
    own = open_folder / "own"
    own.mkdir(mode=0o700)
    as_user: dict[str, object] = {}
    if IS_ROOT:
        os.chown(own, NOBODY, NOBODY)
        as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    done = subprocess.run(
        [python_for_everybody(), "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
        **as_user,  # type: ignore[call-overload]
    )
    assert done.stdout.strip() == "self", done.stderr


def python_for_everybody() -> str:
    """Return an interpreter that the user nobody can run, too: root's own may lie in root's home."""
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        probe = start_command([path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], RunAs.NOBODY)
        if not IS_ROOT or subprocess.run(probe, capture_output=True, cwd="/", check=False).returncode == 0:
            return path
    raise AssertionError("there is no Python 3.11 here that an ordinary user can run")


async def test_every_test_gets_databases_of_its_own(empty_database_url: str, redis_url: str) -> None:
    assert await fetch_value(empty_database_url, "SELECT count(*) FROM pg_stat_user_tables") == 0
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
