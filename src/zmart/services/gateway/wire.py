"""Answers whose head is mostly the same each time. Under uvicorn they are written as they are; it would otherwise check
and copy twenty headers again for each of them. Any other ASGI server gets them as usual.
"""

from __future__ import annotations

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from zmart.services.contract import Send

Headers = Sequence[tuple[bytes, bytes]]


class Head:
    """Headers that many answers share, and the same as bytes. Raises ValueError for one that holds a line break."""

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.wire = b"".join([b"%b: %b\r\n" % header for header in headers])
        if self.wire.count(b"\n") != len(headers) or self.wire.count(b"\r") != len(headers):
            raise ValueError("A header holds a line break.")


class Own:
    """The headers that no two answers share."""

    __slots__ = ("_policy", "_remaining", "_reset_s", "_slot", "request_id")

    def __init__(self, slot: int, policy: str, remaining: int, reset_s: int) -> None:
        self._slot = slot
        self._policy = policy
        self._remaining = remaining
        self._reset_s = reset_s
        self.request_id = ""

    def wire(self) -> bytes:
        return (
            f'x-as-of-slot: {self._slot}\r\nratelimit: "{self._policy}";r={self._remaining};t={self._reset_s}\r\n'
            f"x-request-id: {self.request_id}\r\n\r\n"
        ).encode()

    def headers(self) -> Headers:
        lines = self.wire().strip().split(b"\r\n")
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


async def write(send: Send, status: int, head: Head, own: Own, body: bytes) -> None:
    """A whole answer: `head`, then `own`, then `body`, whose length `head` tells."""
    cycle = getattr(send, "__self__", None)
    if isinstance(cycle, RequestResponseCycle) and _may_write(cycle):
        cycle.transport.write(b"".join((STATUS_LINE[status], head.wire, own.wire(), body)))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
        return
    await send({"type": "http.response.start", "status": status, "headers": [*head.headers, *own.headers()]})
    await send({"type": "http.response.body", "body": body})


def _may_write(cycle: RequestResponseCycle) -> bool:
    """Nothing is unusual: the connection stays, takes more, and nothing was sent yet."""
    return (
        cycle.keep_alive
        and not cycle.disconnected
        and not cycle.response_started
        and not cycle.flow.write_paused
        and not cycle.default_headers
    )
