"""Heads of answers: as ASGI takes them, and as bytes for the short way."""

from __future__ import annotations

from collections.abc import Sequence

from zmart.services.contract import Send

Headers = Sequence[tuple[bytes, bytes]]


class Head:
    """Status and headers that many answers share. Raises ValueError for a header that holds a line break."""

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        reason = b"OK" if status == 200 else b"Not Modified"
        self.wire = b"HTTP/1.1 %d %b\r\n" % (status, reason) + b"".join(
            [b"%b: %b\r\n" % each for each in headers]
        )
        if self.wire.count(b"\n") != len(headers) + 1 or self.wire.count(b"\r") != len(headers) + 1:
            raise ValueError("A header holds a line break.")


class Own:
    """The headers that no two answers share."""

    __slots__ = ("_policy", "_remaining", "_request_id", "_reset_s", "_slot")

    def __init__(self, slot: int, policy: str, remaining: int, reset_s: int, request_id: str) -> None:
        self._slot = slot
        self._policy = policy
        self._remaining = remaining
        self._reset_s = reset_s
        self._request_id = request_id

    def wire(self) -> bytes:
        """With the empty line that ends a head."""
        return (
            f'x-as-of-slot: {self._slot}\r\nratelimit: "{self._policy}";r={self._remaining};t={self._reset_s}\r\n'
            f"x-request-id: {self._request_id}\r\n\r\n"
        ).encode()

    def headers(self) -> Headers:
        lines = self.wire().strip().split(b"\r\n")
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


async def write(send: Send, head: Head, own: Own, body: bytes) -> None:
    """A whole answer; `head` tells the body's length."""
    headers = [*head.headers, *own.headers()]
    await send({"type": "http.response.start", "status": head.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
