"""Serve `POST /api/snapshots/run` on the service's own port: an operator has snapshots taken now."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import assert_never

import msgspec

from zmart.bearer import bearer_token
from zmart.client.shapes.system import FieldProblem
from zmart.errors import Conflict, NotFound, StoreError, ZmartError
from zmart.ipfs.pinning import PinError
from zmart.market.json_input import JSON_ERRORS
from zmart.services.contract import Receive, Scope, Send
from zmart.services.field_problems import of_body
from zmart.services.plain_http import (
    content_encoding_problem,
    path_of,
    read_body,
    send_json,
    send_problem,
    send_store_problem,
)
from zmart.services.request_body import RequestBody
from zmart.services.snapshots.runs import SnapshotResult, SnapshotRuns

PATH = "/api/snapshots/run"
_BODY_MAX_BYTES = 4_096


class _RunRequest(RequestBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    market_id: str | None = None


class _RunRefused(ZmartError):
    def __init__(self, status: int, message: str, details: Sequence[FieldProblem] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


class RunApi:
    """An ASGI application with the route POST /api/snapshots/run, for the bearer of `operator_token`.

    The body is {} for all markets, or {"market_id": M} for one market, by id or address.
    """

    def __init__(self, runs: SnapshotRuns, operator_token: str) -> None:
        self._runs = runs
        self._token = operator_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the requested snapshots and answer {snapshots, count}, or with an error in the shape of all errors."""
        if scope["type"] != "http":
            return
        try:
            snapshots = await self._run(scope, receive)
            await send_json(send, 200, {"snapshots": snapshots, "count": len(snapshots)})
        except _RunRefused as refusal:
            allow = ((b"allow", b"POST"),) if refusal.status == 405 else ()
            await send_problem(
                send, scope, refusal.status, str(refusal), headers=allow, details=refusal.details
            )
        except (NotFound, Conflict, PinError) as problem:
            await send_problem(send, scope, _status_of(problem), str(problem))
        except StoreError as problem:
            await send_store_problem(send, scope, problem)

    async def _run(self, scope: Scope, receive: Receive) -> list[SnapshotResult]:
        if path_of(scope) != PATH:
            path = scope["path"][:200]
            raise _RunRefused(404, f"There is no {path} here: this service answers POST {PATH}.")
        if scope["method"] != "POST":
            raise _RunRefused(405, f"{PATH} accepts POST only.")
        self._authorize(scope)
        if (problem := content_encoding_problem(scope)) is not None:
            raise _RunRefused(415, problem)
        body = await read_body(receive, _BODY_MAX_BYTES)
        if body is None:
            raise _RunRefused(413, f"The body may have at most {_BODY_MAX_BYTES} bytes.")
        request = _parse_request(body)
        if request.market_id is None:
            return await self._runs.run_all()
        return [await self._runs.run_one(request.market_id)]

    def _authorize(self, scope: Scope) -> None:
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        given = bearer_token(sent.decode("latin-1"))
        if not self._token or not given or not hmac.compare_digest(given.encode(), self._token.encode()):
            unset = "" if self._token else " OPERATOR_TOKEN is not set here: without it nobody may."
            raise _RunRefused(
                401,
                "A snapshot is taken for the operator: send Authorization: Bearer <OPERATOR_TOKEN> (docs/snapshots.md)."
                + unset,
            )


def _status_of(problem: NotFound | Conflict | PinError) -> int:
    match problem:
        case NotFound():
            return 404
        case Conflict():
            return 409
        case PinError():
            return 502
        case _:
            assert_never(problem)


def _parse_request(body: bytes) -> _RunRequest:
    try:
        return msgspec.json.decode(body or b"{}", type=_RunRequest)
    except msgspec.ValidationError as problem:
        details = list(of_body(_RunRequest, body))
        message = " ".join(detail.message for detail in details) or f"The body is not as described: {problem}"
        raise _RunRefused(400, message, details) from None
    except JSON_ERRORS as problem:
        raise _RunRefused(400, f"The body is not JSON: {problem}") from None
