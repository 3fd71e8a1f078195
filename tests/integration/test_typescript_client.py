"""P13: tests of the TypeScript client as a front end gets it: packed, installed offline, trading on a running stack."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import zmart
from kit import standard_wallet
from kit.chain_life import Driver, name
from kit.explorer_browser import chromium, reader
from kit.gateway_server import server
from kit.http_servers import folder_served
from kit.installed import ROOT, npm_packages
from kit.servers import Databases, LocalChain, empty
from kit.services import running_service
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.chain.rpc import Rpc
from zmart.local.chain.node import find_node, npm_script
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
from zmart.services.gateway.openapi import offline
from zmart.services.indexer.service import Indexer
from zmart.services.websocket.service import WebSocketService
from zmart.settings import Settings
from zmart.store.pool import Pool

CLIENT = ROOT / "clients" / "typescript"
PAGES_BUNDLE = ROOT / "src/zmart/services/gateway/explorer/static/client/zmart-client.js"
QUICKSTART = Path("node_modules/@zmart/client/examples/quickstart.mjs")
_COMMENT = "INSERT INTO discussions (market_id, wallet, content) VALUES ($1, $2, $3)"
_CHANGES = """
SELECT "offset", new_row::jsonb ->> 'content' AS content FROM change_feed
WHERE topic = 'discussions' AND "offset" > $1 ORDER BY 1
"""
STRICT = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--allowJs", "--checkJs")


def run(*command: object, folder: Path, **environment: str) -> str:
    """Run a command and return its output, which an AssertionError shows if the command fails."""
    values = {**os.environ, **environment}
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, cwd=folder, env=values, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def tools() -> Path:
    """Return the folder with the pinned tools, in which the client is built."""
    return npm_packages(CLIENT)


@pytest.fixture(scope="module")
def tarball(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, CLIENT / "build.py", folder, folder=ROOT)
    return folder / f"zmart-client-{zmart.__version__}.tgz"


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with only the package, installed by an npm that has no cache and may not use the network."""
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


def test_the_pages_load_the_client_that_these_sources_give(tools: Path, tarball: Path) -> None:
    """The pages load the bundle that these sources give; `make clients` renews it."""
    built = (tools / "bundle" / "zmart-client.js").read_bytes()
    assert PAGES_BUNDLE.read_bytes() == built, (
        "run `make clients`: the pages' bundle of the client is of other sources"
    )
    assert len(gzip.compress(built)) < 16_000


def test_strict_typescript_reads_it_and_the_types_hold(tools: Path, installed: Path) -> None:
    (installed / "types.ts").write_bytes((CLIENT / "test" / "types.ts").read_bytes())
    (installed / "process.d.ts").write_text("declare const process: { argv: string[] };")
    (installed / "quickstart.mjs").write_bytes((installed / QUICKSTART).read_bytes())
    files = ("types.ts", "process.d.ts", "quickstart.mjs")
    tsc = tools / "node_modules" / "typescript" / "bin" / "tsc"
    run(find_node(), tsc, *STRICT, *files, folder=installed)


def test_every_sample_of_the_reference_compiles_as_copied(tools: Path, installed: Path) -> None:
    files = []
    for item in offline.document()["paths"].values():
        for operation in item.values():
            files.append(f"sample-{operation['operationId']}.ts")
            (installed / files[-1]).write_text(operation["x-codeSamples"][0]["source"])
    assert len(files) > 50
    tsc = tools / "node_modules" / "typescript" / "bin" / "tsc"
    run(find_node(), tsc, *STRICT, *files, folder=installed)


def test_the_readme_shows_the_quickstart_that_runs() -> None:
    text = (CLIENT / "examples" / "quickstart.mjs").read_text()
    assert f"```js\n{text}```" in (CLIENT / "README.md").read_text()
    assert len(text.splitlines()) <= 40


@dataclass(frozen=True)
class Running:
    """The addresses of a running gateway, socket and front end, a driver of the chain, and a pool of the database."""

    api: str
    socket: str
    front_end: str
    driver: Driver
    pool: Pool


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    installed: Path, databases: Databases, migrated_template: str, valkey: Valkey, local_chain: LocalChain
) -> AsyncIterator[Running]:
    """Yield a gateway with indexer, live feed and front end's host, on a chain with a proposed and an active market."""
    database_url, redis_url = databases.create(migrated_template), empty(valkey)
    with folder_served(installed) as front_end:
        async with _services(local_chain, database_url, redis_url, front_end) as running:
            await running.driver.open(await running.driver.wallet(), await running.driver.wallet())
            await running.driver.propose(await running.driver.wallet())

            async def indexed() -> bool:
                rows = await running.pool.fetch("SELECT state FROM markets")
                return {row["state"] for row in rows} >= {"ACTIVE", "PROPOSED"}

            await until(indexed)
            yield running
    databases.drop(database_url)


