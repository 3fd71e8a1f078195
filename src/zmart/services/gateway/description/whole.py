"""The description without a running gateway: for files and for whoever wants to read."""

from __future__ import annotations

from litestar import Litestar
from litestar.di import Provide

from zmart.services.gateway import openapi
from zmart.services.gateway.calls import CALL
from zmart.services.gateway.description.shapes import Schema
from zmart.services.gateway.routes.table import HANDLERS


def document() -> Schema:
    """The OpenAPI 3.1 document that every gateway of this version serves."""
    app = Litestar(
        route_handlers=[*HANDLERS],
        dependencies={"rooms": Provide(_nothing, sync_to_thread=False), "call": CALL},
        openapi_config=openapi.OPENAPI,
        logging_config=None,  # describing sets up nothing in the process that asked
    )
    return openapi.document(app)


def _nothing() -> None:
    return None
