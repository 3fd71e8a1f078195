"""The local stack's plan: its ports, its settings and its servers."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from zmart.cli import stack_up
from zmart.cli.supervising_output import plain_console
from zmart.errors import ConfigError
from zmart.local import processes
from zmart.local.addresses import stack_settings
from zmart.local.environment import environment, parts_of
from zmart.local.local_secrets import LocalSecrets, load_secrets
from zmart.local.ports import NAMES, choose_ports
from zmart.local.processes import free_port
from zmart.local.stack import StackRecord, reachable_host
from zmart.settings import Settings
from zmart.settings import settings as settings_of_process


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def plain_settings(**given: object) -> Settings:
    return Settings(_env_file=None, **given)  # type: ignore[arg-type]


def filled(settings: Settings, home: Path) -> dict[str, str]:
    ports = dict.fromkeys(NAMES, 1)
    secrets = load_secrets(home / "keys")
    parts = parts_of(settings)
    return environment(settings, parts, ports, secrets, database_url="postgresql://x", redis_url="redis://x")


def test_a_default_port_that_is_taken_is_replaced_and_said(
    taken_port: int,
) -> None:
    settings = Settings.model_construct(
        _fields_set=set(), **{**plain_settings().__dict__, "api_port": taken_port}
    )
    answer: list[str] = []
    ports = choose_ports(settings, {}, answer.append, ("api_port",))
    assert ports["api_port"] != taken_port
    assert str(taken_port) in answer[0]
    assert "API_PORT" in answer[0]


def test_a_port_that_a_setting_names_is_never_replaced(taken_port: int) -> None:
    with pytest.raises(ConfigError, match=f"API_PORT is {taken_port}"):
        choose_ports(plain_settings(api_port=taken_port), {}, print, ("api_port",))


def test_a_port_chosen_once_is_chosen_again() -> None:
    last = free_port()
    answer: list[str] = []
    assert choose_ports(plain_settings(ws_port=0), {"ws_port": last}, answer.append, ("ws_port",)) == {
        "ws_port": last
    }
    assert answer == []


def test_no_two_parts_get_the_same_port() -> None:
    ports = choose_ports(plain_settings(**dict.fromkeys(NAMES, 0)), {}, print)
    assert len(set(ports.values())) == len(NAMES)


@pytest.mark.parametrize(
    ("bind_host", "host"),
    [("::1", "[::1]"), ("::", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("10.1.2.3", "10.1.2.3")],
)
def test_an_address_to_listen_on_stands_in_a_url_as_browsers_read_it(bind_host: str, host: str) -> None:
    """W19: a URL has the host at which a browser reaches the address that a server listens on."""
    assert reachable_host(plain_settings(bind_host=bind_host)) == host


def test_everything_is_embedded_when_nothing_is_set() -> None:
    parts = parts_of(plain_settings())
    assert (parts.postgres, parts.valkey, parts.chain, parts.pinata, parts.helius) == (True,) * 5


@pytest.mark.parametrize(
    ("setting", "value", "part"),
    [
        ("database_url", "postgresql://elsewhere/zmart", "postgres"),
        ("redis_url", "redis://elsewhere", "valkey"),
        ("solana_rpc_url", "https://api.devnet.solana.com", "chain"),
        ("helius_rpc_url", "https://devnet.helius-rpc.com", "chain"),
        ("pinata_jwt", "a.b.c", "pinata"),
        ("pinata_api_key", "key", "pinata"),
        ("helius_api_key", "key", "helius"),
    ],
)
def test_a_server_that_a_setting_names_is_not_brought(
    setting: str, value: str, part: str, tmp_path: Path
) -> None:
    settings = plain_settings(zmart_home=tmp_path, **{setting: value})
    assert not getattr(parts_of(settings), part)
    assert setting.upper() not in filled(settings, tmp_path)


def test_what_a_person_has_set_is_not_overwritten(tmp_path: Path) -> None:
    settings = plain_settings(
        zmart_home=tmp_path,
        zmart_env="devnet",
        monitor_cron="0 * * * *",
        operator_token="mine, of more than 32 characters",
    )
    given = filled(settings, tmp_path)
    assert {"ZMART_ENV", "MONITOR_CRON", "OPERATOR_TOKEN"}.isdisjoint(given)
    assert given["AGGREGATOR_CRON"]


def test_every_name_that_the_stack_gives_is_a_setting(tmp_path: Path) -> None:
    given = filled(plain_settings(zmart_home=tmp_path), tmp_path)
    assert {name.lower() for name in given} <= set(Settings.model_fields)


def test_secrets_are_made_once_and_read_by_us_alone(tmp_path: Path) -> None:
    first = load_secrets(tmp_path / "keys")
    assert load_secrets(tmp_path / "keys") == first
    assert first != LocalSecrets()
    assert (tmp_path / "keys" / "secrets.json").stat().st_mode & 0o077 == 0


def test_a_command_finds_the_stack_whose_ports_were_any_free_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = {"API_PORT": "23001", "WS_PORT": "23002", "INDEXER_PORT": "23003"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stack.json").write_bytes(msgspec.json.encode({"environment": reported}))
    given = {"ZMART_HOME": str(tmp_path), "ZMART_ENV_FILE": os.devnull, "API_PORT": "0", "WS_PORT": "4444"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings_of_process.cache_clear()
    try:
        result = stack_settings()
    finally:
        settings_of_process.cache_clear()
    assert (result.api_port, result.ws_port, result.indexer_port) == (23001, 4444, 23003)


def test_a_port_that_was_chosen_is_not_chosen_again_by_any_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes never choose the same free port, although the servers listen only seconds later."""
    monkeypatch.setattr(processes, "FIRST_PORT", processes.LAST_PORT - 60)
    script = (
        "from zmart.local import processes as p; p.FIRST_PORT = p.LAST_PORT - 60\n"
        "print(*[p.free_port() for _ in range(20)])\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        chosen = [*map(int, other.stdout.readline().split()), *(free_port() for _ in range(20))]
        other.communicate("\n")
    assert len(set(chosen)) == 40


def test_addresses_are_printed_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPv6 address holds brackets, and a path may hold more: none of it is read as a style or as an emoji."""
    addresses = {"explorer": "http://[::1]:4000/", "Redis": "redis://[::1]/:warning:/[bold]"}
    record = StackRecord(
        environment={},
        ports={},
        addresses=addresses,
        ready_paths={},
        page_settings={"A": "[/x]"},
        started_at=0,
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stack.json").write_bytes(msgspec.json.encode(record))
    output = io.StringIO()
    stack_up._show(plain_console(output), tmp_path, None)
    assert all(text in output.getvalue() for text in (*addresses.values(), "A=[/x]")), output.getvalue()
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    stack_up._show(plain_console(terminal), tmp_path, None)
    assert ";http://[::1]:4000/\x1b\\" in terminal.getvalue(), "a terminal gets a link"


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True
