"""Call the gateway's HTTP API, and retry while a service restarts: without a response, or after 502, 503 or 504.

An answer says by Retry-After when to retry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx
import msgspec

from zmart.errors import ZmartError
from zmart.loopback import client_options
from zmart.market.json_input import JSON_ERRORS

Json = dict[str, Any]  # an answer of the API, by its documented names
T = TypeVar("T")
_RETRY_S = 0.15  # without a response, or without Retry-After
_MOST_RETRY_S = 5
_TIMEOUT_S = 45.0


class ApiRefusal(ZmartError):
    """Report an error response with its HTTP `status`.

    `is_retry` is True if the request was sent more than once, so that an earlier attempt may have taken effect.
    """

    def __init__(self, status: int, message: str, *, is_retry: bool) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.is_retry = is_retry


class Api:
    """Call the API with JSON. Calls raise ApiRefusal for an error response, ZmartError after 45 s without a response.

    502, 503 and 504 are retried until 45 s have passed, not before the time that Retry-After names.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.AsyncClient(base_url=base_url, timeout=10, **client_options(base_url))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, **params: str | int) -> Any:  # noqa: ANN401  # the shape is the endpoint's
        """Send a GET request, and return the decoded body of the response."""
        return await self._call("GET", path, params=params)

    async def post(self, path: str, body: Mapping[str, object], token: str = "") -> Json:
        """Send a POST request, and return the decoded body of the response. `token` is a bearer token, or ""."""
        answer: Json = await self._call("POST", path, body=body, token=token)
        return answer

    async def delete(self, path: str, token: str) -> None:
        """Send a DELETE request with a bearer token."""
        await self._call("DELETE", path, token=token)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        token: str = "",
        params: Mapping[str, str | int] | None = None,
    ) -> Any:  # noqa: ANN401  # the shape is the endpoint's
        headers = {"authorization": f"Bearer {token}"} if token else {}
        content = None if body is None else msgspec.json.encode(body)
        if content is not None:
            headers["content-type"] = "application/json"
        deadline = time.monotonic() + _TIMEOUT_S
        attempts = 0
        while True:
            attempts += 1
            retry_s = _RETRY_S
            try:
                answer = await self._http.request(
                    method, path, content=content, params=params, headers=headers
                )
            except httpx.TransportError as problem:
                if time.monotonic() > deadline:
                    raise ZmartError(
                        f"{self.base_url}{path} does not answer ({type(problem).__name__})"
                    ) from None
            else:
                if answer.status_code not in (502, 503, 504) or time.monotonic() > deadline:
                    return _read(answer, is_retry=attempts > 1)
                retry_s = seconds_to_retry(answer)
            await asyncio.sleep(retry_s)


def seconds_to_retry(answer: httpx.Response) -> float:
    """Return in how many seconds `answer` wants the request again, at most 5."""
    text = answer.headers.get("retry-after", "")
    return min(int(text), _MOST_RETRY_S) if text.isdecimal() and text.isascii() else _RETRY_S


def _read(answer: httpx.Response, *, is_retry: bool) -> object:
    if answer.is_success:
        return msgspec.json.decode(answer.content) if answer.content else None
    try:
        message = msgspec.json.decode(answer.content)["message"]
    except (*JSON_ERRORS, KeyError, TypeError):
        message = answer.text[:200]
    raise ApiRefusal(answer.status_code, f"{answer.request.url.path}: {message}", is_retry=is_retry)


async def until(
    read: Callable[[], Awaitable[T]], is_expected: Callable[[T], bool], what: str, within_s: float = 25
) -> T:
    """Call `read` every 50 ms until `is_expected` accepts its result, and return that. A 404 is retried, too.

    Raises ZmartError after `within_s` seconds, with the expectation `what` and the last result; ApiRefusal as `read`.
    """
    deadline = time.monotonic() + within_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            result = await read()
        except ApiRefusal as problem:
            if problem.status != 404:  # not indexed yet
                raise
            last = problem
        else:
            if is_expected(result):
                return result
            last = result
        await asyncio.sleep(_RETRY_S / 3)
    raise ZmartError(f"{what} was not reached within {within_s:.0f} s; last result: {str(last)[:200]}")
