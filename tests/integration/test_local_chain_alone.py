"""`zmart run chain` and `zmart run providers`, for stacks that a container or another host runs."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from kit import commands
from kit.waiting import until
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.local.chain.keys import key_path
from zmart.local.processes import free_port
from zmart.settings import Settings

ELSEWHERE = "127.0.0.2"
"""An address of this machine that nothing listens on unless it is told to."""


@pytest.fixture
def environment(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "node").symlink_to(request.config.rootpath / ".zmart" / "node")
    return commands.environment(
        zmart_home=home,
        local_bind_host=ELSEWHERE,
        local_chain_rpc_port=free_port(),
        local_chain_ws_port=free_port(),
        local_providers_port=free_port(),
        pinata_jwt="a token of the tests",
    )


async def test_the_chain_alone_has_the_program_and_its_keys_and_ends_when_it_is_told_to(environment):
    program = Program.from_settings(Settings(_env_file=None))
    port = int(environment["LOCAL_CHAIN_RPC_PORT"])
    chain = await commands.start("run", "chain", env=environment)
    try:
        async with Rpc([f"http://{ELSEWHERE}:{port}"], attempts=1) as rpc:

            async def is_prepared() -> bool:
                try:
                    return await rpc.get_account(program.addresses.global_config()) is not None
                except Exception:
                    assert chain.returncode is None
                    return False

            await until(is_prepared, every_s=0.2)
        assert key_path(Path(environment["ZMART_HOME"]) / "keys", "backend").exists()
        assert not listens("127.0.0.1", port)
    finally:
        os.kill(chain.pid, signal.SIGTERM)
        assert await chain.wait() == 0
    assert not listens(ELSEWHERE, port)


async def test_the_providers_listen_where_they_are_told_to(environment):
    port = int(environment["LOCAL_PROVIDERS_PORT"])
    providers = await commands.start("run", "providers", env=environment)
    try:
        await until(lambda: listens(ELSEWHERE, port))
        assert not listens("127.0.0.1", port)
    finally:
        os.kill(providers.pid, signal.SIGTERM)
        assert await providers.wait() == 0


def listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
