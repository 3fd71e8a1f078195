"""An HTTP proxy before a chain's RPC that answers calls wrongly, late or not at all, as a script says."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from solders.transaction import VersionedTransaction


@dataclass
class Call:
    """One JSON-RPC request; `number` counts the requests of its method from 1."""

    method: str
    params: list[Any]
    number: int

    @property
    def searches_history(self) -> bool:
        return self.method == "getSignatureStatuses" and bool(self.params[1].get("searchTransactionHistory"))


@dataclass(frozen=True)
class Say:
    """Answer with `result`; the chain does not get the call."""

    result: object


@dataclass(frozen=True)
class Refuse:
    """Answer with a JSON-RPC error; the chain does not get the call."""

    code: int = -32005
    message: str = "Node is behind"


@dataclass(frozen=True)
class Broken:
    """Give no usable answer; with `heard`, the chain gets the call nevertheless."""

    how: str  # "503", "429", "reset", "garbage", "half"
    heard: bool = False


@dataclass(frozen=True)
class Body:
    """Answer any call with this text, in which %d is the request's id; the chain does not get the call."""

    text: str
    status: int = 200
    content_type: str = "application/json"


@dataclass(frozen=True)
class Late:
    """Give the chain's own answer, `seconds` later."""

    seconds: float


@dataclass(frozen=True)
class Edit:
    """Give the chain's own answer, with its `result` changed by a function."""

    change: Callable[[Any], object]


Fault = Say | Refuse | Body | Broken | Late | Edit
Script = Callable[[Call], Fault | None]


def honest(call: Call) -> Fault | None:
    return None


def signature_of(call: Call) -> str:
    """Return the signature of the transaction in a sendTransaction call, which is also its correct answer."""
    return str(VersionedTransaction.from_bytes(base64.b64decode(call.params[0])).signatures[0])


def drops(call: Call) -> Fault | None:
    """Accept transactions with their signature, and drop them."""
    return Say(signature_of(call)) if call.method == "sendTransaction" else None


def not_found(call: Call) -> Fault | None:
    """Report every signature as unknown, with and without a search of the history."""
    if call.method != "getSignatureStatuses":
        return None
    return Edit(lambda result: {**result, "value": [None] * len(result["value"])})


def loses_history(call: Call) -> Fault | None:
    """Report every signature as unknown whose status is searched in the history."""
    return not_found(call) if call.searches_history else None


MUTE: dict[str, Fault] = {
    "402": Body('{"message":"Payment required"}', 402),
    "402 as if all were well": Body('{"message":"Payment required"}'),
    "429": Body('{"jsonrpc":"2.0","id":%d,"error":{"code":429,"message":"Too many requests"}}', 429),
    "429 inside": Body('{"jsonrpc":"2.0","id":%d,"error":{"code":-32429,"message":"max usage reached"}}'),
    "530 with an answer": Body('{"jsonrpc":"2.0","id":%d,"result":null}', 530),
    "page": Body("<html><body>error code: 1033</body></html>", 200, "text/html"),
    "empty object": Body("{}"),
    "null": Body("null"),
    "no result": Body('{"jsonrpc":"2.0","id":%d}'),
    "another id": Body('{"jsonrpc":"2.0","id":0,"result":null}'),
    "batch": Body('[{"jsonrpc":"2.0","id":%d,"result":null}]'),
    "both": Body('{"jsonrpc":"2.0","id":%d,"result":null,"error":null}'),
    "internal error": Refuse(-32603, "Internal error"),
    "no history": Refuse(-32011, "Transaction history is not available from this node"),
}
"""Answers by name that contain no answer to the call."""


def mute(seed: int, share: float = 0.5) -> Script:
    """Answer that share of the calls, at random, with one of MUTE."""
    chance = random.Random(seed)
    return lambda call: chance.choice(list(MUTE.values())) if chance.random() < share else None


