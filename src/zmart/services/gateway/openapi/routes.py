"""Serve the API's own description: OpenAPI, AsyncAPI, and a page that needs no internet."""

from __future__ import annotations

from litestar import Response, get

from zmart.feed import asyncapi
from zmart.services.gateway.context import Context
from zmart.services.gateway.explorer.templating import page
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.request_guard import LIMIT, NO_LIMIT
from zmart.services.gateway.http.security import OPERATOR_TOKEN
from zmart.services.gateway.openapi import specification
from zmart.services.gateway.openapi.shapes import Schema

_FREE = {LIMIT: NO_LIMIT}


@get("/api/openapi.json", include_in_schema=False, opt=_FREE)
async def openapi_json(request: GatewayRequest) -> Response[bytes]:
    """Serve OpenAPI 3.1."""
    return Response(specification.published(request.app), media_type="application/json")


@get(asyncapi.PATH, include_in_schema=False, opt=_FREE)
async def asyncapi_json(context: Context) -> Response[bytes]:
    """Serve AsyncAPI 3.0 of the WebSocket."""
    return Response(asyncapi.published(context.socket_url), media_type="application/json")


@get("/docs", include_in_schema=False, opt=_FREE)
async def docs(request: GatewayRequest) -> Response[str]:
    """Show the reference page."""
    schema = specification.document(request.app)
    groups: dict[str, list[dict[str, object]]] = {}
    for path, item in sorted(schema["paths"].items()):
        for method, operation in item.items():
            groups.setdefault(operation.get("tags", ["other"])[0], []).append(
                _reference_entry(schema, path, method, operation)
            )
    return page("docs.html", title="API reference", groups=groups, about=schema["info"]["description"])


def _reference_entry(schema: Schema, path: str, method: str, operation: Schema) -> dict[str, object]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    status, answer = next(iter(operation["responses"].items()))
    answered = answer.get("content", {}).get("application/json", {}).get("schema")
    return {
        "id": operation.get("operationId", f"{method}{path}"),
        "method": method.upper(),
        "path": path,
        "about": operation.get("description", ""),
        "secured": _secured(operation["security"]),
        "parameters": [
            (
                item["name"],
                item["in"],
                specification.type_of_parameter(item.get("schema", {})),
                item.get("description", ""),
            )
            for item in operation.get("parameters", [])
        ],
        "body": specification.fields_of(schema, body),
        "status": status,
        "answer": specification.fields_of(schema, answered),
    }


def _secured(security: list[Schema]) -> str:
    if {} in security or not security:
        return ""
    return "operator" if {OPERATOR_TOKEN: []} in security else "wallet"


HANDLERS = [openapi_json, asyncapi_json, docs]
