"""What a call takes, answers and refuses with, beyond what its handler's types say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar.handlers import HTTPRouteHandler

from zmart.services.gateway.http.request_guard import LIMIT, NO_LIMIT
from zmart.services.gateway.http.responses import CHAIN
from zmart.services.gateway.openapi.examples import BODIES, MARKET, WALLET
from zmart.services.gateway.openapi.links import LINKS
from zmart.services.gateway.openapi.shapes import Schema

_EVENTS = "market_state|trade|vote|discussion"
_TIME = {"type": "string", "format": "moment", "description": "ISO 8601, or milliseconds since 1970"}
_STATES = ["PROPOSED", "APPROVED", "ACTIVE", "RESOLVING", "DISPUTED", "FINALIZED", "CANCELLED"]
_PARAMETERS: dict[str, Schema] = {
    "key": {"$ref": "#/components/schemas/MarketKey"},
    "market_id": {"$ref": "#/components/schemas/MarketKey"},
    "wallet": {"$ref": "#/components/schemas/Wallet"},
    "creator": {"$ref": "#/components/schemas/Wallet"},
    "signature": {"$ref": "#/components/schemas/Signature"},
    "cursor": {"type": "string", "format": "cursor"},
    "types": {"type": "string", "pattern": f"^(({_EVENTS})(,({_EVENTS}))*)?$"},
    "start": _TIME,
    "end": _TIME,
    "interval": {"type": "string", "enum": ["1m", "5m", "1h", "1d"], "default": "1h"},
    "window": {"type": "string", "enum": ["24h", "7d", "30d", "all"], "default": "all"},
    "outcome": {"type": "string", "enum": ["YES", "NO", "yes", "no", "true", "false", "1", "0"]},
    "state": {"type": "string", "enum": [*_STATES, "DRAFT", *"0123456"], "description": "a name, or 0-6"},
    "offset": {"type": "integer", "minimum": 0, "maximum": 100_000, "default": 0},
    "q": {"type": "string", "maxLength": 200, "description": "words, as people type them"},
    "shares": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    "max_cost": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    "min_shares": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    "slippage_bps": {"type": "integer", "minimum": 0, "maximum": 10_000},
    "since": {"type": "integer", "minimum": 0, "maximum": 10**14},
    "service": {
        "type": "string",
        "enum": ["event-indexer", "vote-aggregator", "market-monitor", "websocket", "ipfs", "gateway"],
    },
}
"""By name; the words of an enum are refused with 400 where they are not one of these."""
_OF_CALL: dict[tuple[str, str, str], Schema] = {
    ("get", "/api/markets/activity", "type"): {
        "type": "string", "enum": ["all", "trade", "vote", "discussion", "market"],
    },
    ("get", "/api/users/{wallet}/votes", "type"): {
        "type": "string", "enum": ["all", "proposal", "dispute"], "default": "all",
    },
    ("get", "/api/votes/{key}/log", "start"): {"type": "integer", "minimum": 0, "maximum": 2**40, "default": 0},
    ("delete", "/api/discussions/{key}", "key"): {"type": "string", "format": "uuid", "description": "a comment"},
}  # fmt: skip
"""Where the same name means another thing."""
_MAY_BE_EMPTY = ("state", "creator", "market_id", "type")
_EXAMPLES = {"key": MARKET, "market_id": MARKET, "wallet": WALLET}
_NUMERIC = {
    "name": "numeric",
    "in": "query",
    "required": False,
    "description": "string: lamports and shares as text",
    "schema": {"type": "string", "enum": ["number", "string"]},
}
_SAID = {
    304: "Not Modified: what `If-None-Match` names is still what would be answered.",
    400: "A value does not meet its rule, or the body is no JSON; `details` names the fields.",
    401: "Nobody proved who is calling.",
    403: "The caller is known and may not do this.",
    404: "What the path or the body names does not exist.",
    408: "The body did not arrive in time.",
    409: "The present state does not allow it; for a trade, the program's refusal in words.",
    413: "The body is larger than `MAX_BODY_BYTES`.",
    415: "The body is not JSON.",
    429: "The caller's limit is used up: `Retry-After` says for how long.",
    500: "Something went wrong here; `request_id` is what the operator needs.",
    503: "The database, Redis or the chain is away, or busy: `Retry-After`.",
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
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "an `ETag`: 304 when it still names the answer",
    "schema": {"type": "string"},
}
_MAY_CONFLICT = ("lifecycle", "trading", "operator", "votes", "transactions")


def describe(path: str, method: str, operation: Schema, handler: HTTPRouteHandler) -> None:
    """Completes an operation in place."""
    is_chain, is_read = CHAIN in handler.opt, method == "get"
    tags = operation.get("tags", ["other"])
    parameters = [_parameter(path, method, item) for item in operation.get("parameters", ())]
    if is_read and path.startswith("/api/"):
        parameters.append(_NUMERIC)
    if is_chain:
        parameters.append(_IF_NONE_MATCH)
    if parameters:
        operation["parameters"] = parameters
    if security := _security(path, method, tags):
        operation["security"] = security
    answered = {status: answer for status, answer in operation["responses"].items() if int(status) < 400}
    for answer in answered.values():
        answer["headers"] = dict(_CHAIN_HEADERS) if is_chain else {}
        if path_links := LINKS.get((method, path)):
            answer["links"] = path_links
    refused = _refusals(path, method, operation, handler, tags)
    operation["responses"] = answered | {str(status): _problem(status) for status in refused}
    if path.startswith("/health/"):
        silent = operation["responses"]["503"]["content"]["application/json"]
        silent["schema"] = {"anyOf": [{"$ref": "#/components/schemas/ServiceHealth"}, silent["schema"]]}
    if is_chain:
        operation["responses"]["304"] = {"description": _SAID[304], "headers": dict(_CHAIN_HEADERS)}
    if example := BODIES.get((method, path)):
        operation["requestBody"]["content"]["application/json"]["examples"] = {"usual": {"value": example}}


def _parameter(path: str, method: str, item: Schema) -> Schema:
    name, said = item["name"], item["schema"]
    schema = _OF_CALL.get((method, path, name)) or _PARAMETERS.get(name) or _without_null(said)
    if {"type": "null"} in said.get("oneOf", ()):  # the word null is nothing, too: old clients send it
        nothing: list[Schema] = [{"type": "null"}, *([{"const": ""}] if name in _MAY_BE_EMPTY else [])]
        schema = {"anyOf": [schema, *nothing]}
    kept: Schema = {"name": name, "in": item["in"], "required": item["required"], "schema": schema}
    if "description" in item:
        kept["description"] = item["description"]
    if name in _EXAMPLES:
        kept["example"] = _EXAMPLES[name]
    return kept


def _without_null(schema: Schema) -> Schema:
    """The schema of a parameter that is not left out."""
    options = [option for option in schema.get("oneOf", ()) if option != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "oneOf"}
    rest = {name: int(value) if isinstance(value, float) else value for name, value in rest.items()}
    return {**options[0], **rest} if len(options) == 1 else rest or schema


def _security(path: str, method: str, tags: Sequence[str]) -> list[Schema]:
    if "operator" in tags:
        return [{"operator": []}, {"session": []}]
    if method == "get" or path.startswith(("/api/auth/nonce", "/api/auth/verify", "/api/transactions")):
        return []
    if path.startswith("/api/auth/logout"):
        return [{"session": []}]
    proofs: list[Schema] = [{"session": []}, {"signature": []}]
    return [*proofs, {}] if "votes" in tags else proofs


def _refusals(
    path: str, method: str, operation: Schema, handler: HTTPRouteHandler, tags: Sequence[str]
) -> list[int]:
    places = {item["in"] for item in operation.get("parameters", ())}
    names = {item["name"] for item in operation.get("parameters", ())}
    found = {400, 500, 503}
    if handler.opt.get(LIMIT) != NO_LIMIT:
        found.add(429)
    if "path" in places or "requestBody" in operation or names & {"creator", "market_id"}:
        found.add(404)
    if method != "get":
        found |= {408, 413, 415}
    if operation.get("security") or path in ("/api/auth/verify", "/api/markets"):
        found.add(401)
    if operation.get("security"):
        found.add(403)
    if (method != "get" and set(tags) & set(_MAY_CONFLICT)) or path.endswith("/quote"):
        found.add(409)
    return sorted(found)


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": _SAID[status],
        "headers": dict(_RETRY) if status in (429, 503) else {},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
