"""Send a request and read its whole answer within a time and a size: httpx limits each read alone, and a server that
sends a byte now and then, or without end, would hold its caller permanently."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

MAX_ANSWER_BYTES = 8 * 1024 * 1024


class HttpAnswer:
    """The whole answer to a request."""

    def __init__(self, status_code: int, headers: httpx.Headers, content: bytes) -> None:
        self.status_code = status_code
        self.headers = headers
        self.content = content

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return httpx.codes.is_success(self.status_code)

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 are replaced."""
        return self.content.decode(errors="replace")


class AnswerTooLarge(httpx.HTTPError):
    """The answer has more bytes than its caller takes."""


async def request(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    within_s: float,
    max_bytes: int = MAX_ANSWER_BYTES,
    **options: Any,  # noqa: ANN401  # as httpx's `stream`
) -> HttpAnswer:
    """Return the answer. Raises httpx.HTTPError and httpx.InvalidURL, ReadTimeout after `within_s` in all."""
    content = bytearray()
    try:
        async with asyncio.timeout(within_s), http.stream(method, url, **options) as answer:
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > max_bytes:
                    raise AnswerTooLarge(f"The answer has more than {max_bytes} bytes.")
    except TimeoutError:
        raise httpx.ReadTimeout(f"The answer was not complete within {within_s:g} s.") from None
    return HttpAnswer(answer.status_code, answer.headers, bytes(content))
