"""JSON-RPC over HTTP: keep-alive, time limits, retries with backoff, and failover to the next URL.

Written on httpx and msgspec instead of solana-py's client, because a transaction's own JSON is stored untouched,
every call shares one failover, and solders' response parser can raise pyo3's PanicException (a BaseException)
on errors that it doesn't expect. No answer passes through it here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import TypeVar

import httpx
import msgspec
import stamina

from zmart.errors import ChainError, ConfigError

Answer = TypeVar("Answer")

MAX_ANSWER_BYTES = 128 * 1024 * 1024
_REST_S = 15.0
_NO_ANSWER = {
    401: "HTTP 401, it wants a valid API key",
    403: "HTTP 403, it refuses the API key",
    404: "HTTP 404, the URL is wrong",
    429: "HTTP 429, too many requests",
    **{status: f"HTTP {status}" for status in (408, 425, 500, 502, 503, 504)},
}
# Node is behind or unhealthy, block or slot not there yet, min context slot not reached.
_RETRYABLE_CODES = frozenset({-32004, -32005, -32014, -32016, 429})


class RpcError(ChainError):
    """The node answered with an error; `data` is what it added, e.g. logs of a failed preflight."""

    def __init__(self, method: str, code: int, message: str, data: object = None) -> None:
        super().__init__(f"The RPC refused {method}: {message} (code {code}).")
        self.code = code
        self.data = data


class TransientRpcError(ChainError):
    """No usable answer from one endpoint; trying again or elsewhere may help."""


class _Error(msgspec.Struct):
    code: int
    message: str = ""
    data: object = None


class _Envelope(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


_envelope = msgspec.json.Decoder(_Envelope)


class _Endpoint:
    def __init__(self, url: str) -> None:
        self.url = url
        self.resting_until = 0.0


class JsonRpc:
    """One logical node behind one or more URLs, the preferred first. Close it, or use `async with`."""

    def __init__(self, urls: Sequence[str], timeout_s: float = 10.0, attempts: int = 5) -> None:
        if not urls:
            raise ConfigError("No Solana RPC is set; set SOLANA_RPC_URL (or HELIUS_RPC_URL).")
        self._endpoints = [_Endpoint(url) for url in urls]
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._ids = count(1)
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, pool=timeout_s * 2),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32),
            headers={"content-type": "application/json"},
        )

    async def __aenter__(self) -> JsonRpc:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def request(self, method: str, params: Sequence[object] = ()) -> bytes:
        """The raw JSON of `result`. Raises RpcError, or TransientRpcError when every attempt failed."""
        body = msgspec.json.encode(
            {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        )
        async for attempt in stamina.retry_context(
            on=TransientRpcError,
            attempts=self._attempts,
            timeout=self._timeout_s * self._attempts,
            wait_initial=0.1,
            wait_max=2.0,
            wait_jitter=0.1,
        ):
            with attempt:
                return await self._once(method, body)
        raise TransientRpcError(f"The RPC did not answer {method}.")

    async def typed(self, kind: type[Answer], method: str, params: Sequence[object] = ()) -> Answer:
        """`result` as `kind`. Raises ChainError when it has another shape."""
        return decode_answer(kind, method, await self.request(method, params))

    async def _once(self, method: str, body: bytes) -> bytes:
        endpoint = self._pick()
        try:
            raw = await self._post(endpoint.url, body)
            envelope = _envelope.decode(raw)
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError, UnicodeDecodeError) as error:
            endpoint.resting_until = time.monotonic() + _REST_S
            reason = str(error) or type(error).__name__
            raise TransientRpcError(f"{_host(endpoint.url)} did not answer {method}: {reason}.") from error
        return _result(method, envelope)

    async def _post(self, url: str, body: bytes) -> bytes:
        async with self._http.stream("POST", url, content=body) as response:
            if response.status_code in _NO_ANSWER:
                raise httpx.HTTPError(_NO_ANSWER[response.status_code])
            chunks, size = [], 0
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise ChainError(f"{_host(url)} answered more than {MAX_ANSWER_BYTES} bytes.")
                chunks.append(chunk)
        return b"".join(chunks)

    def _pick(self) -> _Endpoint:
        """The first endpoint that is not resting after a failure; else the one whose rest ends first."""
        now = time.monotonic()
        awake = (endpoint for endpoint in self._endpoints if endpoint.resting_until <= now)
        return next(awake, None) or min(self._endpoints, key=lambda endpoint: endpoint.resting_until)


def decode_answer(kind: type[Answer], method: str, raw: bytes) -> Answer:
    """The JSON of a result as `kind`. Raises ChainError when it has another shape."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ChainError(f"The RPC's answer to {method} cannot be used: {error}") from error


def _result(method: str, envelope: _Envelope) -> bytes:
    error = envelope.error
    if error is None:
        return bytes(envelope.result)
    if error.code in _RETRYABLE_CODES:
        raise TransientRpcError(f"The RPC cannot answer {method} yet: {error.message} ({error.code}).")
    raise RpcError(method, error.code, error.message, error.data)


def _host(url: str) -> str:
    """An RPC URL often carries an API key in its query or path; only the host may be shown."""
    return f"The RPC at {httpx.URL(url).host}" if url.startswith("http") else "The RPC"
