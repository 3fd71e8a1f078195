"""Make the OpenAPI document without a running gateway."""

from __future__ import annotations

from litestar import Litestar
from litestar.di import Provide

from zmart.services.gateway.handlers import HANDLERS
from zmart.services.gateway.http.request_auth import REQUEST_AUTH
from zmart.services.gateway.openapi import specification
from zmart.services.gateway.openapi.shapes import Schema


def document() -> Schema:
    """Return the OpenAPI 3.1 document that every gateway of this version serves."""
    app = Litestar(
        route_handlers=[*HANDLERS],
        dependencies={"context": Provide(_nothing, sync_to_thread=False), "auth": REQUEST_AUTH},
        openapi_config=specification.OPENAPI,
        logging_config=None,  # leave the logging of this process as it is
    )
    return specification.document(app)


def _nothing() -> None:
    return None
