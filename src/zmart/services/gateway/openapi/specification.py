"""The published description of the API, generated from the handlers and the shapes of what they take and answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import HTTPRoute

import zmart
from zmart.services.gateway.openapi import operation_ids, operations, shapes
from zmart.services.gateway.openapi.shapes import Schema

_DESCRIPTION = """\
Markets of the ZMART program on Solana: read them, and build the transactions that your wallet signs.

Lamports and shares are integers in units of 1e-9; `?numeric=string` sends each as text. Chain-derived answers carry
`ETag` and `X-As-Of-Slot`, the slot through which the index is complete. Every error has the shape of `Problem`."""

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
                type="http", scheme="bearer", description="A token of POST /api/auth/verify."
            ),
            "operator": SecurityScheme(type="http", scheme="bearer", description="OPERATOR_TOKEN."),
            "signature": SecurityScheme(
                type="apiKey",
                name="Authorization",
                security_scheme_in="header",
                description="`Signature message=...&signature=...&wallet=...`: a request of an older client, signed "
                "by its wallet; the same three may stand in the body.",
            ),
        }
    ),
)


@lru_cache(maxsize=1)
def document(app: Litestar) -> Schema:
    """The OpenAPI 3.1 document."""
    schema: Schema = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    handlers = _handlers(app)
    kinds: list[type] = []
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            handler = handlers[method, path]
            kinds += _bodies(operation, handler)
            operation["operationId"], operation["summary"] = operation_ids.of(method, path)
            operation.pop("deprecated", None)
            operations.describe(path, method, operation, handler)
    schema["components"]["schemas"] |= shapes.components(kinds)
    plain: Schema = msgspec.json.decode(msgspec.json.encode(schema))
    return plain


@lru_cache(maxsize=1)
def published(app: Litestar) -> bytes:
    """The document's JSON."""
    return msgspec.json.encode(document(app))


def _handlers(app: Litestar) -> dict[tuple[str, str], HTTPRouteHandler]:
    return {
        (method.lower(), route.path_format): handler
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
    }


def _bodies(operation: Schema, handler: HTTPRouteHandler) -> list[type]:
    """Says what goes in and out, by our own schemas; the types that these need."""
    signature = handler.parsed_fn_signature
    answer, kinds = shapes.of_answer(signature.return_type.annotation)
    for status, response in operation["responses"].items():
        if int(status) < 400 and "content" in response:
            response["content"]["application/json"]["schema"] = answer
    data = signature.parameters.get("data")
    return kinds if data is None else [*kinds, data.annotation]


def fields_of(schema: Schema, part: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """Name, type and description of each field of a body or answer, for pages of reference."""
    named = _resolved(schema, part or {})
    if named.get("type") == "array":
        named = _resolved(schema, named.get("items", {}))
    if "anyOf" in named:
        named = _resolved(schema, named["anyOf"][0])
    rows = []
    for name, field in named.get("properties", {}).items():
        optional = "" if name in named.get("required", ()) else "?"
        rows.append((name + optional, type_of(field), str(field.get("description", ""))))
    return rows


def type_of_parameter(schema: Mapping[str, Any]) -> str:
    """The same for a parameter, where nothing is said by leaving it out."""
    return type_of(schema["anyOf"][0] if "anyOf" in schema else schema)


def type_of(field: Mapping[str, Any]) -> str:
    """The type of a field in a word or two."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    for key in ("oneOf", "anyOf"):
        if key in field:
            return " | ".join(dict.fromkeys(type_of(option) for option in field[key]))
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"])
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
