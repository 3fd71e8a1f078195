"""Tests of `zmart run chain` and `zmart run providers` alone, as in stacks that a container or another host runs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

import pytest
from solders.keypair import Keypair

from kit import commands
from kit.waiting import until
from zmart.chain import compose
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.local.chain.keys import key_path
from zmart.local.processes import free_port
from zmart.market.types import Address, Lamports
from zmart.settings import Settings

ELSEWHERE = "127.0.0.2"
"""An address of this machine on which nothing listens by default."""


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


async def test_a_chain_that_has_grown_restarts_and_remembers_every_transaction_that_it_confirmed(
    environment,
):
    """P21: a chain that has grown restarts by itself and still has every transaction that it confirmed.

    Surfpool keeps all transactions in memory, so its memory grows.
    """
    url = f"http://{ELSEWHERE}:{environment['LOCAL_CHAIN_RPC_PORT']}"
    chain = await commands.start(
        "run", "chain", env={**environment, "LOCAL_CHAIN_GROWTH_MIB": "12"}, stdout=asyncio.subprocess.PIPE
    )
    assert chain.stdout is not None
    starts = 0

    async def count_starts() -> None:
        nonlocal starts
        async for line in chain.stdout:
            starts += line.startswith(b"ready: ")

    counting = asyncio.create_task(count_starts())
    try:
        await until(lambda: starts == 1, every_s=0.2)
        confirmed: list[str] = []
        async with Rpc([url], attempts=1) as rpc:
            genesis = await rpc.get_genesis_hash()
            payer = Keypair()
            await rpc.request_airdrop(Address(str(payer.pubkey())), Lamports(10**9))

            async def send() -> bool:
                with suppress(ChainError):
                    await asyncio.gather(*(confirm(rpc, payer, confirmed) for _ in range(20)))
                return starts > 1 and len(confirmed) >= 40

            await until(send, within_s=90)

            async def remembered() -> list[bool] | None:
                with suppress(ChainError):  # the chain may restart once more
                    assert await rpc.get_genesis_hash() == genesis
                    shown = await asyncio.gather(*map(rpc.get_transaction_json, confirmed))
                    return [transaction is not None for transaction in shown]
                return None

            assert all(await until(remembered, lambda seen: seen is not None, within_s=90) or ())
        assert len(confirmed) >= 40
    finally:
        os.kill(chain.pid, signal.SIGTERM)
        assert await chain.wait() == 0
        await counting


async def confirm(rpc: Rpc, payer: Keypair, confirmed: list[str]) -> None:
    """Send one more transaction and append its signature to `confirmed` once the chain has confirmed it."""
    blockhash = (await rpc.get_latest_blockhash()).blockhash
    memo = compose.compile(payer.pubkey(), [compose.memo(token_hex(8))], blockhash)
    raw = bytes(compose.sign(memo, [payer]))
    await rpc.simulate(raw)
    signature = await rpc.send_raw_transaction(raw)

    async def is_confirmed() -> bool:
        return (await rpc.get_signature_statuses([signature])).values != [None]

    await until(is_confirmed)
    confirmed.append(signature)


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
