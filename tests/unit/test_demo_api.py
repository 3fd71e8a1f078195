"""The demo's HTTP client: when it sends a request again."""

from __future__ import annotations

import time

import httpx
import pytest

from kit.http_servers import serving
from zmart.local.demo.api import Api, ApiRefusal, seconds_to_retry


class Busy:
    """An application that answers the first request with `status` and Retry-After, and the next ones with 200."""

    def __init__(self, status: int, retry_after: bytes | None) -> None:
        self.status = status
        self.headers = [] if retry_after is None else [(b"retry-after", retry_after)]
        self.requested_at: list[float] = []

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        self.requested_at.append(time.monotonic())
        is_first = len(self.requested_at) == 1
        status, headers = (self.status, self.headers) if is_first else (200, [])
        await send({"type": "http.response.start", "status": status, "headers": headers})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b'{"message":"no"}'})  # type: ignore[operator]

    @property
    def waited_s(self) -> float:
        first, second = self.requested_at
        return second - first


async def call(application: Busy) -> None:
    async with serving(application) as url:
        api = Api(url)
        try:
            await api.get("/api/markets")
        finally:
            await api.close()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_busy_service_is_asked_again_when_it_says(status: int) -> None:
    busy = Busy(status, b"1")
    await call(busy)
    assert 1 <= busy.waited_s < 3


@pytest.mark.parametrize(
    "retry_after", [None, b"", b"-1", b"Wed, 21 Oct 2026 07:28:00 GMT", "²".encode("latin-1")]
)
async def test_without_a_number_of_seconds_it_is_asked_again_soon(retry_after: bytes | None) -> None:
    busy = Busy(503, retry_after)
    await call(busy)
    assert busy.waited_s < 0.9


def test_no_answer_makes_it_wait_for_minutes() -> None:
    assert seconds_to_retry(httpx.Response(503, headers={"retry-after": "86400"})) == 5


async def test_a_refusal_is_not_sent_again() -> None:
    busy = Busy(429, b"1")
    with pytest.raises(ApiRefusal, match="429"):
        await call(busy)
    assert len(busy.requested_at) == 1
