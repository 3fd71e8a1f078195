"""Serve `POST /api/snapshots/run` on the service's own port, for operators: take a snapshot now."""

from __future__ import annotations

import hmac

import msgspec

from zmart.errors import Conflict, NotFound, StoreError, ZmartError
from zmart.ipfs.pinning import PinError
from zmart.market.times import now_iso
from zmart.services.contract import Receive, Scope, Send
from zmart.services.snapshots.runs import SnapshotResult, SnapshotRuns
from zmart.services.store_refusal import refusal_of

PATH = "/api/snapshots/run"
_BODY_MAX_BYTES = 4_096


class _RunRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    market_id: str | None = None


class _RunRefused(ZmartError):
    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error


class RunApi:
    """Serve one route. Body: {} for all markets, {market_id} for one (id or address)."""

    def __init__(self, runs: SnapshotRuns, operator_token: str) -> None:
        self._runs = runs
        self._token = operator_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope.get("path", "")
        try:
            snapshots = await self._run(scope, receive)
            await _send_json(send, 200, {"snapshots": snapshots, "count": len(snapshots)})
        except _RunRefused as refusal:
            await _send_json(
                send, refusal.status, _problem(refusal.status, refusal.error, str(refusal), path)
            )
        except (NotFound, Conflict, PinError) as problem:
            status, error = _STATUS[type(problem)]
            await _send_json(send, status, _problem(status, error, str(problem), path))
        except StoreError as problem:
            unavailable = refusal_of(problem)
            body = _problem(503, "Service Unavailable", unavailable.message, path)
            await _send_json(send, 503, body, unavailable.retry_after)

    async def _run(self, scope: Scope, receive: Receive) -> list[SnapshotResult]:
        if scope.get("path") != PATH:
            raise _RunRefused(404, "Not Found", f"This service answers POST {PATH}.")
        if scope["method"] != "POST":
            raise _RunRefused(405, "Method Not Allowed", f"{PATH} accepts POST only.")
        request = _parse_request(await _body(receive))
        self._authorize(scope)
        if request.market_id is None:
            return await self._runs.run_all()
        return [await self._runs.run_one(request.market_id)]

    def _authorize(self, scope: Scope) -> None:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        expected = f"Bearer {self._token}".encode()
        if not self._token or not hmac.compare_digest(given, expected):
            raise _RunRefused(401, "Unauthorized", "Send Authorization: Bearer <OPERATOR_TOKEN>.")


_STATUS: dict[type[Exception], tuple[int, str]] = {
    NotFound: (404, "Not Found"),
    Conflict: (409, "Conflict"),
    PinError: (502, "Bad Gateway"),
}


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _BODY_MAX_BYTES:
            raise _RunRefused(413, "Payload Too Large", f"The body may have at most {_BODY_MAX_BYTES} bytes.")
        if not message.get("more_body"):
            return bytes(body)


def _parse_request(body: bytes) -> _RunRequest:
    try:
        return msgspec.json.decode(body or b"{}", type=_RunRequest)
    except msgspec.DecodeError as problem:
        raise _RunRefused(400, "Bad Request", f"The body is not {{market_id?}}: {problem}") from None


def _problem(status: int, error: str, message: str, path: str) -> dict[str, object]:
    return {"error": error, "message": message, "status": status, "timestamp": now_iso(), "path": path}


async def _send_json(
    send: Send, status: int, body: dict[str, object], retry_after: str | None = None
) -> None:
    raw = msgspec.json.encode(body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(raw)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if retry_after is not None:
        headers.append((b"retry-after", retry_after.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})
