"""Running the local chain: one Node.js process on fixed ports that remembers its state in a folder."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

from zmart.chain.json_rpc import decode_answer
from zmart.chain.rpc_answer import JsonRpcError, read_answer
from zmart.errors import ChainError
from zmart.local.chain import node
from zmart.local.processes import launched, private_folder, stop, wait_until

STOP = signal.SIGTERM
SLOT_MS = 50


class Chain:
    """A chain with its memory in `folder`, JSON-RPC on `rpc_port` and its WebSocket on `ws_port`."""

    def __init__(
        self,
        folder: Path,
        rpc_port: int,
        ws_port: int,
        addon_folder: Path,
        node_bin: Path | None = None,
        slot_ms: int = SLOT_MS,
    ) -> None:
        self.folder = private_folder(folder).resolve()
        self.rpc_port = rpc_port
        self.ws_port = ws_port
        self.addon_folder = addon_folder.resolve()
        self.slot_ms = slot_ms
        self._node_bin = node_bin
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.ws_port}"

    @property
    def log(self) -> Path:
        """Where `start` sends what the chain says."""
        return self.folder / "chain.log"

    def prepare(self) -> None:
        """Install the addon unless it is there. Raises ConfigError or StartError."""
        if not node.is_installed(self.addon_folder):
            node.install(self.addon_folder, node.find_node(self._node_bin))

    def command(self) -> list[str]:
        """What a supervisor runs; `STOP` makes it write everything down and end."""
        script = Path(__file__).with_name("chain.js")
        program = node.find_node(self._node_bin)
        ports = [self.rpc_port, self.ws_port, self.slot_ms]
        return launched([program, script, self.addon_folder, self.folder, *ports], die_with_parent=STOP)

    def start(self) -> None:
        """Start as our child and return once it answers. Raises StartError."""
        self.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, process_group=0
            )
        self.wait_ready()

    def wait_ready(self, seconds: float = 30.0) -> None:
        """Return once the chain answers (it does after it has restored what it remembers)."""
        wait_until(self.answers, "The local chain", seconds, self._process, self.log)

    def answers(self) -> bool:
        """Whether the chain serves requests now."""
        try:
            with urllib.request.urlopen(f"{self.rpc_url}/", timeout=1) as answer:  # noqa: S310  (our own port)
                return bool(answer.status == 200)
        except OSError:
            return False

    def genesis_hash(self) -> str:
        """Which chain this is: another one after its memory was erased. Raises ChainError for no proper answer."""
        question = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getGenesisHash"}).encode()
        request = urllib.request.Request(self.rpc_url, question, {"content-type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  (our own port)
            said = read_answer(answer.read(), 1)
        if isinstance(said, JsonRpcError):
            raise ChainError(f"The local chain does not tell its genesis: {said.message}")
        return decode_answer(str, "getGenesisHash", said)

    def stop(self) -> None:
        """End the chain that `start` started; it writes everything down first."""
        if self._process is not None:
            stop(self._process, STOP)

    def erase(self) -> None:
        """Forget this chain for good."""
        shutil.rmtree(self.folder, ignore_errors=True)
