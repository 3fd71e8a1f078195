"""Serve `POST /api/snapshots/run` on the service's own port, for operators: take a snapshot now."""

from __future__ import annotations

import hmac

import msgspec

from zmart.errors import Conflict, NotFound, StoreError, ZmartError
from zmart.ipfs.pinning import PinError
from zmart.services.contract import Receive, Scope, Send
from zmart.services.plain_http import read_body, send_json, send_problem, send_store_problem
from zmart.services.snapshots.runs import SnapshotResult, SnapshotRuns

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
            await send_json(send, 200, {"snapshots": snapshots, "count": len(snapshots)})
        except _RunRefused as refusal:
            await send_problem(send, refusal.status, refusal.error, str(refusal), path)
        except (NotFound, Conflict, PinError) as problem:
            status, error = _STATUS[type(problem)]
            await send_problem(send, status, error, str(problem), path)
        except StoreError as problem:
            await send_store_problem(send, problem, path)

    async def _run(self, scope: Scope, receive: Receive) -> list[SnapshotResult]:
        if scope.get("path") != PATH:
            raise _RunRefused(404, "Not Found", f"This service answers POST {PATH}.")
        if scope["method"] != "POST":
            raise _RunRefused(405, "Method Not Allowed", f"{PATH} accepts POST only.")
        self._authorize(scope)
        body = await read_body(receive, _BODY_MAX_BYTES)
        if body is None:
            raise _RunRefused(413, "Payload Too Large", f"The body may have at most {_BODY_MAX_BYTES} bytes.")
        request = _parse_request(body)
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


def _parse_request(body: bytes) -> _RunRequest:
    try:
        return msgspec.json.decode(body or b"{}", type=_RunRequest)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as problem:
        raise _RunRefused(400, "Bad Request", f"The body is not {{market_id?}}: {problem}") from None
