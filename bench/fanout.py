"""Our WebSocket server without a feed behind it: a trade to every client, some times a second.

Hub, connections and sockets are the service's own; subscriptions are taken for granted.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast

import uvloop

from zmart.feed.wire import WireMessage
from zmart.services.websocket import socket
from zmart.services.websocket.connection import SocketConnection
from zmart.services.websocket.hub import SocketHub
from zmart.services.websocket.limits import SocketLimits
from zmart.services.websocket.server import SocketServer
from zmart.services.websocket.subscriptions import Subscriptions

CHANNEL = "trades"
STAMP = b"SENT_AT_NANOSECONDS"
FIRST_OFFSET = 1_000_000_000
_TAIL = (
    b'"market_id":"%b","epoch":"7d9f0c9e-0000-4000-8000-000000000000","offset":%d,"slot":412345678,'
    b'"timestamp":"2026-01-31T12:00:00.000Z","data":{"action":"created","tradeId":"%b:0","trade_type":"buy",'
    b'"outcome":"YES","shares":1250000000,"cost":712345678,"price":"0.569876543","price_after":"0.571234567",'
    b'"user_wallet":"%b","tx_signature":"%b","created_at":"2026-01-31T12:00:00.000Z","sent":"'
    + STAMP
    + b'"}}'
)
_MARKET, _WALLET, _SIGNATURE = b"ab" * 32, b"W" * 44, b"S" * 88


class AcceptAll(SocketServer):
    """Every client reads the channel from its first moment on."""

    def __init__(self, hub: SocketHub, limits: SocketLimits) -> None:
        super().__init__(hub, cast("Subscriptions", None), limits, heartbeat_s=600)
        self._all = hub

    def admit(self, transport: asyncio.Transport, address: str) -> SocketConnection:
        connection = super().admit(transport, address)
        self._all.join(CHANNEL, connection)
        return connection


def message(offset: int) -> WireMessage:
    """A trade as the feed would bring it, with the moment in it."""
    tail = _TAIL % (_MARKET, offset, _SIGNATURE, _WALLET, _SIGNATURE)
    stamped = tail.replace(STAMP, b"%019d" % time.monotonic_ns())
    return WireMessage(offset=offset, type="trade", market_id="", channels=(CHANNEL,), tail=stamped)


async def _serve(port: int, ticks: int, messages: int) -> None:
    hub, limits = SocketHub(), SocketLimits(connections_per_address=100_000)
    hub.begin("epoch", FIRST_OFFSET)
    await socket.listen(AcceptAll(hub, limits), {}, (), limits.frame_bytes, "127.0.0.1", port)
    loop, offset = asyncio.get_running_loop(), FIRST_OFFSET
    at = loop.time()
    while True:
        at = max(at + 1 / ticks, loop.time())
        await asyncio.sleep(at - loop.time())
        hub.publish([message(offset + n) for n in range(1, messages + 1)])
        offset += messages


if __name__ == "__main__":
    uvloop.run(_serve(*(int(argument) for argument in sys.argv[1:4])))
