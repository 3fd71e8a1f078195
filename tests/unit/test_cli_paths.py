"""Wrong paths and addresses of the command line or of a setting end a command with one sentence about the mistake."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import typer
from solders.keypair import Keypair
from typer.testing import CliRunner

from zmart.cli import MODULES
from zmart.local.doctor import examine
from zmart.local.releases import record_release, releases, this_release
from zmart.settings import Settings, load_settings, settings

app = typer.Typer()
for name in MODULES:
    import_module(f"zmart.cli.{name}").register(app)
MARKET = "ab" * 32
CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
NOWHERE = "postgresql://nobody@127.0.0.1:9/x"
COMMANDS = (
    ["up", "--detach"], ["ps"], ["ps", "--json"], ["stop"], ["restart", "all"], ["monit"], ["logs"], ["setup"],
    ["demo"], ["rollback"], ["backup"], ["backup", "verify"], ["restore", "--yes"], ["redis-cli", "ping"],
    ["migrate", "status"], ["run", "chain"],
)  # fmt: skip
WRITING = (["up", "--detach"], ["demo"], ["setup"], ["run", "chain"])


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZMART_ENV_FILE", os.devnull)
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    monkeypatch.setenv("SOLANA_RPC_URL", "http://127.0.0.1:9")
    settings.cache_clear()
    yield
    settings.cache_clear()


def assert_a_sentence(arguments: list[str], status: int, *says: str) -> None:
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == status, (ended.output, ended.exception)
    assert not ended.exception or isinstance(ended.exception, SystemExit), ended.exception
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    for text in says:
        assert text in ended.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("below", ["", "sub/home"], ids=["itself", "below"])
def test_a_home_that_is_a_file_is_one_sentence_and_status_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, below: str, command: list[str]
) -> None:
    """W24: a ZMART_HOME that is a file, or lies below one, ends every command with one sentence and status 2."""
    (tmp_path / "home").touch()
    monkeypatch.setenv("ZMART_HOME", str(tmp_path / "home" / below))
    assert_a_sentence(command, 2, "ZMART_HOME is wrong", "folder")


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
@pytest.mark.parametrize("home", ["/proc/zmart", "/proc/zmart/home"])
def test_a_home_that_cannot_be_made_is_one_sentence_and_status_2(
    monkeypatch: pytest.MonkeyPatch, home: str, command: list[str]
) -> None:
    """W24: a ZMART_HOME that cannot be created ends the commands that write there with one sentence and status 2."""
    monkeypatch.delenv("SOLANA_RPC_URL")
    monkeypatch.setenv("ZMART_HOME", home)
    assert_a_sentence(command, 2, home, "ZMART_HOME", "cannot be made or written")


@pytest.mark.parametrize("part", ["run", "keys"])
def test_a_file_where_a_folder_of_the_home_belongs_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str
) -> None:
    """W24: `zmart up` names a file that stands where a folder of ZMART_HOME belongs."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / part).touch()
    monkeypatch.setenv("ZMART_HOME", str(tmp_path / "home"))
    assert_a_sentence(["up", "--detach"], 2, str(tmp_path / "home" / part))


@pytest.mark.parametrize("part", [".starting", "run/stack.json"])
def test_a_folder_where_a_file_of_the_home_belongs_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str
) -> None:
    """W24: a command names a folder that stands where a file of ZMART_HOME belongs, and does not call it a bug."""
    (tmp_path / "home" / part).mkdir(parents=True)
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("ZMART_HOME", str(tmp_path / "home"))
    command = ["up", "--detach"] if part == ".starting" else ["migrate", "status"]
    assert_a_sentence(command, 1, str(tmp_path / "home" / part))


