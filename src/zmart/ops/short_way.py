"""Requests that a service knows by their very bytes: they need no parsing, no task and no ASGI message.

A service with an attribute `short_way` (services.contract.ShortWay) is asked first. What it does not know, and all that
is unusual, takes uvicorn's way; there the bytes travel in the scope, so that the service can learn them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from zmart.ops.slow_clients import PunctualProtocol
from zmart.services.contract import WIRE, ShortWay

_MOST_BYTES = 2_048
_MOST_HELD = 64 * 1024


class ShortWayProtocol(PunctualProtocol):
    """One connection. One request at a time is on the short way; what comes meanwhile is held back."""

    def __init__(self, *arguments: Any, short_way: ShortWay, **options: Any) -> None:  # noqa: ANN401  # uvicorn's own
        super().__init__(*arguments, **options)
        self._short_way = short_way
        self._is_inside = False
        self._is_waiting = False
        self._is_leaving = False
        self._held = b""
        self._completed = 0

    @property
    def peer(self) -> str:
        return self.client[0] if self.client else "unknown"

    def data_received(self, data: bytes) -> None:
        if self._is_waiting:
            self._hold(data)
            return
        is_between = not self._is_inside and (self.cycle is None or self.cycle.response_complete)
        if is_between and not self.flow.write_paused:
            self._is_waiting = True
            if self._short_way(data, self):
                self._unset_keepalive_if_required()
                self._stop_waiting()
                return
            self._is_waiting = False
        self._take_long_way(data, is_between)

    def answer(self, answer: bytes) -> None:
        """The whole answer to the request that is on the short way."""
        self._is_waiting = False
        if self.transport.is_closing():
            return
        self.transport.write(answer)
        self.on_response_complete()
        if self._is_leaving:
            self.transport.close()
        elif self._held:
            self._release()

    def refuse(self, request: bytes) -> None:
        """The short way cannot answer after all."""
        self._is_waiting = False
        if self.transport.is_closing() or self.parser is None:
            return
        self._take_long_way(request, False)
        if self._is_leaving:
            super().shutdown()
        elif self._held:
            self._release()

    def shutdown(self) -> None:
        if self._is_waiting:
            self._is_leaving = True
        else:
            super().shutdown()

    def on_message_begin(self) -> None:
        self._is_inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._is_inside = False
        self._completed += 1
        super().on_message_complete()

    def _take_long_way(self, data: bytes, is_between: bool) -> None:
        completed = self._completed
        super().data_received(data)
        is_one = is_between and not self._is_inside and self._completed == completed + 1
        if is_one and len(data) <= _MOST_BYTES and data.endswith(b"\r\n\r\n") and _is_usual(self.cycle):
            self.scope["extensions"] = {WIRE: {"bytes": data}}

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _MOST_HELD:
            self.flow.pause_reading()

    def _release(self) -> None:
        held, self._held = self._held, b""
        self.flow.resume_reading()
        self.data_received(held)


def _is_usual(cycle: RequestResponseCycle) -> bool:
    return cycle.keep_alive and not cycle.body and not cycle.waiting_for_100_continue


def protocol(short_way: ShortWay) -> Any:  # noqa: ANN401  # uvicorn takes whatever makes a protocol
    """What uvicorn calls for each connection."""
    return partial(ShortWayProtocol, short_way=short_way)