def half(seed: int, share: float = 0.5) -> Script:
    """Fail that share of the calls, at random, in any way; some of the failed calls reach the chain nevertheless."""
    chance = random.Random(seed)

    def script(call: Call) -> Fault | None:
        if chance.random() >= share:
            return None
        how = chance.choice(["503", "429", "reset", "garbage", "half", "behind"])
        return Refuse() if how == "behind" else Broken(how, heard=chance.random() < 0.5)

    return script


def first_of(*scripts: Script) -> Script:
    """Return a script that applies the first fault that one of the scripts gives."""

    def script(call: Call) -> Fault | None:
        return next((fault for one in scripts if (fault := one(call)) is not None), None)

    return script


@dataclass
class Proxy:
    """The proxy; `script` may be changed at any time.

    `calls` counts the calls by method, `bad` those that got a fault; `sent` holds the transactions of all
    sendTransaction calls.
    """

    target: str
    script: Script = honest
    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    sent: list[bytes] = field(default_factory=list)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def before(cls, target: str, script: Script = honest) -> AsyncIterator[Proxy]:
        proxy = cls(target, script)
        async with httpx.AsyncClient(timeout=10.0) as http:
            proxy._http = http
            server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
            proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            try:
                yield proxy
            finally:
                server.close()
                for task in list(proxy._serving):  # an answer may be late by longer than the test
                    task.cancel()
                await asyncio.gather(*proxy._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._answer_all(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, httpx.HTTPError):
            pass
        finally:
            self._serving.discard(task)
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if not await self._answer(json.loads(await reader.readexactly(size)), writer):
                return

    async def _answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """Answer one call; return whether the connection stays open."""
        method = body["method"]
        self.calls[method] += 1
        if method == "sendTransaction":
            self.sent.append(base64.b64decode(body["params"][0]))
        fault = self.script(Call(method, body["params"], self.calls[method]))
        self.bad += fault is not None
        match fault:
            case None:
                return await _write(writer, await self._ask(body))
            case Say(result):
                return await _write(writer, _json(body, {"result": result}))
            case Refuse(code, message):
                return await _write(writer, _json(body, {"error": {"code": code, "message": message}}))
            case Body(text, status, content_type):
                response = text.replace("%d", str(body["id"])).encode()
                return await _write(writer, response, status, content_type)
            case Late(seconds):
                answer = await self._ask(body)
                await asyncio.sleep(seconds)
                return await _write(writer, answer)
            case Edit(change):
                response = json.loads(await self._ask(body))
                return await _write(writer, _json(body, {"result": change(response["result"])}))
            case Broken(how, heard):
                answer = await self._ask(body) if heard else b"{}"
                return await _break(writer, how, answer)

    async def _ask(self, body: dict[str, Any]) -> bytes:
        return (await self._http.post(self.target, json=body)).content


def _json(asked: dict[str, Any], answer: dict[str, object]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}).encode()


async def _write(
    writer: asyncio.StreamWriter, body: bytes, status: int = 200, content_type: str = "application/json"
) -> bool:
    head = f"HTTP/1.1 {status} x\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return True


async def _break(writer: asyncio.StreamWriter, how: str, answer: bytes) -> bool:
    match how:
        case "503" | "429":
            return await _write(writer, b"", int(how))
        case "garbage":
            return await _write(writer, b"<html>out of order</html>")
        case "half":  # announces more bytes than it sends
            writer.write(b"HTTP/1.1 200 x\r\ncontent-length: %d\r\n\r\n" % (len(answer) + 9) + answer)
        case _:
            writer.transport.abort()
    return False


def chosen(seed: int, options: Sequence[Script], calls: int) -> Script:
    """Return a script that switches at random between the options, each time after 1 to `calls` calls."""
    chance, left, now = random.Random(seed), 0, options[0]

    def script(call: Call) -> Fault | None:
        nonlocal left, now
        if left == 0:
            now, left = chance.choice(options), chance.randint(1, calls)
        left -= 1
        return now(call)

    return script
