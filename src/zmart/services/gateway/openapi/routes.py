"""Serve the descriptions of the API: OpenAPI, AsyncAPI, and pages that load nothing from other hosts."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from litestar import Litestar, Response, get

from zmart.feed import asyncapi
from zmart.services.gateway.context import Context
from zmart.services.gateway.explorer.templating import answer, html
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.request_guard import LIMIT, NO_LIMIT
from zmart.services.gateway.openapi import reference, specification

_FREE = {LIMIT: NO_LIMIT}
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:; "
    "script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; connect-src 'self'"
)
"""The content security policy of the page with Scalar. Styles may be inline there, because Scalar adds them. Scripts,
images and data come from the gateway only."""


@get("/api/openapi.json", include_in_schema=False, opt=_FREE)
async def openapi_json(request: GatewayRequest, context: Context) -> Response[bytes]:
    """Serve the OpenAPI 3.1 document of the HTTP API."""
    text = specification.published(request.app, context.api_url)
    return Response(text, media_type="application/json")


@get(asyncapi.PATH, include_in_schema=False, opt=_FREE)
async def asyncapi_json(context: Context) -> Response[bytes]:
    """Serve the AsyncAPI 3.0 document of the WebSocket."""
    return Response(asyncapi.published(context.socket_url), media_type="application/json")


@get("/docs", include_in_schema=False, opt=_FREE)
async def docs(request: GatewayRequest, context: Context) -> Response[str]:
    """Show the API reference in Scalar; without scripts the page is the plain reference."""
    reply = answer(_reference_page(request.app, context.api_url, "docs.html"))
    reply.headers["Content-Security-Policy"] = _POLICY
    return reply


@get("/docs/plain", include_in_schema=False, opt=_FREE)
async def plain_docs(request: GatewayRequest, context: Context) -> Response[str]:
    """Show the API reference as a page that needs no scripts."""
    return answer(_reference_page(request.app, context.api_url, "docs_plain.html"))


@get("/docs/socket", include_in_schema=False, opt=_FREE)
async def socket_docs(context: Context) -> Response[str]:
    """Show the messages and shapes of the WebSocket, and how to connect to it."""
    return answer(_socket_page(context.socket_url))


# Each page is rendered once: it does not change while a process runs, and takes 20 ms of processor time.
@lru_cache(maxsize=4)
def _reference_page(app: Litestar, server: str, template: str) -> str:
    schema = specification.document(app, server)
    return html(
        template,
        title="API reference",
        about=schema["info"]["description"],
        groups=reference.calls(schema, server),
        shapes=reference.shapes(schema),
    )


@lru_cache(maxsize=4)
def _socket_page(socket_url: str) -> str:
    document = msgspec.json.decode(asyncapi.published(socket_url))
    return html(
        "docs_socket.html",
        title="Live feed",
        about=document["info"]["description"],
        socket=socket_url,
        query=document["channels"]["socket"]["bindings"]["ws"]["query"]["properties"],
        messages=reference.messages(document),
        shapes=reference.shapes(document),
    )


HANDLERS = [openapi_json, asyncapi_json, docs, plain_docs, socket_docs]
