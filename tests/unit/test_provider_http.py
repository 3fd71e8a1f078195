"""The local stand-ins of Pinata and Helius bound the size of request bodies, however the bodies are sent."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from zmart.local.providers.http import HttpRefusal, HttpRequest

MOST = 10


def request(pieces: Sequence[bytes], *headers: tuple[bytes, bytes]) -> HttpRequest:
    """Return a request whose body arrives in these pieces."""
    messages = [
        {"type": "http.request", "body": piece, "more_body": at < len(pieces) - 1}
        for at, piece in enumerate(pieces)
    ]

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    return HttpRequest(
        {"method": "POST", "path": "/", "query_string": b"", "headers": list(headers)}, receive
    )


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 6, b"x" * 5], [b"x"] * 11, [b"x" * 10, b"x", b"x"]])
async def test_a_chunked_body_that_is_too_large_is_refused(pieces: list[bytes]) -> None:
    """The bound also holds for a chunked body, which has no content-length header."""
    with pytest.raises(HttpRefusal) as refused:
        await request(pieces, (b"transfer-encoding", b"chunked")).body(MOST)
    assert refused.value.status == 413


@pytest.mark.parametrize("pieces", [[b""], [b"x" * 10], [b"x" * 5, b"x" * 5], [b"x" * 10, b""]])
async def test_a_chunked_body_of_the_largest_size_is_read(pieces: list[bytes]) -> None:
    assert await request(pieces).body(MOST) == b"".join(pieces)


async def test_an_announced_size_is_refused_before_anything_is_read() -> None:
    with pytest.raises(HttpRefusal) as refused:
        await request([], (b"content-length", b"11")).body(MOST)
    assert refused.value.status == 413
