"""Subscribe to notifications over the RPC's WebSocket.

A stream reconnects with backoff when its connection fails. It ends only with a ChainError, if the node refuses the
subscription permanently. Notifications are lost while the connection is down, so a scan must close the gap:
`on_connect` is called whenever a subscription begins.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Annotated, Literal, TypeVar

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from zmart.chain.rpc_answer import BadAnswer, JsonRpcError, read_answer, safe_message
from zmart.chain.signatures import is_signature
from zmart.errors import ChainError
from zmart.loopback import socket_proxy
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Address, Signature, Slot

Result = TypeVar("Result")
Connected = Callable[[], None]

_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_ID = 1
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 4.0
_log = structlog.get_logger(__name__)


class LogNotice(msgspec.Struct, frozen=True):
    """Hold a notification of logsSubscribe: a transaction that mentions the program.

    `err` is None if the transaction succeeded.
    """

    signature: Signature
    slot: Slot
    err: object
    logs: tuple[str, ...]


_SlotNumber = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _NoticeContext(msgspec.Struct):
    slot: _SlotNumber


class _LogValue(msgspec.Struct):
    signature: str
    err: object
    logs: list[str]


class _LogResult(msgspec.Struct):
    context: _NoticeContext
    value: _LogValue


class _SlotResult(msgspec.Struct):
    slot: _SlotNumber


class _Params(msgspec.Struct):
    result: msgspec.Raw


class _SocketMessage(msgspec.Struct):
    method: str = ""
    params: _Params | None = None


async def logs(
    ws_url: str,
    program_id: Address,
    commitment: Literal["confirmed", "finalized"] = "confirmed",
    on_connect: Connected | None = None,
) -> AsyncGenerator[LogNotice, None]:
    """Yield each transaction that mentions the program, as soon as the node has it at that commitment.

    Transactions that arrive while the connection is down are not yielded. Raises ChainError if the node refuses the
    subscription.
    """
    params = [{"mentions": [program_id]}, {"commitment": commitment}]
    async with aclosing(_notices(_LogResult, ws_url, "logsSubscribe", params, on_connect)) as results:
        async for result in results:
            value = result.value
            if not is_signature(value.signature):
                _log.warning("invalid signature in a notification", signature=value.signature[:100])
                continue
            yield LogNotice(
                Signature(value.signature), Slot(result.context.slot), value.err, tuple(value.logs)
            )


async def slots(ws_url: str, on_connect: Connected | None = None) -> AsyncGenerator[Slot, None]:
    """Yield each slot that the node starts to process. Raises ChainError if the node refuses the subscription."""
    async with aclosing(_notices(_SlotResult, ws_url, "slotSubscribe", [], on_connect)) as results:
        async for result in results:
            yield Slot(result.slot)


async def _notices(
    kind: type[Result], ws_url: str, method: str, params: Sequence[object], on_connect: Connected | None
) -> AsyncGenerator[Result, None]:
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            async with aclosing(_one_connection(ws_url, method, params, on_connect)) as raws:
                async for raw in raws:
                    wait_s = _FIRST_WAIT_S
                    yield msgspec.json.decode(raw, type=kind)
        except (*JSON_ERRORS, OSError, TimeoutError, WebSocketException, BadAnswer) as error:
            _log.warning(
                "subscription lost",
                method=method,
                error=f"{type(error).__name__}: {safe_message(str(error))}",
                retry_s=wait_s,
            )
        await asyncio.sleep(wait_s * random.uniform(0.7, 1.3))  # noqa: S311 - spreads reconnects, no secret
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


async def _one_connection(
    ws_url: str, method: str, params: Sequence[object], on_connect: Connected | None
) -> AsyncGenerator[msgspec.Raw, None]:
    request = msgspec.json.encode({"jsonrpc": "2.0", "id": _ID, "method": method, "params": params})
    async with connect(
        ws_url,
        max_size=_MAX_MESSAGE_BYTES,
        ping_interval=15,
        ping_timeout=15,
        proxy=socket_proxy(ws_url),
    ) as socket:
        await socket.send(request.decode())
        async with asyncio.timeout(15):
            await _accepted(socket, method)
        _log.info("subscription begun", method=method)
        if on_connect:
            on_connect()
        async for text in socket:
            message = msgspec.json.decode(text, type=_SocketMessage)
            if message.params is not None:
                yield message.params.result


async def _accepted(socket: ClientConnection, method: str) -> None:
    """Wait until the node accepts the subscription.

    Raises ChainError if the node refuses it permanently, and BadAnswer if the node failed.
    """
    while True:
        raw = await socket.recv(decode=False)
        if msgspec.json.decode(raw, type=_SocketMessage).method:
            continue  # a notification that came first; the scan finds its transaction
        answer = read_answer(raw, _ID)
        if not isinstance(answer, JsonRpcError):
            return
        message = f"{safe_message(answer.message)} (code {answer.code})"
        if answer.is_answer:
            raise ChainError(f"The RPC's WebSocket refuses {method}: {message}.")
        raise BadAnswer(f"the RPC's WebSocket failed at {method}: {message}")
