"""HTTP beneath the client: JSON in and out, errors as exceptions, a session where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from zmart.client.shapes.system import Problem
from zmart.errors import ZmartError

Shape = TypeVar("Shape")
Query = Mapping[str, str | int | None]


class ApiError(ZmartError):
    """The API refused. `status` is HTTP's; `problem` what it said, None when that was not its own shape."""

    def __init__(self, status: int, message: str, problem: Problem | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.problem = problem


class Transport:
    """One connection pool and at most one session. Raises ApiError, or ZmartError when nobody answers."""

    def __init__(self, base_url: str, timeout_s: float, http: httpx.AsyncClient | None) -> None:
        self._http = http or httpx.AsyncClient(base_url=base_url, timeout=timeout_s)
        self.token = ""

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, shape: type[Shape], path: str, query: Query | None = None) -> Shape:
        return await self._call(shape, "GET", path, query=query)

    async def post(self, shape: type[Shape], path: str, body: Mapping[str, object] | None = None) -> Shape:
        return await self._call(shape, "POST", path, body={} if body is None else body)

    async def put(self, shape: type[Shape], path: str, body: Mapping[str, object]) -> Shape:
        return await self._call(shape, "PUT", path, body=body)

    async def delete(self, shape: type[Shape], path: str) -> Shape:
        return await self._call(shape, "DELETE", path)

    async def _call(
        self,
        shape: type[Shape],
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Shape:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = msgspec.json.encode({name: value for name, value in body.items() if value is not None})
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = await self._http.request(method, path, params=asked, content=content, headers=headers)
        except httpx.HTTPError as problem:
            raise ZmartError(f"The API does not answer ({type(problem).__name__}): {path}") from problem
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=shape)
        raise _refusal(answer)


def _refusal(answer: httpx.Response) -> ApiError:
    try:
        said = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.MsgspecError:
        return ApiError(answer.status_code, answer.text[:200])
    return ApiError(answer.status_code, said.message, said)
