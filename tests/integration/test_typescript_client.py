"""P13: the TypeScript client as a front end gets it: packed, installed offline, trading on a running stack."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import zmart
from kit.chain_life import Driver
from kit.gateway_server import server
from kit.installed import ROOT, npm_packages
from kit.services import running_service
from kit.waiting import until
from zmart.chain.rpc import Rpc
from zmart.local.chain.node import find_node, npm_script
from zmart.local.processes import free_port
from zmart.services.indexer.service import Indexer
from zmart.services.websocket.service import WebSocketService
from zmart.settings import Settings
from zmart.store.pool import Pool

CLIENT = ROOT / "clients" / "typescript"
QUICKSTART = Path("node_modules/@zmart/client/examples/quickstart.mjs")
STRICT = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--allowJs", "--checkJs")


def run(*command: object, folder: Path, **environment: str) -> str:
    """What the command printed; AssertionError with it unless it succeeded."""
    values = {**os.environ, **environment}
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, cwd=folder, env=values, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder with the pinned tools, in which the client is built."""
    return npm_packages(CLIENT)


@pytest.fixture(scope="module")
def tarball(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, CLIENT / "build.py", folder, folder=ROOT)
    return folder / f"zmart-client-{zmart.__version__}.tgz"


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the package, installed by an npm that has no cache and may not use the network."""
    folder = tmp_path_factory.mktemp("front-end")
    (folder / "package.json").write_text('{"type": "module"}')
    node = find_node()
    flags = ("--offline", "--no-audit", "--no-fund", "--cache", folder / "empty-cache")
    run(node, npm_script(node), "install", tarball, *flags, folder=folder)
    return folder


def test_the_package_depends_on_nothing_and_holds_what_it_needs(installed: Path) -> None:
    package = installed / "node_modules" / "@zmart" / "client"
    described = json.loads((package / "package.json").read_text())
    assert described["version"] == zmart.__version__
    assert not described.keys() & {"dependencies", "peerDependencies", "optionalDependencies"}
    assert [path.name for path in (installed / "node_modules").iterdir() if path.name[0] != "."] == ["@zmart"]
    assert {"README.md", "LICENSE", "dist", "examples"} <= {path.name for path in package.iterdir()}


def test_its_own_tests_pass(tools: Path, tarball: Path) -> None:
    tests = sorted((tools / "test").glob("*.test.mjs"))
    assert len(tests) >= 4
    said = run(find_node(), "--test", "--test-reporter=tap", *tests, folder=tools)
    assert "\n# skipped 0\n" in said, said


def test_strict_typescript_reads_it_and_the_types_hold(tools: Path, installed: Path) -> None:
    (installed / "types.ts").write_bytes((CLIENT / "test" / "types.ts").read_bytes())
    (installed / "process.d.ts").write_text("declare const process: { argv: string[] };")
    (installed / "quickstart.mjs").write_bytes((installed / QUICKSTART).read_bytes())
    files = ("types.ts", "process.d.ts", "quickstart.mjs")
    tsc = tools / "node_modules" / "typescript" / "bin" / "tsc"
    run(find_node(), tsc, *STRICT, *files, folder=installed)


def test_the_readme_shows_the_quickstart_that_runs() -> None:
    text = (CLIENT / "examples" / "quickstart.mjs").read_text()
    assert f"```js\n{text}```" in (CLIENT / "README.md").read_text()
    assert len(text.splitlines()) <= 40


def _settings(chain, database_url: str, redis_url: str, ws_port: int) -> Settings:
    return Settings(
        _env_file=None,
        zmart_env="local",
        database_url=database_url,
        redis_url=redis_url,
        solana_rpc_url=chain.rpc_url,
        solana_ws_url=chain.ws_url,
        indexer_scan_interval_s=0.3,
        ws_port=ws_port,
    )


@asynccontextmanager
async def stack(
    chain, database_url: str, redis_url: str, environment: Mapping[str, str], ws_port: int
) -> AsyncIterator[str]:
    """A gateway's address, with indexer and live feed beside it, and a proposed and an active market on chain."""
    settings = _settings(chain, database_url, redis_url, ws_port)
    with server(database_url, redis_url, **environment) as url:
        async with (
            running_service(await Indexer.open(settings)),
            running_service(await WebSocketService.open(settings)),
            Rpc([chain.rpc_url]) as rpc,
        ):
            driver, pool = Driver(chain, rpc), await Pool.open(database_url, size=1)
            await driver.open(await driver.wallet(), await driver.wallet())
            await driver.propose(await driver.wallet())

            async def indexed() -> bool:
                states = await pool.fetch("SELECT state FROM markets WHERE market_id IS NOT NULL")
                return {"ACTIVE", "PROPOSED"} <= {row["state"] for row in states}

            await until(indexed)
            await pool.close()
            yield url


async def test_the_quickstart_trades_on_a_running_stack_and_sees_it_live(
    installed: Path, local_chain, database_url: str, redis_url: str
) -> None:
    ws_port = free_port()
    environment = {
        "SOLANA_RPC_URL": local_chain.rpc_url,
        "BACKEND_KEYPAIR_PATH": str(local_chain.keys.path("backend")),
        "WS_PORT": str(ws_port),
    }
    async with stack(local_chain, database_url, redis_url, environment, ws_port) as url:
        command = (find_node(), "--experimental-websocket", QUICKSTART, url)
        said = await asyncio.to_thread(lambda: run(*command, folder=installed))
    assert "YES at 0.5" in said, said
    assert "number 0 in its log" in said, said
    assert "the feed has it: true" in said, said
