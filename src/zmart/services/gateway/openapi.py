"""The published description of the API, generated from the handlers, and the reference page made from it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

import zmart

_DESCRIPTION = """\
Markets of the ZMART program on Solana: read them, and build the transactions that your wallet signs.

Lamports and shares are integers in units of 1e-9; `?numeric=string` sends each as text. Chain-derived answers carry
`ETag` and `X-As-Of-Slot`, the slot through which the index is complete. Every error has the shape of `Problem`."""

# The schema is plain JSON: its shape is OpenAPI 3.1's.
Schema = dict[str, Any]

OPENAPI = OpenAPIConfig(
    title="ZMART gateway",
    version=getattr(zmart, "__version__", "0.1.0"),
    description=_DESCRIPTION,
    path="/api/schema",
    use_handler_docstrings=True,
    render_plugins=[],
    components=Components(
        security_schemes={
            "session": SecurityScheme(
                type="http", scheme="bearer", description="a token of POST /api/auth/verify"
            ),
            "operator": SecurityScheme(type="http", scheme="bearer", description="OPERATOR_TOKEN"),
        }
    ),
)

_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "The body of every answer from 400 on.",
    "required": ["error", "message", "status", "timestamp", "path", "request_id"],
    "properties": {
        "error": {"type": "string"},
        "message": {"type": "string", "description": "what happened and what to do"},
        "status": {"type": "integer"},
        "timestamp": {"type": "string"},
        "path": {"type": "string"},
        "request_id": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_REFUSED = {
    "description": "Refused: 400, 401, 403, 404, 405, 409, 413, 415, 429 or 500, 503",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_NUMERIC = {
    "name": "numeric",
    "in": "query",
    "required": False,
    "description": "string: lamports and shares as text",
    "schema": {"type": "string", "enum": ["number", "string"]},
}
_OPEN_WRITES = ("/api/auth/", "/api/transactions")


@lru_cache(maxsize=1)
def document(app: Litestar) -> Schema:
    """The OpenAPI 3.1 document: what Litestar reads from the handlers, with our one shape of errors."""
    schema: Schema = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    schema["components"].setdefault("schemas", {})["Problem"] = _PROBLEM
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            _finish(path, method, operation)
    return schema


@lru_cache(maxsize=1)
def published(app: Litestar) -> bytes:
    """The document's JSON."""
    return msgspec.json.encode(document(app))


def _finish(path: str, method: str, operation: Schema) -> None:
    operation["responses"] = {
        status: answer for status, answer in operation["responses"].items() if int(status) < 400
    } | {"default": _REFUSED}
    if method == "get" and path.startswith("/api/"):
        operation.setdefault("parameters", []).append(_NUMERIC)
    if method != "get" and not path.startswith(_OPEN_WRITES):
        only_operator = "operator" in operation.get("tags", ())
        operation["security"] = [{"operator": []}] if only_operator else [{"session": []}]


def fields_of(schema: Schema, part: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """Name, type and description of each field of a body or answer, for the reference page."""
    named = _resolved(schema, part or {})
    if named.get("type") == "array":
        named = _resolved(schema, named.get("items", {}))
    rows = []
    for name, field in named.get("properties", {}).items():
        optional = "" if name in named.get("required", ()) else "?"
        rows.append((name + optional, type_of(field), str(field.get("description", ""))))
    return rows


def type_of(field: Mapping[str, Any]) -> str:
    """The type of a field in a word or two."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    for key in ("oneOf", "anyOf"):
        if key in field:
            return " | ".join(dict.fromkeys(type_of(option) for option in field[key]))
    if field.get("type") == "array":
        return f"{type_of(field.get('items', {}))}[]"
    kind = field.get("type", "any")
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _resolved(schema: Schema, part: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in part:
        return part
    name = str(part["$ref"]).rpartition("/")[2]
    found: Mapping[str, Any] = schema["components"]["schemas"].get(name, {})
    return found
