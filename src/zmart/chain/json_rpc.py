"""Call JSON-RPC over HTTP: keep-alive, timeouts, retries with backoff, and failover to the next URL.

rpc_answer.py validates responses. An invalid response is a TransientRpcError and never means "no result". This client
uses httpx and msgspec instead of solana-py's client: a transaction's own JSON is stored unchanged, all calls share one
failover, and solders' response parser can raise pyo3's PanicException (a BaseException) on errors that it does not
expect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import TypeVar

import httpx
import msgspec

from zmart.chain.clock import ChainClock
from zmart.chain.endpoint_guard import ChainReport, EndpointGuard
from zmart.chain.rpc_answer import BadAnswer, JsonRpcError, is_json, read_answer
from zmart.chain.rpc_endpoint import Endpoint
from zmart.chain.rpc_errors import TransientRpcError
from zmart.errors import ChainError, SettingError
from zmart.loopback import client_options
from zmart.market.json_input import JSON_ERRORS
from zmart.retries import retry_context

Answer = TypeVar("Answer")
ReadReport = Callable[[Answer], ChainReport | ChainClock]
"""A function that returns which slot and time of the chain an answer reports."""

MAX_ANSWER_BYTES = 128 * 1024 * 1024
"""Maximum size of an answer in bytes, enough for a list of all positions. A client that reads no lists sets a lower
one."""
_MAX_REFUSAL_BYTES = 4_096
SILENT_S = 1.0
"""A call that is cancelled after this many seconds without an answer counts as a failure of its endpoint."""
_SLOWEST_ANSWER = 3
"""The whole answer may take this many times `timeout_s`: httpx limits only each read."""
_ADVICE = {
    401: ", it requires a valid API key",
    402: ", the plan's quota is used up",
    403: ", it refuses the API key",
    404: ", the URL is wrong",
    429: ", too many requests",
}


class EndpointAnswer(msgspec.Struct, frozen=True):
    """Hold what one endpoint answered: the raw JSON of its result, or its JSON-RPC error."""

    url: str
    name: str
    answer: bytes | JsonRpcError


class JsonRpc:
    """Call one logical node behind one or more URLs, the preferred one first.

    Close the client, or use it with `async with`. The constructor raises SettingError if there is no URL.
    """

    def __init__(
        self,
        urls: Sequence[str],
        timeout_s: float = 10.0,
        attempts: int = 5,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        *,
        logs_outages: bool = True,
    ) -> None:
        if not urls:
            raise SettingError("No Solana RPC is set; set SOLANA_RPC_URL (or HELIUS_RPC_URL).")
        self._endpoints = [Endpoint(url, logs_outages=logs_outages) for url in urls]
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._max_answer_bytes = max_answer_bytes
        self._ids = count(1)
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, pool=timeout_s * 2),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32),
            headers={"content-type": "application/json"},
            **client_options(*urls),
        )

    @property
    def name(self) -> str:
        """The endpoints' name for messages: "The RPC at" the hosts and ports."""
        first, *others = dict.fromkeys(endpoint.name for endpoint in self._endpoints)
        return " or ".join([first, *(name.removeprefix("The RPC at ") for name in others)])

    @property
    def is_paused(self) -> bool:
        """Whether every endpoint is paused after a failure, silence included: ask another client first, if any."""
        now = time.monotonic()
        return all(endpoint.paused_until > now for endpoint in self._endpoints)

    async def __aenter__(self) -> JsonRpc:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @property
    def urls(self) -> list[str]:
        """The URLs of the endpoints, each once, the preferred one first."""
        return list(dict.fromkeys(endpoint.url for endpoint in self._endpoints))

    def guard_with(self, guard: EndpointGuard) -> None:
        """Refuse answers of endpoints of another chain, and answers that the index's chain cannot give."""
        for endpoint in self._endpoints:
            endpoint.guard = guard
            guard.watch(endpoint.guarded)

    def refusals(self) -> Mapping[str, str]:
        """Return the reason for each endpoint whose answers are refused."""
        guard = self._endpoints[0].guard
        return {} if guard is None else guard.refusals()

    async def check_chain(self, *, now: bool = True) -> None:
        """Check that every endpoint belongs to the index's chain.

        With `now` each endpoint is asked at once, else only if its last check was some time ago. Raises
        TransientRpcError for an endpoint of another chain.
        """
        for endpoint in self._endpoints:
            await self._admit(endpoint, "getGenesisHash", now=now)

    async def request(
        self, method: str, params: Sequence[object] = (), report: ReadReport[bytes] | None = None
    ) -> bytes:
        """Return the raw JSON of `result`.

        Raises RpcError for an error that answers the call, and TransientRpcError after the last attempt.
        """
        return await self.read(bytes, method, params, report)

    async def typed(
        self,
        kind: type[Answer],
        method: str,
        params: Sequence[object] = (),
        report: ReadReport[Answer] | None = None,
    ) -> Answer:
        """Return `result` decoded as `kind`.

        A result of another shape counts as a failed attempt. Raises as `request` does.
        """
        return await self.read(partial(_decoded, kind), method, params, report)

    async def read(
        self,
        read: Callable[[bytes], Answer],
        method: str,
        params: Sequence[object] = (),
        report: ReadReport[Answer] | None = None,
    ) -> Answer:
        """Return `result` as the function `read` decodes it.

        If `read` raises BadAnswer, the attempt failed. `report` returns the slots and times in the answer, which the
        guard checks. Raises as `request` does.
        """
        request_id = next(self._ids)
        async for attempt in retry_context(
            on=TransientRpcError,
            attempts=self._attempts,
            timeout=self._timeout_s * self._attempts,
            wait_initial=0.1,
            wait_max=2.0,
            wait_jitter=0.1,
        ):
            with attempt:
                endpoint = self._pick()
                if method != "getGenesisHash":
                    await self._admit(endpoint, method)
                result = await self._once(endpoint, method, params, request_id)
                try:
                    answer = read(result)
                    if report is not None and endpoint.guard is not None:
                        await endpoint.guard.check(
                            endpoint.guarded, report(answer), partial(self._once, endpoint)
                        )
                    endpoint.answered()
                    return answer
                except BadAnswer as problem:
                    raise endpoint.failed(method, str(problem)) from problem
        raise TransientRpcError(f"The RPC did not answer {method}.")

    async def ask_each(
        self, urls: Sequence[str], method: str, params: Sequence[object]
    ) -> list[EndpointAnswer]:
        """Call each of these URLs once, all at the same time, and return their answers.

        Left out are those that no call would use now, belong to another chain or give no usable response, which pauses
        them. A JSON-RPC error does not.
        """
        now = time.monotonic()
        usable = [endpoint for endpoint in self._endpoints if endpoint.paused_until <= now]
        usable = usable or [min(self._endpoints, key=lambda endpoint: endpoint.paused_until)]
        due = [endpoint for endpoint in usable if endpoint.url in urls]
        answers = await asyncio.gather(*(self._ask_one(endpoint, method, params) for endpoint in due))
        return [answer for answer in answers if answer is not None]

    async def _ask_one(
        self, endpoint: Endpoint, method: str, params: Sequence[object]
    ) -> EndpointAnswer | None:
        try:
            await self._admit(endpoint, method)
            answer = await self._exchange(endpoint, method, params, next(self._ids))
        except ChainError:
            return None
        return EndpointAnswer(endpoint.url, endpoint.name, answer)

    async def _admit(self, endpoint: Endpoint, method: str, *, now: bool = False) -> None:
        if endpoint.guard is None:
            return
        try:
            call = partial(self._unless_failed, endpoint, endpoint.failures)
            await endpoint.guard.admit(endpoint.guarded, call, now=now)
        except BadAnswer as problem:
            raise endpoint.failed(method, str(problem)) from problem

    async def _unless_failed(
        self, endpoint: Endpoint, failures: int, method: str, params: Sequence[object]
    ) -> bytes:
        """Call the endpoint unless it failed while the caller waited for others that asked it for its chain."""
        if endpoint.failures > failures:
            raise TransientRpcError(f"{endpoint.name} did not answer {method}.")
        return await self._once(endpoint, method, params)

    async def _once(
        self, endpoint: Endpoint, method: str, params: Sequence[object], request_id: int | None = None
    ) -> bytes:
        request_id = next(self._ids) if request_id is None else request_id
        answer = await self._exchange(endpoint, method, params, request_id)
        if isinstance(answer, JsonRpcError):
            raise endpoint.refused(method, answer)
        return answer

    async def _exchange(
        self, endpoint: Endpoint, method: str, params: Sequence[object], request_id: int
    ) -> bytes | JsonRpcError:
        """Return what the endpoint answered. Raises TransientRpcError if it gave no usable response; it is paused."""
        body = _request(request_id, method, params)
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s * _SLOWEST_ANSWER):
                raw = await self._post(endpoint.url, body)
            return read_answer(raw, request_id)
        except asyncio.CancelledError:  # who asked has given up: the next call prefers another endpoint
            if time.monotonic() - began_s >= SILENT_S:
                endpoint.failed(method, "it was silent", began_s)
            raise
        except (httpx.HTTPError, httpx.InvalidURL, BadAnswer, TimeoutError) as error:
            raise endpoint.failed(method, str(error) or type(error).__name__, began_s) from error

    async def _post(self, url: str, body: bytes) -> bytes:
        """Return the body of a response with status 200 and a JSON content type.

        Raises BadAnswer, with the node's message, for any other response.
        """
        async with self._http.stream("POST", url, content=body) as response:
            content_type = response.headers.get("content-type", "")
            is_usable = response.status_code == httpx.codes.OK and is_json(content_type)
            most = self._max_answer_bytes if is_usable else _MAX_REFUSAL_BYTES
            read = bytearray()
            async for chunk in response.aiter_bytes():
                read += chunk
                if len(read) > most:
                    break
        if not is_usable:
            raise BadAnswer(_unusable(response.status_code, content_type, bytes(read)))
        if len(read) > most:
            raise BadAnswer(f"it answered more than {most} bytes")
        return bytes(read)

    def _pick(self) -> Endpoint:
        """Return the first endpoint that is not paused after a failure.

        When a pause is over, one call tries the endpoint; the others wait for its result with another endpoint. If all
        are paused, return the one whose pause ends first.
        """
        now = time.monotonic()
        for endpoint in self._endpoints:
            if endpoint.paused_until <= now:
                if endpoint.failures:
                    endpoint.is_tried, endpoint.paused_until = True, now + self._timeout_s
                return endpoint
        return min(self._endpoints, key=lambda endpoint: endpoint.paused_until)


def _request(request_id: int, method: str, params: Sequence[object]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "method": method, "params": list(params)})


def decode_answer(kind: type[Answer], method: str, raw: bytes) -> Answer:
    """Decode a result as `kind`. Raises TransientRpcError if it has another shape."""
    try:
        return _decoded(kind, raw)
    except BadAnswer as problem:
        raise TransientRpcError(f"The RPC's answer to {method} cannot be used: {problem}.") from problem


def _decoded(kind: type[Answer], raw: bytes) -> Answer:
    try:
        return msgspec.json.decode(raw, type=kind)
    except JSON_ERRORS as error:
        raise BadAnswer(f"its result has another shape: {error}") from error


def _unusable(status: int, content_type: str, body: bytes) -> str:
    message = f": {body.decode(errors='replace')}" if body.strip() else ""
    if status != httpx.codes.OK:
        return f"HTTP {status}{_ADVICE.get(status, '')}{message}"
    return f"it answered with {content_type} instead of JSON{message}"
