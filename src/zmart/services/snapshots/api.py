"""`POST /api/snapshots/run` on the service's own port, for operators: a snapshot now."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime

import msgspec

from zmart.errors import Conflict, NotFound, ZmartError
from zmart.ipfs.pinning import PinError
from zmart.services.contract import Receive, Scope, Send
from zmart.services.snapshots.runs import Made, Runs
from zmart.store.pool import is_away

PATH = "/api/snapshots/run"
_BODY_MAX_BYTES = 4_096


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    market_id: str | None = None


class _Refused(ZmartError):
    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error


class RunApi:
    """An ASGI application with one route. Body: {} for all markets, {market_id} for one (id or address)."""

    def __init__(self, runs: Runs, operator_token: str) -> None:
        self._runs = runs
        self._token = operator_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope.get("path", "")
        try:
            made = await self._run(scope, receive)
            await _answer(send, 200, {"snapshots": made, "count": len(made)})
        except _Refused as refusal:
            await _answer(send, refusal.status, _problem(refusal.status, refusal.error, str(refusal), path))
        except (NotFound, Conflict, PinError) as problem:
            status, error = _STATUS[type(problem)]
            await _answer(send, status, _problem(status, error, str(problem), path))
        except Exception as problem:
            if not is_away(problem):
                raise
            text = "The database is away; try again in a moment."
            await _answer(send, 503, _problem(503, "Service Unavailable", text, path))

    async def _run(self, scope: Scope, receive: Receive) -> list[Made]:
        if scope.get("path") != PATH:
            raise _Refused(404, "Not Found", f"This service answers POST {PATH}.")
        if scope["method"] != "POST":
            raise _Refused(405, "Method Not Allowed", f"{PATH} is called by POST.")
        order = _order(await _body(receive))
        self._authorize(scope)
        if order.market_id is None:
            return await self._runs.everything()
        return [await self._runs.one(order.market_id)]

    def _authorize(self, scope: Scope) -> None:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        expected = f"Bearer {self._token}".encode()
        if not self._token or not hmac.compare_digest(given, expected):
            raise _Refused(401, "Unauthorized", "Send Authorization: Bearer <OPERATOR_TOKEN>.")


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
            raise _Refused(413, "Payload Too Large", f"The body may have {_BODY_MAX_BYTES} bytes.")
        if not message.get("more_body"):
            return bytes(body)


def _order(body: bytes) -> _Order:
    try:
        return msgspec.json.decode(body or b"{}", type=_Order)
    except msgspec.DecodeError as problem:
        raise _Refused(400, "Bad Request", f"The body is not {{market_id?}}: {problem}") from None


def _problem(status: int, error: str, message: str, path: str) -> dict[str, object]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"error": error, "message": message, "status": status, "timestamp": now, "path": path}


async def _answer(send: Send, status: int, body: dict[str, object]) -> None:
    raw = msgspec.json.encode(body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(raw)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})
