"""Turn every exception into an error response, all of one shape (client.shapes.system.Problem)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException

from zmart.client.shapes.system import FieldProblem
from zmart.errors import (
    ChainError,
    Conflict,
    Forbidden,
    IndexIncomplete,
    Invalid,
    InvalidFields,
    NotEligible,
    NotFound,
    PricingError,
    ProgramError,
    StoreError,
    Unauthenticated,
    ZmartError,
)
from zmart.services.connection_bounds import SlowBody, UnfinishedBody
from zmart.services.gateway.explorer.templating import page
from zmart.services.gateway.http.auth.proof_help import WWW_AUTHENTICATE, proof_details, proof_message
from zmart.services.gateway.http.invalid_fields import field_problems
from zmart.services.gateway.http.request_context import request_context
from zmart.services.gateway.http.security import accepted_proofs
from zmart.services.problem_body import name_of, problem_body
from zmart.services.store_refusal import refusal_of

log = structlog.get_logger()

GatewayRequest = Request[Any, Any, State]
"""Litestar's request. Its `user` and `auth` are not used here: handlers get a RequestAuth (http/request_auth.py)."""

_STATUS: tuple[tuple[type[ZmartError], int], ...] = (
    (NotFound, 404),
    (Invalid, 400),
    (Conflict, 409),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (PricingError, 409),
    (ProgramError, 409),
    (IndexIncomplete, 503),
    (ChainError, 503),
)
_RETRY_AFTER_S = "2"
_INPUT_PROBLEMS = {"TradeTooSmall", "InvalidBParameter", "OverflowError"}
_RULES = "The request does not meet its rules: see details."
_INTERNAL = "The server failed. Try again; if this persists, report this request_id to the operator."


class UnsupportedBody(ZmartError):
    """The body has another media type than JSON, or is compressed. Answered with 415."""


class TooManyRequests(ZmartError):
    """The client has exceeded a rate limit; answered with 429. `headers` are those of the limit, with Retry-After."""

    def __init__(self, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


def problem_answer(request: GatewayRequest, problem: Exception) -> Response[Any]:
    """Return the response to an exception: JSON, or a page for a browser that requested one. An exception that is
    answered with 500 is logged with its traceback; the client then gets only the request id."""
    status, message, details = explain(problem)
    if isinstance(problem, ValidationException | Invalid):
        message, details = _of_fields(request, message, details)
    if status in (401, 403) and not details:
        proofs = accepted_proofs(request.scope["route_handler"])
        details = proof_details(problem, proofs)
        if isinstance(problem, Unauthenticated):
            message = proof_message(problem, proofs)
    if status == 500:
        log.error("request failed", path=request.scope["path"], exc_info=problem)
    elif isinstance(problem, StoreError):
        log.warning("request refused", path=request.scope["path"], reason=str(problem))
    headers = {"Cache-Control": "no-store"}  # what is missing now may be indexed in a moment
    if isinstance(problem, TooManyRequests):
        headers |= problem.headers
    if isinstance(problem, HTTPException) and problem.headers:
        headers |= {name: value for name, value in problem.headers.items() if name.lower() == "allow"}
    if status == 401:
        headers["WWW-Authenticate"] = WWW_AUTHENTICATE
    if status == 408:
        headers["Connection"] = "close"
    if status == 503:
        headers["Retry-After"] = _RETRY_AFTER_S
    if isinstance(problem, StoreError):
        headers["Retry-After"] = refusal_of(problem).retry_after
    request_id = request_context(request.scope).request_id
    if _wants_page(request):
        title = name_of(status)
        displayed = page(
            "problem.html", status_code=status, title=title, message=message, request_id=request_id
        )
        displayed.headers.update(headers)
        return displayed
    body = problem_body(status, message, request.scope["path"], request_id, details)
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def _of_fields(
    request: GatewayRequest, message: str, details: list[FieldProblem]
) -> tuple[str, list[FieldProblem]]:
    """Return message and details of a 400: the problems that the handler found, and all others that the parameters and
    the body of the request have."""
    body = request_context(request.scope).body
    handler, query = request.scope["route_handler"], request.query_params.dict()
    problems = field_problems(handler, {name: values[-1] for name, values in query.items()}, body)
    known = {detail.field for detail in details}
    details = details + [item for item in problems if item.field not in known]
    if len(details) == 1:
        return details[0].message, details
    return _RULES, details or [FieldProblem(field="body", message=message)]


def _wants_page(request: GatewayRequest) -> bool:
    """Return whether a browser requested a page: a path outside the API, with text/html in Accept."""
    is_api = request.scope["path"].startswith(("/api", "/health"))
    return not is_api and "text/html" in request.headers.get("accept", "")


def explain(problem: Exception) -> tuple[int, str, list[FieldProblem]]:
    """Return the HTTP status, the message and the details with which an exception is answered."""
    match problem:
        case TooManyRequests():
            return 429, str(problem), []
        case UnsupportedBody():
            return 415, str(problem), []
        case UnfinishedBody():
            return 400, str(problem), []
        case SlowBody():
            return 408, str(problem), []
        case RecursionError():
            return 400, "The request cannot be read: its JSON is nested too deeply.", []
        case InvalidFields():
            return 400, _RULES, [_field_problem(item) for item in problem.problems]
        case Invalid():
            return 400, str(problem), [_field_problem(problem)]
        case NotEligible():
            return 403, str(problem), _not_eligible(problem)
        case PricingError() if problem.name in _INPUT_PROBLEMS:
            return 400, str(problem), []
        case ValidationException():
            return 400, _RULES, []
        case HTTPException():
            return _of_framework(problem)
        case StoreError():
            return 503, refusal_of(problem).message, []
    for kind, status in _STATUS:
        if isinstance(problem, kind):
            return status, str(problem), []
    return 500, _INTERNAL, []


def _field_problem(problem: Invalid) -> FieldProblem:
    return FieldProblem(field=problem.field, message=str(problem))


def _not_eligible(problem: NotEligible) -> list[FieldProblem]:
    parts = (("rule", problem.rule), ("wallet", problem.reason), ("remedy", problem.remedy))
    return [FieldProblem(field=field, message=message) for field, message in parts]


def _of_framework(problem: HTTPException) -> tuple[int, str, list[FieldProblem]]:
    match problem.status_code:
        case 404:
            return 404, "There is no such path: GET /docs lists all paths.", []
        case 405:
            return 405, "This path does not support that method: GET /docs lists the methods.", []
        case 413:
            return 413, "The body is too large: send less than MAX_BODY_BYTES (64 KiB unless changed).", []
        case 400:
            return 400, f"The request cannot be read: {problem.detail or 'malformed JSON'}", []
        case status if status >= 500:
            return 500, _INTERNAL, []
    return problem.status_code, problem.detail, []
