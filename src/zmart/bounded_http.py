"""Send an HTTP request and read its whole response within a time and a size.

httpx limits each read alone. A server that sends a byte now and then, or never ends, would hold its client permanently.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""The default limit for the size of a response in bytes."""


class HttpAnswer:
    """Hold the whole response to a request."""

    def __init__(self, status_code: int, headers: httpx.Headers, content: bytes) -> None:
        self.status_code = status_code
        self.headers = headers
        self.content = content

    @property
    def is_success(self) -> bool:
        """Return whether the status is 2xx."""
        return httpx.codes.is_success(self.status_code)

    @property
    def text(self) -> str:
        """Return the body as text; bytes that are not UTF-8 are replaced."""
        return self.content.decode(errors="replace")


class AnswerTooLarge(httpx.HTTPError):
    """Report that the response has more bytes than the caller accepts."""


async def request(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    within_s: float,
    max_bytes: int = MAX_ANSWER_BYTES,
    **options: Any,  # noqa: ANN401  # as httpx's `stream`
) -> HttpAnswer:
    """Send a request and return its whole response.

    Raises AnswerTooLarge for a body of more than `max_bytes` bytes, ReadTimeout if the response is not complete within
    `within_s` seconds, any other httpx.HTTPError, and httpx.InvalidURL.
    """
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
