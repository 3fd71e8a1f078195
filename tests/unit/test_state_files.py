"""C14: a small file in ZMART_HOME is used only if it is whole, and is written completely or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zmart.errors import ConfigError, StoreError
from zmart.local.addresses import stack_settings
from zmart.local.chain.node import find_node
from zmart.local.local_secrets import load_secrets
from zmart.local.postgres import Postgres
from zmart.local.processes import RunAs
from zmart.local.state_files import DamagedState, read_state, token_in, write_state
from zmart.local.valkey import Valkey
from zmart.settings import settings as settings_of_process

WHOLE = "a" * 32
TORN = [b"", b"\n", b"aaa", b"\0" * 32, b"a" * 31, b"a" * 33, b"a" * 16 + b"\0" * 16, b"\xff" * 32, b"{}"]


@pytest.mark.parametrize("content", TORN)
def test_a_torn_file_is_neither_absent_nor_believed(tmp_path: Path, content: bytes) -> None:
    """C14: reading a torn file raises DamagedState and leaves the file as it is."""
    path = tmp_path / "token"
    path.write_bytes(content)
    for ask in (
        lambda: read_state(path, "a{32}", "do this"),
        lambda: token_in(path, may_make=True, advice="x"),
    ):
        with pytest.raises(DamagedState, match="token"):
            ask()
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_read_is_not_absent(tmp_path: Path) -> None:
    """C14: a file that exists but cannot be read raises DamagedState; a missing file is read as None."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(DamagedState, match="cannot be read"):
        read_state(tmp_path / "folder", ".*", "do this")
    assert read_state(tmp_path / "nothing", ".*", "do this") is None


def test_what_was_written_is_read_and_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for content in ("b" * 32, WHOLE):
        write_state(path, content)
        assert read_state(path, "[ab]{32}", "") == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["token"]
    assert token_in(path, may_make=False, advice="") == WHOLE


def test_what_cannot_be_written_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    with pytest.raises(StoreError, match="token cannot be written"):
        write_state(tmp_path / "token", "new")
    assert os.listdir(tmp_path) == ["token"]


def test_a_writer_that_is_killed_at_any_call_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """C14: a writer that is killed after any of its system calls leaves the old content or the new one."""
    path = tmp_path / "token"
    write_state(path, "old")
    answer = set()
    for calls in range(12):
        done = subprocess.run(
            [sys.executable, "-c", KILLED_AFTER, str(path), str(calls)], check=False, capture_output=True
        )
        answer.add(path.read_text())
        if done.returncode == 0:
            break
    assert answer == {"old", "new"}


KILLED_AFTER = """
import os, sys
from pathlib import Path
from zmart.local.state_files import write_state
left = int(sys.argv[2])
def counted(call):
    def run(*arguments, **named):
        global left
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
        return call(*arguments, **named)
    return run
for name in ("open", "fsync", "close"):
    setattr(os, name, counted(getattr(os, name)))
os.fdopen = counted(os.fdopen)
Path.replace = counted(Path.replace)
write_state(Path(sys.argv[1]), "new")
"""


@pytest.mark.parametrize("content", [b"", b"{", b'{"operator_token": 5}', b"\0" * 40, b"[]"])
def test_torn_secrets_are_said_and_kept(tmp_path: Path, content: bytes) -> None:
    """C14: a torn secrets.json raises DamagedState and is not replaced."""
    (tmp_path / "secrets.json").write_bytes(content)
    with pytest.raises(DamagedState, match=r"secrets\.json"):
        load_secrets(tmp_path)
    assert (tmp_path / "secrets.json").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 40])
def test_commands_do_not_guess_which_database_a_torn_stack_file_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """C14: with a torn stack.json the database is unknown, and a command ends instead of using another one."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stack.json").write_bytes(content)
    monkeypatch.setenv("ZMART_HOME", str(tmp_path))
    monkeypatch.setenv("ZMART_ENV_FILE", os.devnull)
    settings_of_process.cache_clear()
    try:
        with pytest.raises(DamagedState, match="the database is unknown"):
            stack_settings()
    finally:
        settings_of_process.cache_clear()


def made(folder: Path) -> Postgres:
    """Return a local PostgreSQL that already has a data folder and a password."""
    server = Postgres(folder, 1)
    assert server.password
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("18")
    return Postgres(folder, 1)


@pytest.mark.parametrize("content", [None, b"", b"abc", b"\0" * 32])
def test_a_password_that_is_gone_is_not_replaced_while_there_is_data(
    tmp_path: Path, content: bytes | None
) -> None:
    """C14: a lost password is not replaced while a data folder exists: another one would not open the database."""
    server = made(tmp_path)
    password = tmp_path / "password"
    password.unlink()
    if content is not None:
        password.write_bytes(content)
    with pytest.raises(DamagedState, match="zmart up --fresh"):
        server.url()
    assert (server.data / "PG_VERSION").exists()


def test_a_data_folder_that_lost_its_version_is_not_made_anew(tmp_path: Path) -> None:
    """C14: a data folder without PG_VERSION ends the start with an error; nothing in it is deleted."""
    server = made(tmp_path)
    (server.data / "PG_VERSION").rename(server.data / "base")
    with pytest.raises(ConfigError, match="nothing was deleted"):
        server.prepare()
    assert (server.data / "base").exists()


@pytest.mark.parametrize("content", [b"", b"nob", b"\0\0\0\0"])
def test_as_whom_the_server_runs_is_known_from_its_data(tmp_path: Path, content: bytes) -> None:
    """C14: the user that PostgreSQL runs as is found again from its data folder if the file run_as is torn."""
    server = made(tmp_path)
    (tmp_path / "run_as").write_bytes(content)
    expected = RunAs.NAMESPACE if os.getuid() == 0 else RunAs.SELF
    assert server.run_as is expected
    assert (tmp_path / "run_as").read_text() == expected.value


@pytest.mark.parametrize("content", TORN)
def test_a_torn_password_of_valkey_is_made_anew(tmp_path: Path, content: bytes) -> None:
    """C14: a torn password of Valkey is replaced, since every start passes the password to the server."""
    (tmp_path / "password").write_bytes(content)
    password = Valkey(tmp_path, 1).password
    assert len(password) == len(WHOLE)
    assert Valkey(tmp_path, 1).password == password


@pytest.mark.parametrize(
    ("content", "is_new"),
    [
        (b"", True),
        (b'C {"accounts":{', True),
        (b'T {"signature":"x"', True),
        (b"\0" * 100, False),
        (b'{"some": "thing"}', False),
        (b'T {"signature":"x","addresses":[]}\n', False),
    ],
)
def test_a_journal_of_the_chain_that_says_nothing_is_not_emptied(
    tmp_path: Path, content: bytes, is_new: bool
) -> None:
    """C14: a chain's journal without a readable state is refused and kept, unless it is a torn first write."""
    import zmart.local.chain as package

    script = tmp_path / "open.js"
    script.write_text("new (require(process.argv[2]).Journal)(process.argv[3]);")
    (tmp_path / "chain").mkdir()
    journal = tmp_path / "chain" / "journal"
    journal.write_bytes(content)
    source = Path(package.__file__).parent / "journal.js"
    done = subprocess.run(
        [find_node(), script, source, tmp_path / "chain"], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == is_new
    assert journal.read_bytes() == (b"" if is_new else content)
    assert is_new or "nothing was deleted" in done.stderr
