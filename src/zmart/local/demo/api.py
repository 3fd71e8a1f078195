"""The gateway as a patient user sees it: a service that is being restarted is asked again, an answer never is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx
import msgspec

from zmart.errors import ZmartError

Json = dict[str, Any]  # an answer of the API, by its documented names
T = TypeVar("T")
_AGAIN_S = 0.15
_PATIENCE_S = 45.0


class Refused(ZmartError):
    """The API answered with an error; `status` is HTTP's, `again` whether an earlier try may have arrived."""

    def __init__(self, status: int, message: str, *, again: bool) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.again = again


class Api:
    """`get`, `post`, `put` and `delete` with JSON; raises Refused, or ZmartError when nobody answers for 45 s."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.AsyncClient(base_url=base_url, timeout=10)

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **params: str | int) -> Any:  # noqa: ANN401  # the shape is the endpoint's
        return await self._call("GET", path, params=params)

    async def post(self, path: str, body: Mapping[str, object], token: str = "") -> Json:
        answer: Json = await self._call("POST", path, body=body, token=token)
        return answer

    async def delete(self, path: str, token: str) -> None:
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
        deadline = time.monotonic() + _PATIENCE_S
        tries = 0
        while True:
            tries += 1
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
                    return _read(answer, again=tries > 1)
            await asyncio.sleep(_AGAIN_S)


def _read(answer: httpx.Response, *, again: bool) -> object:
    if answer.is_success:
        return msgspec.json.decode(answer.content) if answer.content else None
    try:
        message = msgspec.json.decode(answer.content)["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message = answer.text[:200]
    raise Refused(answer.status_code, f"{answer.request.url.path}: {message}", again=again)


async def until(
    look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], what: str, within_s: float = 25
) -> T:
    """Ask again and again until the answer is as wanted; ZmartError says what never came and what was seen last."""
    deadline = time.monotonic() + within_s
    seen: object = None
    while time.monotonic() < deadline:
        try:
            found = await look()
        except Refused as problem:
            if problem.status != 404:  # not indexed yet
                raise
            seen = problem
        else:
            if wanted(found):
                return found
            seen = found
        await asyncio.sleep(_AGAIN_S / 3)
    raise ZmartError(f"{what} did not come within {within_s:.0f} s; last seen: {str(seen)[:200]}")