@pytest.mark.parametrize(
    "command",
    [
        ["ps"],
        ["stop"],
        ["logs"],
        ["doctor"],
        ["backup"],
        ["restore", "--yes"],
        ["rollback", "--plan"],
        ["up", "-d"],
    ],
    ids=" ".join,
)
def test_a_working_folder_that_was_deleted_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    """Without ZMART_HOME the stack is in the working folder."""
    monkeypatch.delenv("DATABASE_URL")
    (tmp_path / "deleted").mkdir()
    monkeypatch.chdir(tmp_path / "deleted")
    (tmp_path / "deleted").rmdir()
    assert_a_sentence(command, 1, "working folder was deleted")


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.write_text('[{"version": ')], ids=["folder", "torn"]
)
def test_a_damaged_record_of_releases_is_said_and_kept_by_the_next_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    """A record that cannot be read is not one without releases."""
    monkeypatch.setenv("ZMART_HOME", str(tmp_path))
    for name in ("releases.json.damaged", "releases.json.damaged1"):
        make(tmp_path / "releases.json")
        assert_a_sentence(["rollback", "--plan"], 1, "releases.json cannot be read", "unknown")
        record_release(tmp_path)
        assert [release.commit for release in releases(tmp_path)] == [this_release().commit]
        assert (tmp_path / name).exists()
        (tmp_path / "releases.json").unlink()
    assert releases(tmp_path) == []


def test_the_doctor_says_that_the_home_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """W24: `zmart doctor` reports a ZMART_HOME that cannot be written as a failed finding."""
    monkeypatch.setenv("ZMART_HOME", "/proc/zmart")
    found = {finding.name: finding for finding in examine()}
    assert "/proc/zmart" in found["home"].sentence
    assert not found["home"].ok


@pytest.mark.parametrize(
    ("option", "command"),
    [
        ("--gateway", ["verify", "snapshot", CID]),
        ("--gateway", ["verify", "tally", MARKET, "--cid", CID]),
        ("--rpc", ["verify", "snapshot", CID]),
        ("--api", ["verify", "snapshot", CID]),
        ("--api", ["verify", "tally", MARKET]),
        ("--api", ["verify", "log", MARKET, "log.json"]),
        ("--url", ["webhook", "register"]),
        ("--snapshots-url", ["demo"]),
        ("--into", ["backup", "verify"]),
    ],
)
@pytest.mark.parametrize(
    "url",
    ["http://[::1", "http://h:port/", "http://h/#x", "h", "http://a b/", "http://\udcff/", "\0"],
    ids=ascii,
)
def test_an_invalid_address_is_one_sentence_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, option: str, command: list[str], url: str
) -> None:
    """W20: an invalid URL in an option ends the command with one sentence that names the option."""
    monkeypatch.setenv("HELIUS_API_KEY", "x")
    assert_a_sentence([*command, option, url], 1, option)


@pytest.mark.parametrize("option", ["--gateway", "--api"])
def test_an_address_to_which_paths_are_appended_has_no_query(option: str) -> None:
    """W20: a base URL with a query is refused in an option as it is in a setting."""
    assert_a_sentence(
        ["verify", "tally", MARKET, option, "https://h.example/?key=s3cr3t"], 1, option, "query"
    )


@pytest.mark.parametrize("number", [str(2**63), str(10**30), "-1"])
@pytest.mark.parametrize(
    "command",
    [["logs", "-n"], ["intents", "list", "--limit"], ["indexer", "backfill", "--from"], ["monit", "--every"]],
    ids=" ".join,
)
def test_a_number_that_nothing_can_hold_is_a_wrong_option(command: list[str], number: str) -> None:
    """P16: a number outside of an option's range is an invalid value of this option, with status 2."""
    ended = CliRunner().invoke(app, [*command, number])
    assert (ended.exit_code, type(ended.exception)) == (2, SystemExit), ended.output
    assert "Invalid value" in ended.stderr


