"""Send the client's requests: encode and decode JSON, raise errors, send the session's token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from zmart.client.shapes.system import Problem
from zmart.errors import ZmartError
from zmart.loopback import client_options
from zmart.market.json_input import JSON_ERRORS

Shape = TypeVar("Shape")
Query = Mapping[str, str | int | None]


class ApiError(ZmartError):
    """Report that the API refused a request.

    `status` is the HTTP status. `problem` is the decoded body; None if it does not have the shape of the API's errors.
    """

    def __init__(self, status: int, message: str, problem: Problem | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.problem = problem


class Transport:
    """Send requests over one connection pool, with the session's `token` unless it is empty.

    Every request raises ApiError when the API refuses it, and ZmartError without a usable response.
    """

    def __init__(self, base_url: str, timeout_s: float, http: httpx.AsyncClient | None) -> None:
        self._http = http or httpx.AsyncClient(
            base_url=base_url, timeout=timeout_s, **client_options(base_url)
        )
        self.token = ""

    async def close(self) -> None:
        """Close the connections to the API."""
        await self._http.aclose()

    async def get(self, shape: type[Shape], path: str, query: Query | None = None) -> Shape:
        """Send a GET request and return the response's body as `shape`; a parameter that is None is left out."""
        return await self._call(shape, "GET", path, query=query)

    async def post(self, shape: type[Shape], path: str, body: Mapping[str, object] | None = None) -> Shape:
        """Send a POST request and return the response's body as `shape`; a field that is None is left out."""
        return await self._call(shape, "POST", path, body={} if body is None else body)

    async def put(self, shape: type[Shape], path: str, body: Mapping[str, object]) -> Shape:
        """Send a PUT request and return the response's body as `shape`; a field that is None is left out."""
        return await self._call(shape, "PUT", path, body=body)

    async def delete(self, shape: type[Shape], path: str) -> Shape:
        """Send a DELETE request and return the response's body as `shape`."""
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
        params = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            response = await self._http.request(method, path, params=params, content=content, headers=headers)
        except httpx.HTTPError as problem:
            raise ZmartError(f"The API does not answer ({type(problem).__name__}): {path}") from problem
        if not response.is_success:
            raise _refusal(response)
        try:
            return msgspec.json.decode(response.content, type=shape)
        except JSON_ERRORS as problem:
            raise ZmartError(f"The API's answer to {path} cannot be read: {problem}") from problem


def _refusal(response: httpx.Response) -> ApiError:
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except JSON_ERRORS:
        return ApiError(response.status_code, response.text[:200])
    return ApiError(response.status_code, problem.message, problem)
