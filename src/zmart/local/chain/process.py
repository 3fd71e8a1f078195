"""Run the local chain without the other parts of the stack, in the foreground: `zmart run chain`."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ConfigError
from zmart.local.chain.genesis import prepare_chain, shipped_program
from zmart.local.chain.keys import load_keys
from zmart.local.chain.server import EXIT_TO_RESTART, STOP, ChainServer
from zmart.local.child_environment import inherited
from zmart.local.processes import stop, wait_until
from zmart.local.stack import addon_folder
from zmart.settings import Settings

READY_WITHIN_S = 60


def run(settings: Settings) -> None:
    """Run the local chain until SIGTERM or SIGINT, with the program deployed and its keys in ZMART_HOME/keys.

    A chain whose memory has grown by LOCAL_CHAIN_GROWTH_MIB ends and is started again. Raises StartError, and
    ConfigError when the chain ends by itself for another reason.
    """
    home = settings.zmart_home.resolve()
    server = ChainServer(
        home / "chain",
        settings.local_chain_rpc_port,
        settings.local_chain_ws_port,
        addon_folder(settings),
        settings.local_node_bin,
        settings.local_chain_slot_ms,
        settings.local_bind_host,
        settings.local_chain_growth_mib,
    )
    server.prepare()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    while (status := _run_once(server, settings)) == EXIT_TO_RESTART:
        pass
    raise ConfigError(f"The local chain ended by itself with {status}.")


def _run_once(server: ChainServer, settings: Settings) -> int:
    process = subprocess.Popen(server.command(), stdin=subprocess.DEVNULL, env=inherited(), process_group=0)
    try:
        wait_until(server.answers, server.title, READY_WITHIN_S, process)
        asyncio.run(_prepare(server, settings))
        print(f"ready: {server.rpc_url}", flush=True)
        return process.wait()
    finally:
        stop(process, STOP)


async def _prepare(server: ChainServer, settings: Settings) -> None:
    keys = load_keys(settings.zmart_home / "keys")
    async with Rpc([server.rpc_url]) as rpc:
        await prepare_chain(rpc, Program.from_settings(settings), keys, shipped_program())
