"""The user's environment variables and paths do not disturb loopback connections or configuration files."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from supervisor.options import ServerOptions

import zmart
from zmart.local.child_environment import inherited
from zmart.local.supervision import SupervisedProgram, Supervisor
from zmart.local.valkey import Valkey
from zmart.loopback import client_options, database_address, is_loopback, socket_proxy

PROXY = "http://127.0.0.1:9"
LOOPBACK = [
    "http://127.0.0.1:8899",
    "http://127.9.9.9",
    "http://localhost:1",
    "ws://[::1]:4001",
    "http://a.localhost",
]
ELSEWHERE = [
    "https://api.example",
    "http://10.0.0.1:8899",
    "http://127.0.0.1.example",
    "http://[2001:db8::1]",
    "",
]
FOLDERS = st.text("""%s()here"'\\ #;$x""", min_size=1, max_size=16).filter(lambda text: "/" not in text)


@pytest.mark.parametrize("url", LOOPBACK)
def test_a_client_of_the_loopback_uses_no_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """W22: a client of a loopback address uses no proxy, and needs no package for the proxy that is set."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    client = httpx.AsyncClient(**client_options(url))
    assert client._mounts == {}
    assert (is_loopback(url), socket_proxy(url)) == (True, None)


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_client_of_other_machines_uses_the_proxy_for_them_alone(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    client = httpx.AsyncClient(**client_options(url, "http://127.0.0.1:8899"))
    direct = client._transport
    assert client._transport_for_url(httpx.URL("https://api.example")) is not direct
    for here in ("http://127.0.0.1:8899", "http://localhost:1", "http://[::1]:4001"):
        assert client._transport_for_url(httpx.URL(here)) is direct
    assert (is_loopback(url), socket_proxy(url)) == (False, True)


def test_no_client_is_made_without_this_choice() -> None:
    """Every HTTP and WebSocket client in the code sets explicitly whether it uses a proxy."""
    sources = {path: path.read_text("utf-8") for path in Path(zmart.__file__).parent.rglob("*.py")}
    calls = [
        (path.name, text[match.start() :].partition(")")[0] + text[match.start() :].partition(")")[2][:400])
        for path, text in sources.items()
        for match in re.finditer(r"httpx\.(?:Async)?Client\(|async with connect\(|urlopen\(", text)
    ]
    assert len(calls) > 8
    assert [
        call for call in calls if not re.search(r"client_options\(|trust_env=False|proxy=", call[1])
    ] == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p%23@127.0.0.1:5/d", "sslmode=prefer&target_session_attrs=any"),
        ("postgresql://u@localhost/d?sslmode=require", "sslmode=require&target_session_attrs=any"),
        ("postgresql://u@db.example/d", ""),
        ("postgresql://u@127.0.0.1,db.example/d", "target_session_attrs=primary"),
        (
            "postgresql://u@a.example:1,b.example:2/d?sslmode=require",
            "sslmode=require&target_session_attrs=primary",
        ),
        ("postgresql://u@a.example,b.example/d?target_session_attrs=any", "target_session_attrs=any"),
        ("postgresql:///d?host=/run/postgresql", "host=/run/postgresql"),
    ],
)
def test_the_address_of_a_database_on_the_loopback_says_everything(url: str, expected: str) -> None:
    """W23: the address of a loopback database overrides PGSSLMODE; other addresses leave it to the user."""
    base, _, query = database_address(url).partition("?")
    assert (base, query) == (url.partition("?")[0], expected)


def test_no_connection_to_a_database_is_made_without_this_address() -> None:
    """W23: every direct connection to a database uses such an address, also for a short check."""
    sources = [path.read_text("utf-8") for path in Path(zmart.__file__).parent.rglob("*.py")]
    calls = [call for text in sources for call in re.findall(r"asyncpg\.connect\(\w+", text)]
    assert sorted(calls) == [
        "asyncpg.connect(address",
        "asyncpg.connect(host",
    ]  # both in database_hosts.py


def test_children_inherit_what_is_meant_for_them() -> None:
    """W22, W23, W25: child processes inherit only the variables that are meant for them."""
    foreign = {
        "PGSSLMODE": "require", "PGHOST": "h", "PIP_USER": "1", "PYTHONPATH": "/x", "PYTHONHOME": "/x",
        "NODE_OPTIONS": "x", "npm_config_global": "true", "NPM_CONFIG_OMIT": "optional", "BASH_ENV": "/x",
    }  # fmt: skip
    kept = {
        "HTTPS_PROXY": PROXY, "NODE_BIN": "/n", "NODE_EXTRA_CA_CERTS": "/c", "npm_config_registry": "https://r.example",
        "PATH": "/bin", "DATABASE_URL": "x", "PINATA_JWT": "x",
    }  # fmt: skip
    found = inherited(given=foreign | kept | {"NO_PROXY": "internal"})
    no_proxy = "internal,localhost,127.0.0.1,::1"
    assert found == kept | {"no_proxy": no_proxy, "NO_PROXY": no_proxy, "PYTHONSAFEPATH": "1"}
    assert inherited(with_libpq=True, given={"PGSSLMODE": "require"})["PGSSLMODE"] == "require"


def test_a_package_that_pythonpath_brought_is_found_by_children() -> None:
    root = str(Path(zmart.__file__).resolve().parents[1])
    found = inherited(given={"PYTHONPATH": os.pathsep.join(["/hostile", root, ""])})
    assert found["PYTHONPATH"] == root


@hypothesis_settings(max_examples=60, deadline=None)
@given(name=FOLDERS)
@example(name="hash #x")
@example(name="semi ; x")
@example(name="""a%b%%c%(here)s "q" 'p' \\ $x #h ;s #""")
@example(name="ends with a space ")
@example(name="#")
def test_supervisord_reads_every_path_as_it_was_written(name: str) -> None:
    """W24: supervisord's own parser reads every path back unchanged, also one with % ; # or quotes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / f"x{name}" if name.strip(".") == "" else Path(folder) / name
        home.mkdir()
        command = (sys.executable, "-c", f"print({name!r})", str(home))
        supervisor = Supervisor(home / "run", home / "logs")
        supervisor.write_config([SupervisedProgram(name="a", group="g", command=command)], home)
        options = ServerOptions()
        options.realize(["-c", str(supervisor.config)])
        (group,) = options.process_group_configs
        (process,) = group.process_configs
        assert tuple(shlex.split(process.command)) == command
        assert process.stdout_logfile == str(home / "logs" / "a.log")
        assert options.logfile == str(home / "logs" / "supervisord.log")
        assert options.pidfile == str(home / "run" / "supervisord.pid")
        assert options.directory == str(home)
        assert options.server_configs[0]["file"] == str(supervisor.socket)


@pytest.mark.parametrize("name", ["""a%b "q" 'p' \\ $x #h ;s""", "\\", '"', "ends with a space "])
def test_valkey_reads_its_folder_as_it_was_written(tmp_path: Path, name: str) -> None:
    """W24: Valkey accepts a configuration file in a folder whose name has quotes, spaces or backslashes."""
    server = Valkey(tmp_path / name, 1)
    server.prepare()
    done = subprocess.run(
        [server.binary, server.folder / "valkey.conf", "--port", "0", "--unixsocket", "/nowhere/s"],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert "chdir" not in done.stdout + done.stderr
    assert "FATAL CONFIG" not in done.stdout + done.stderr
    assert done.returncode != 0  # it read its configuration, and then could not listen on the socket
