"""Clients of the live feed that know several servers: when a server is gone, they resume at the next one."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

_SILENT_S = 2.0
_RETRY_S = 0.1


@dataclass
class RoamingClient:
    """A client of the channel `trades`, which keeps the offset of each change and each reported gap.

    `told_gaps` holds the first and last offset of each gap that a server reported. `position` is the epoch and offset
    to resume from, `first` the offset of the first subscription, `connections` the number of connections so far.
    """

    urls: list[str]
    offsets: list[int] = field(default_factory=list)
    told_gaps: list[tuple[int, int]] = field(default_factory=list)
    position: tuple[str, int] | None = None
    first: int = 0
    connections: int = 0

    async def run(self) -> None:
        """Follow the feed until cancelled, and go on at the next server whenever a connection ends."""
        turn = 0
        while True:
            url = self.urls[turn % len(self.urls)]
            with suppress(OSError, WebSocketException, TimeoutError):
                async with connect(
                    url, proxy=None, compression=None, max_size=None, open_timeout=_SILENT_S, close_timeout=0.2,
                    ping_interval=1, ping_timeout=_SILENT_S,
                ) as socket:  # fmt: skip
                    self.connections += 1
                    await self._follow(socket)
            turn += 1
            await asyncio.sleep(_RETRY_S)

    async def _follow(self, socket: ClientConnection) -> None:
        request: dict[str, object] = {"action": "subscribe", "channel": "trades"}
        if self.position is not None:
            request |= {"epoch": self.position[0], "offset": self.position[1]}
        await socket.send(json.dumps(request))
        async for text in socket:
            self._take(json.loads(text))

    def _take(self, message: dict) -> None:
        match message["type"]:
            case "subscribed":
                self.first = self.first or message["offset"]
                self.position = message["epoch"], message["offset"]
            case "gap":
                self.told_gaps.append((message["data"]["from"], message["data"]["to"]))
            case "welcome" | "pong":
                pass
            case "error":
                assert message["data"]["code"] == "unavailable", message
                raise ConnectionError(message["data"]["error"])
            case _:
                self.offsets.append(message["offset"])
                self.position = message["epoch"], message["offset"]

    def holes(self, expected: list[int]) -> list[int]:
        """Return those of the `expected` offsets that the client neither received nor has in a reported gap.

        Offsets up to that of its first subscription do not count.
        """
        got = set(self.offsets)
        return [
            offset
            for offset in expected
            if offset > self.first
            and offset not in got
            and not any(start <= offset <= end for start, end in self.told_gaps)
        ]

    @property
    def repeats(self) -> int:
        """The number of received offsets that were not greater than the one before."""
        return sum(after <= before for before, after in zip(self.offsets, self.offsets[1:], strict=False))
