"""Handle GET /api, which lists the calls of the API and the addresses of its descriptions."""

from __future__ import annotations

from litestar import get

from zmart.client.shapes import system as shapes
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.openapi import specification


@get("/api", operation_id="GetIndex", tags=["system"])
async def index(context: Context, request: GatewayRequest) -> shapes.ApiIndex:
    """List the calls of the API, and the addresses of its documentation, health, status and WebSocket."""
    document = specification.document(request.app)
    calls = [
        shapes.ApiCall(method=method.upper(), path=path, summary=str(operation["summary"]))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return shapes.ApiIndex(
        name=str(document["info"]["title"]),
        version=str(document["info"]["version"]),
        documentation="/docs",
        openapi="/api/openapi.json",
        asyncapi="/asyncapi.json",
        health="/health",
        status="/api/status",
        websocket=context.socket_url,
        calls=calls,
    )
