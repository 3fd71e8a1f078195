"""A simulated RPC, in a process of its own, for thousands of markets that wait for finalize_market.

It has the RPC methods that the sender uses. A transaction lands as soon as it is sent, and makes each market's account
that it names FINALIZED. The accounts begin as bytes from the real program; a market that was not given has no account.
"""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from solders.transaction import VersionedTransaction

STATE_OFFSET, FINALIZED_AT_OFFSET, FINALIZED = 72, 161, 5
_SPAWN = multiprocessing.get_context("forkserver")


class _Chain:
    def __init__(self, accounts: dict[str, dict[str, Any]], markets: dict[str, bytes], now: int) -> None:
        self.accounts, self.now = accounts, now
        self.markets = {address: bytearray(data) for address, data in markets.items()}
        self.landed: Counter[str] = Counter()
        self.seen: set[str] = set()
        self.calls = 0

    def answer(self, method: str, params: list[Any]) -> object:
        self.calls += 1
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in method)
        return getattr(self, name)(*params)

    def _in_context(self, value: object) -> object:
        return {"context": {"slot": 1_000}, "value": value}

    def _account(self, address: str) -> dict[str, Any] | None:
        if address in self.markets:
            data = base64.b64encode(self.markets[address]).decode()
            return {"lamports": 1, "owner": self.program_id, "data": [data, "base64"], "executable": False}
        return self.accounts.get(address)

    @property
    def program_id(self) -> str:
        return next(a for a, account in self.accounts.items() if account["executable"])

    def get_account_info(self, address: str, _: object) -> object:
        return self._in_context(self._account(address))

    def get_multiple_accounts(self, addresses: list[str], _: object) -> object:
        return self._in_context([self._account(address) for address in addresses])

    def get_latest_blockhash(self, _: object) -> object:
        return self._in_context({"blockhash": "1" * 32, "lastValidBlockHeight": 10_000})

    def simulate_transaction(self, *_: object) -> object:
        return self._in_context({"err": None, "logs": [], "unitsConsumed": 10_000})

    def get_recent_prioritization_fees(self, _: object) -> object:
        return []

    def get_balance(self, *_: object) -> object:
        return self._in_context(10**12)

    def get_slot(self, *_: object) -> object:
        return 1_000

    def send_transaction(self, raw: str, _: object) -> object:
        tx = VersionedTransaction.from_bytes(base64.b64decode(raw))
        signature = str(tx.signatures[0])
        if signature not in self.seen:
            self.seen.add(signature)
            for key in map(str, tx.message.account_keys):
                if key in self.markets:
                    self.landed[key] += 1
                    self.markets[key][STATE_OFFSET] = FINALIZED
                    struct.pack_into("<q", self.markets[key], FINALIZED_AT_OFFSET, self.now)
        return signature

    def get_signature_statuses(self, signatures: list[str], _: object) -> object:
        status = {"slot": 999, "err": None, "confirmationStatus": "confirmed"}
        return self._in_context([status if signature in self.seen else None for signature in signatures])

    def the_end(self) -> object:
        return {"landed": dict(self.landed), "calls": self.calls}


async def _serve(chain: _Chain, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            body = json.loads(await reader.readexactly(size))
            result = chain.answer(body["method"], body["params"])
            answer = {"jsonrpc": "2.0", "id": body["id"], "result": result}
            raw = json.dumps(answer).encode()
            writer.write(b"HTTP/1.1 200 x\r\ncontent-length: %d\r\n\r\n" % len(raw) + raw)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _main(port: Any, accounts: dict[str, dict[str, Any]], markets: dict[str, bytes], now: int) -> None:
    async def run() -> None:
        chain = _Chain(accounts, markets, now)
        server = await asyncio.start_server(lambda r, w: _serve(chain, r, w), "127.0.0.1", 0, backlog=512)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def playing(accounts: dict[str, dict[str, Any]], markets: dict[str, bytes], now: int) -> Iterator[str]:
    """Run the simulated RPC within the block and yield its URL.

    `accounts` are JSON-RPC accounts by address, `markets` the data of markets' accounts by address, `now` the chain
    time of finalizations.
    """
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_main, args=(there, accounts, markets, now), daemon=True)
    process.start()
    try:
        assert here.poll(20), "the scripted chain did not start"
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.kill()
        process.join()
        here.close()
        there.close()


def time_of(clock_account: dict[str, Any]) -> int:
    """Return the Unix time in seconds from the account of the Clock sysvar."""
    return int(struct.unpack_from("<q", base64.b64decode(clock_account["data"][0]), 32)[0])
