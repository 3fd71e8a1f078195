"""Run the local chain as one Node.js process on fixed ports, which stores its state in a folder."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path

from zmart.errors import ChainError
from zmart.local.chain import node
from zmart.local.child_server import ChildServer
from zmart.local.processes import start_command
from zmart.setting_values import reachable

STOP = signal.SIGTERM
HOST = "127.0.0.1"
SLOT_MS = 50
RENEW_AFTER = 1_000
EXIT_TO_RESTART = 75
"""Exit status of a chain whose memory has grown too much. The next start restores the state from the journal."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
MANY_PIECES = "glibc.malloc.tcache_count=12000:glibc.malloc.tcache_max=64"
"""glibc's malloc settings for a chain with a large journal: large caches of small pieces in each thread.

With each new account Surfpool copies the list of its owner's accounts, pieces of 44 bytes. Such caches halve the time:
10,000 accounts of one owner are restored in 3 s instead of 6 s. Memory in the caches is never returned to the kernel.
"""
MAPPED = "glibc.malloc.mmap_threshold=65536:glibc.malloc.arena_max=2"
"""glibc's malloc settings for a chain with a small journal: pieces from 64 KiB on are mapped from the kernel.

With each transaction Surfpool allocates copies of the program, 76 KiB, and frees them. A mapped copy returns to the
kernel at once; in the heap it would leave a hole, and the process would grow with every transaction. With some thousand
accounts of one owner the lists of accounts are as large: to map each of them would make a start three times as long.
"""
MAPPED_BELOW_BYTES = 32 * 1024 * 1024
"""Size of the journal below which the settings MAPPED are used; for a larger journal MANY_PIECES."""
YOUNG_OBJECTS = "--max-semi-space-size=2"
"""V8's space for young objects, in MiB. Its default, 16 MiB, costs 30 MiB more memory and saves no time."""


class ChainServer(ChildServer):
    """Run a chain with its state in `folder`, JSON-RPC on `rpc_port` of `host` and its WebSocket on `ws_port`.

    `slot_ms` is the length of a slot in milliseconds. Once the process's memory has grown by `growth_mib` MiB (0: no
    limit), the process ends with EXIT_TO_RESTART. After `renew_after` transactions (half the number of accounts, if
    that is more) Surfpool forgets them, and the chain continues from its journal.
    """

    title = "The local chain"
    log_name = "chain.log"
    stop_signal = STOP

    def __init__(
        self,
        folder: Path,
        rpc_port: int,
        ws_port: int,
        addon_folder: Path,
        local_node_bin: Path | None = None,
        slot_ms: int = SLOT_MS,
        host: str = HOST,
        growth_mib: int = 0,
        renew_after: int = RENEW_AFTER,
    ) -> None:
        super().__init__(folder)
        self.rpc_port = rpc_port
        self.ws_port = ws_port
        self.addon_folder = addon_folder.resolve()
        self.slot_ms = slot_ms
        self.host = host
        self.growth_mib = growth_mib
        self.renew_after = renew_after
        self._node_bin = local_node_bin

    @property
    def rpc_url(self) -> str:
        """Return the URL of the chain's JSON-RPC."""
        return f"http://{reachable(self.host)}:{self.rpc_port}"

    @property
    def ws_url(self) -> str:
        """Return the URL of the chain's WebSocket."""
        return f"ws://{reachable(self.host)}:{self.ws_port}"

    def prepare(self) -> None:
        """Install the addon if it is missing. Raises ConfigError or StartError."""
        if not node.is_installed(self.addon_folder):
            node.install(self.addon_folder, node.find_node(self._node_bin))

    def command(self) -> list[str]:
        """Return the command that runs chain.js with Node.js, and ends with its parent. Raises ConfigError."""
        script = Path(__file__).with_name("chain.js")
        program = node.find_node(self._node_bin)
        ports = [self.rpc_port, self.ws_port, self.slot_ms]
        limits = [self.growth_mib, self.renew_after]
        arguments = [self.addon_folder, self.folder, *ports, self.host, *limits]
        return start_command(
            ["/usr/bin/env", self._allocator(), program, YOUNG_OBJECTS, script, *arguments],
            die_with_parent=STOP,
        )

    def _allocator(self) -> str:
        """Return the environment variable with glibc's malloc settings; other C libraries ignore it."""
        journal = self.folder / "journal"
        is_small = not journal.exists() or journal.stat().st_size < MAPPED_BELOW_BYTES
        return f"GLIBC_TUNABLES={MAPPED if is_small else MANY_PIECES}"

    def answers(self) -> bool:
        """Return whether a request to the chain's JSON-RPC port is answered with status 200."""
        try:
            with _DIRECT.open(f"{self.rpc_url}/", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def genesis_hash(self) -> str:
        """Return the hash that identifies this chain; a chain whose state was erased has another one.

        Raises ChainError, or OSError if the chain does not answer within 10 s.
        """
        # Imported here since they import an HTTP client, which commands such as `zmart ps` do not need.
        from zmart.chain.json_rpc import decode_answer
        from zmart.chain.rpc_answer import JsonRpcError, read_answer

        question = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getGenesisHash"}).encode()
        request = urllib.request.Request(self.rpc_url, question, {"content-type": "application/json"})  # noqa: S310
        with _DIRECT.open(request, timeout=10) as answer:
            result = read_answer(answer.read(), 1)
        if isinstance(result, JsonRpcError):
            raise ChainError(f"The local chain does not return its genesis hash: {result.message}")
        return decode_answer(str, "getGenesisHash", result)