@pytest.mark.parametrize("file", ["/dev/zero", "/", "missing"])
@pytest.mark.parametrize(
    "command",
    [
        ["verify", "tally", MARKET, "--receipt"],
        ["votes", "list-sign", "--signer", "backend"],
    ],
    ids=lambda part: part[1],
)
def test_a_file_to_read_has_a_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str], file: str
) -> None:
    """P16: an endless device, a folder or a missing file ends the command with one sentence that names the file."""
    key = tmp_path / "key.json"
    key.write_text(str(list(bytes(Keypair()))))
    monkeypatch.setenv("BACKEND_KEYPAIR_PATH", str(key))
    more = ["out"] if command[0] == "votes" else []
    assert_a_sentence([*command, file, *more], 1, file)


@pytest.mark.parametrize("name", ["BACKEND_KEYPAIR_PATH", "ADMIN_KEYPAIR_PATH"])
def test_a_key_s_file_has_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """P16: an endless device as a key's file ends the command with one sentence that names the setting."""
    monkeypatch.setenv(name, "/dev/zero")
    signer = name.split("_")[0].lower()
    (tmp_path / "wallets").touch()
    assert_a_sentence(["votes", "list-sign", "--signer", signer, "wallets", "out"], 2, name, "too long")


@pytest.mark.parametrize("file", ["/proc/zmart", "no/such/folder", "."])
def test_a_file_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str
) -> None:
    """P16: an output file that cannot be written ends the command with one sentence that names the file."""
    pair = Keypair()
    (tmp_path / "key.json").write_text(str(list(bytes(pair))))
    (tmp_path / "wallets").write_text(str(pair.pubkey()))
    monkeypatch.setenv("BACKEND_KEYPAIR_PATH", str(tmp_path / "key.json"))
    assert_a_sentence(["votes", "list-sign", "wallets", file], 1, file, "cannot be written")


def test_a_page_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    """P16: `zmart openapi --page` names a page that is not UTF-8."""
    (tmp_path / "page.md").write_bytes(b"\xff")
    assert_a_sentence(["openapi", "--page", "page.md"], 1, "page.md", "not UTF-8")


ENCODED = {
    "a mark": b"\xef\xbb\xbfAPI_PORT=4444\nWS_PORT=5555\n",
    "lines of Windows": b"API_PORT=4444\r\nWS_PORT=5555\r\n",
    "both": b"\xef\xbb\xbfAPI_PORT=4444\r\nWS_PORT=5555\r\n",
    "spaces": b"  API_PORT = 4444  \n\n export WS_PORT='5555' \n",
    "no end": b"API_PORT=4444\nWS_PORT=5555",
}


@pytest.mark.parametrize("content", ENCODED.values(), ids=ENCODED)
def test_a_settings_file_of_any_editor_is_read_from_its_first_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    """P16: a settings file with a byte order mark, CRLF or spaces is read like any other, the first line included."""
    (tmp_path / "zmart.env").write_bytes(content)
    monkeypatch.setitem(Settings.model_config, "env_file", str(tmp_path / "zmart.env"))
    found = load_settings()
    assert (found.api_port, found.ws_port) == (4444, 5555)


UNREADABLE = {
    "UTF-16 with a mark": "API_PORT=4444\n".encode("utf-16"),
    "UTF-16 without": "API_PORT=4444\n".encode("utf-16-le"),
    "NUL": b"API_PORT=44\x0044\n",
    "Latin-1": b"AUTH_DOMAIN=\xe9.example\n",
    "too long": b"#" * 1_000_001,
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_settings_file_that_is_no_text_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    """P16: a settings file that is not UTF-8 text, or is too long, is an error: its settings would be missing."""
    (tmp_path / "zmart.env").write_bytes(content)
    monkeypatch.setenv("ZMART_ENV_FILE", str(tmp_path / "zmart.env"))
    monkeypatch.setitem(Settings.model_config, "env_file", str(tmp_path / "zmart.env"))
    assert_a_sentence(["migrate", "status"], 2, "zmart.env")
