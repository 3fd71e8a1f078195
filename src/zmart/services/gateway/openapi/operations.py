"""Complete an operation's description by what the layers around its handler add: parameters, headers, and the errors of
middleware and limits."""

from __future__ import annotations

import re

from litestar.handlers import HTTPRouteHandler
from litestar.params import BodyKwarg

from zmart.services.gateway.http.request_guard import LIMIT, NO_LIMIT
from zmart.services.gateway.http.responses import CHAIN
from zmart.services.gateway.http.security import SIGNATURE
from zmart.services.gateway.openapi import shapes
from zmart.services.gateway.openapi.answers.lookup import example_of
from zmart.services.gateway.openapi.declarations import LINKS, MEANINGS, link_objects
from zmart.services.gateway.openapi.shapes import Schema

_OF_EVERYTHING = (400, 414, 500, 503)
_OF_WRITES = (408, 413, 415)
_NUMERIC = {
    "name": "numeric",
    "in": "query",
    "required": False,
    "description": "string: lamports and shares as text",
    "schema": {"type": "string", "enum": ["number", "string"]},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "an `ETag`: 304 when it still names the answer",
    "schema": {"type": "string"},
}
_CHAIN_HEADERS = {
    "ETag": {"schema": {"type": "string"}, "required": True, "description": "Names this very answer."},
    "X-As-Of-Slot": {
        "schema": {"type": "integer", "minimum": 0},
        "required": True,
        "description": "The slot through which the index is complete.",
    },
}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "required": True, "description": "Seconds."}}
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def complete(operation: Schema, method: str, path: str, handler: HTTPRouteHandler) -> list[type]:
    """Complete the OpenAPI operation of a handler in place. Return the types of its body and its answer, whose schemas
    have to be published."""
    operation["summary"] = _sentence(operation["operationId"])
    operation.pop("deprecated", None)
    operation.setdefault("security", [])
    _add_parameters(operation, method, path, handler)
    answer, kinds = shapes.of_answer(handler.parsed_fn_signature.return_type.annotation)
    answered = operation["responses"][str(handler.status_code)]
    answered["content"]["application/json"]["schema"] = answer
    if (value := example_of(kinds[0], in_list=answer.get("type") == "array")) is not None:
        answered["content"]["application/json"]["examples"] = {"usual": {"value": value}}
    answered["headers"] = _CHAIN_HEADERS if CHAIN in handler.opt else {}
    if LINKS in handler.opt:
        answered["links"] = link_objects(handler.opt[LINKS])
    _add_refusals(operation, method, handler)
    if "requestBody" in operation:
        kinds.append(_describe_body(operation, handler))
    return kinds


def declare_other_calls(paths: Schema) -> None:
    """Add 405 to the operations with a parameter in their path that may be the name of another call, such as
    `proposal` for a market in `GET /api/votes/{key}`: the router prefers that call, which may lack the method."""
    for path, item in paths.items():
        for method, operation in item.items():
            if any(method not in other for literal, other in paths.items() if _is_one_of(literal, path)):
                operation["responses"]["405"] = _refusal(405)
                operation["responses"] = dict(sorted(operation["responses"].items()))


def _is_one_of(literal: str, path: str) -> bool:
    """Whether a path without some of another's parameters is also one of the other's paths."""
    ones, others = literal.split("/"), path.split("/")
    return (
        literal != path
        and len(ones) == len(others)
        and all(
            one == other or (other.startswith("{") and not one.startswith("{"))
            for one, other in zip(ones, others, strict=True)
        )
    )


def _refusal(status: int) -> Schema:
    return {"description": MEANINGS[status], "content": {"application/json": {"schema": _PROBLEM}}}


def _sentence(operation_id: str) -> str:
    """Return an operation's summary, made of its id: "List markets" of ListMarkets."""
    sentence = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", operation_id)
    return sentence[0] + sentence[1:].lower()


def _add_parameters(operation: Schema, method: str, path: str, handler: HTTPRouteHandler) -> None:
    parameters = [
        {name: value for name, value in item.items() if value is not False or name == "required"}
        for item in operation.pop("parameters", ())
    ]
    if method == "get" and path.startswith("/api/"):
        parameters.append(_NUMERIC)
    if CHAIN in handler.opt:
        parameters.append(_IF_NONE_MATCH)
    if parameters:
        operation["parameters"] = parameters


def _add_refusals(operation: Schema, method: str, handler: HTTPRouteHandler) -> None:
    """Add the errors with which the router and its middleware answer, and 304, to the responses that the handler's
    decorator declares."""
    responses = operation["responses"]
    statuses = [*_OF_EVERYTHING, *(_OF_WRITES if method != "get" else ())]
    if operation["security"] and {} not in operation["security"]:
        statuses.append(401)
        if any(SIGNATURE in option for option in operation["security"]):
            statuses.append(403)  # the body names another wallet
    if handler.opt.get(LIMIT) != NO_LIMIT:
        statuses.append(429)
    for status in statuses:
        if status not in (handler.responses or {}):
            responses[str(status)] = _refusal(status)
        if status in (429, 503):
            responses[str(status)]["headers"] = _RETRY
    if CHAIN in handler.opt:
        responses["304"] = {"description": MEANINGS[304], "headers": _CHAIN_HEADERS}
    operation["responses"] = dict(sorted(responses.items()))


def _describe_body(operation: Schema, handler: HTTPRouteHandler) -> type:
    data = handler.parsed_fn_signature.parameters["data"]
    content = operation["requestBody"]["content"]["application/json"] = {
        "schema": shapes.reference(data.annotation)
    }
    if isinstance(data.kwarg_definition, BodyKwarg) and data.kwarg_definition.examples:
        content["examples"] = {"usual": {"value": data.kwarg_definition.examples[0].value}}
    kind: type = data.annotation
    return kind
