"""Generate the OpenAPI document from the handlers, and from the shapes of their parameters, bodies and answers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, Contact, License, Tag
from litestar.routes import HTTPRoute

import zmart
from zmart.services.gateway.http.security import SCHEMES
from zmart.services.gateway.openapi import operations, samples, shapes
from zmart.services.gateway.openapi.shapes import Schema

_DESCRIPTION = """\
Markets of the ZMART program on Solana: read them, and build the transactions that your wallet signs.

Lamports and shares are integers in units of 1e-9; `?numeric=string` sends each as text. Chain-derived answers carry
`ETag` and `X-As-Of-Slot`, the slot through which the index is complete. Every error has the shape of `Problem`."""

_TAGS = {
    "markets": "Find markets, look at one, create one.",
    "tape": "What was traded in a market, what a trade would cost, who holds shares.",
    "lifecycle": "Move a market through its life.",
    "operator": "What only the operator may do.",
    "trading": "Build transactions of a trader.",
    "transactions": "Send signed transactions and follow them.",
    "votes": "Vote, count and prove votes.",
    "discussions": "Comment on markets.",
    "users": "Wallets: profile, results, positions.",
    "auth": "Sign in with a wallet.",
    "system": "The state of the backend.",
}
"""The groups of operations (tags) with their descriptions, in the order of the reference pages."""

OPENAPI = OpenAPIConfig(
    title="ZMART gateway",
    version=zmart.__version__,
    description=_DESCRIPTION,
    license=License(name="Apache-2.0", identifier="Apache-2.0"),
    contact=Contact(name="ZMART"),
    tags=[Tag(name=name, description=about) for name, about in _TAGS.items()],
    path="/api/schema",
    use_handler_docstrings=True,
    render_plugins=[],
    components=Components(security_schemes=SCHEMES),
)


@lru_cache(maxsize=4)
def document(app: Litestar, server: str = samples.LOCAL) -> Schema:
    """Return the OpenAPI 3.1 document of the handlers of `app`; its samples call the API at `server`."""
    schema = _described(app)
    paths = {
        path: {method: _with_sample(method, path, operation, server) for method, operation in item.items()}
        for path, item in schema["paths"].items()
    }
    return {**schema, "paths": paths}


def _with_sample(method: str, path: str, operation: Schema, server: str) -> Schema:
    source = samples.typescript(method, path, operation, server)
    return {
        **operation,
        "x-codeSamples": [{"lang": "TypeScript", "label": "@zmart/client", "source": source}],
    }


@lru_cache(maxsize=1)
def _described(app: Litestar) -> Schema:
    schema: Schema = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    kinds: list[type] = []
    for route in (route for route in app.routes if isinstance(route, HTTPRoute)):
        for handler in route.route_handlers:
            for method in map(str.lower, handler.http_methods):
                if (operation := schema["paths"].get(route.path_format, {}).get(method)) is not None:
                    kinds += operations.complete(operation, method, route.path_format, handler)
    operations.declare_other_calls(schema["paths"])
    for enum in schema["components"]["schemas"].values():
        enum.pop("default", None)  # of the parameter that the framework met first
    schema["components"]["schemas"] |= shapes.components(kinds)
    whole: Schema = shapes.tidied(schema)
    whole["components"]["schemas"] |= shapes.SCALARS
    return whole


@lru_cache(maxsize=4)
def published(app: Litestar, server: str) -> bytes:
    """Return the OpenAPI document as JSON; its samples call the API at `server`."""
    return msgspec.json.encode(document(app, server))


def fields_of(schema: Schema, part: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """Return name, type and description of each field of a body or answer, for the reference pages. `part` is its
    schema; of an array or a union, the first struct is described."""
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
    """Return the type of a parameter as text, without the values that mean the same as omitting it."""
    if "enum" in schema:
        return " | ".join(value for value in schema["enum"] if value)
    return type_of(next((schema[key][0] for key in ("oneOf", "anyOf") if key in schema), schema))


def type_of(field: Mapping[str, Any]) -> str:
    """Return the type of a field as text: a schema's name, a JSON type, or alternatives with | between them."""
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
    target: Mapping[str, Any] = schema["components"]["schemas"].get(name, {})
    return target