@asynccontextmanager
async def _services(
    chain: LocalChain, database_url: str, redis_url: str, front_end: str
) -> AsyncIterator[Running]:
    port = free_port()
    environment = {"SOLANA_RPC_URL": chain.rpc_url, "WS_PORT": str(port), "CORS_ORIGIN": front_end}
    settings = Settings(
        _env_file=None, zmart_env="local", database_url=database_url, redis_url=redis_url, ws_port=port,
        solana_rpc_url=chain.rpc_url, solana_ws_url=chain.ws_url, indexer_scan_interval_s=0.3,
    )  # fmt: skip
    with server(database_url, redis_url, **environment) as api:
        async with (
            running_service(await Indexer.open(settings)) as indexer,
            running_service(await WebSocketService.open(settings)),
            Rpc([chain.rpc_url]) as rpc,
        ):
            # The chain may be older than this test: wait until its history is indexed, since an indexer is ready
            # before it has read all of it.
            await until(indexer.readiness, lambda state: state.ready and state.details["inbox_pending"] == 0)
            pool = await Pool.open(database_url, size=2)
            yield Running(api, f"ws://127.0.0.1:{port}", front_end, Driver(chain, rpc), pool)
            await pool.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_quickstart_trades_on_a_running_stack_and_sees_it_live(
    installed: Path, stack: Running
) -> None:
    command = (find_node(), "--experimental-websocket", QUICKSTART, stack.api)
    said = await asyncio.to_thread(run, *command, folder=installed)
    assert "YES at 0.5" in said, said
    assert "number 0 in its log" in said, said
    assert "live: trade at" in said, said


def script(file: str) -> str:
    return (CLIENT / "test" / file).read_text()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_wallet_of_the_standard_signs_in_and_trades_from_a_page_of_another_origin(
    stack: Running,
) -> None:
    """A wallet with the interface of the Wallet Standard signs in and trades in Chromium; solders signs for it."""
    key = await stack.driver.wallet()

    statuses: list[int] = []
    async with chromium() as browser, reader(browser, stack.front_end) as page:
        page.on("response", lambda response: statuses.append(response.status))
        await standard_wallet.install(page, key)
        await page.goto("/")
        wallet, bought, seen, kind, bounded, refused = await page.evaluate(script("page.js"), stack.api)
    assert wallet == name(key)
    assert bought == seen
    assert (kind, bounded) == ("bigint", True)
    assert refused not in ("", None)
    assert 304 in statuses


@pytest.mark.asyncio(loop_scope="module")
async def test_a_wallet_that_only_sends_what_it_signs_trades_once(stack: Running) -> None:
    """A wallet that sends what it signs trades once: the gateway relays nothing, and the trade is seen live."""
    key, wallet = (
        await stack.driver.wallet(),
        standard_wallet.SendingWallet(standard_wallet.to(stack.driver.rpc)),
    )
    relayed: list[str] = []
    async with chromium() as browser, reader(browser, stack.front_end) as page:
        page.on(
            "request",
            lambda asked: relayed.append(asked.url) if asked.url.endswith("/transactions") else None,
        )
        await standard_wallet.install(page, key, wallet)
        await page.goto("/")
        _, bought, seen, _, _, refused = await page.evaluate(script("page.js"), stack.api)
    assert [bought] == [seen] == [*wallet.signatures]
    assert wallet.asked == ["solana:localnet"]
    assert relayed == []
    assert refused not in ("", None)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_reader_whose_connections_are_cut_gets_every_change_once(tools: Path, stack: Running) -> None:
    """A reader that begins with a gap, and is then cut three times, gets every later change once.

    It begins with a gap, since it continues from a position in another database.
    """
    wallet = name(await stack.driver.wallet())

    async def comment(content: str) -> None:
        await stack.pool.execute(_COMMENT, "ab" * 32, wallet, content)

    async with TcpProxy.before(stack.socket) as proxy, following(tools, proxy.url) as messages:

        def outcomes() -> list[str]:
            return [message["outcome"] for message in messages if message["type"] == "subscribed"]

        for cuts in range(1, 4):
            await until(lambda cuts=cuts: len(outcomes()) == cuts)
            for number in range(10):
                await comment(f"{cuts}.{number}")
            proxy.cut()
            await comment(f"{cuts}, while it is cut")
        await comment("last")
        await until(lambda: messages and messages[-1].get("content") == "last")
    assert [message["type"] for message in messages][:2] == ["gap", "subscribed"]
    assert outcomes() == ["gap", "replayed", "replayed", "replayed"]
    begun = messages[1]["offset"]
    received = [(m["offset"], m["content"]) for m in messages if m["type"] == "discussion"]
    rows = await stack.pool.fetch(_CHANGES, begun)
    assert received == [(row["offset"], row["content"]) for row in rows]
    assert len(received) == 34


@asynccontextmanager
async def following(tools: Path, url: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield the messages that a reader in Node.js has received so far; the reader must end by itself."""
    script = tools / "test" / "follow.mjs"
    process = await asyncio.create_subprocess_exec(find_node(), script, url, stdout=asyncio.subprocess.PIPE)
    messages: list[dict[str, Any]] = []
    assert process.stdout is not None

    async def read(lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            messages.append(json.loads(line))

    reading = asyncio.create_task(read(process.stdout))
    try:
        yield messages
        assert await asyncio.wait_for(process.wait(), 15) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading
