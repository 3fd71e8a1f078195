"""The application: routes, one shape of errors, one kind of answers, the request guard before all of them."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlsplit

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException

from zmart.services.contract import AsgiApp
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.handlers import HANDLERS, LOCAL_HANDLERS
from zmart.services.gateway.http.access_log import AccessLog
from zmart.services.gateway.http.auth.client_addresses import parse_proxies
from zmart.services.gateway.http.edge import Front, with_request_id
from zmart.services.gateway.http.hot import Hot
from zmart.services.gateway.http.problems import problem_answer
from zmart.services.gateway.http.rate_limits import policies
from zmart.services.gateway.http.request_auth import REQUEST_AUTH
from zmart.services.gateway.http.request_guard import RequestGuard
from zmart.services.gateway.http.responses import ApiResponse
from zmart.services.gateway.openapi.specification import OPENAPI
from zmart.settings import Settings

READ_WITHIN_S = 1.8
WRITE_WITHIN_S = 20.0


def build(context: AppContext) -> Front:
    """The gateway as an ASGI application."""
    settings = context.settings

    def provide_context() -> AppContext:
        return context

    trusted = parse_proxies(settings.trusted_proxies)
    app = Litestar(
        route_handlers=[*HANDLERS, *(LOCAL_HANDLERS if settings.is_local else ())],
        dependencies={"context": Provide(provide_context, sync_to_thread=False), "auth": REQUEST_AUTH},
        middleware=[RequestGuard(context, trusted)],
        exception_handlers={HTTPException: problem_answer, Exception: problem_answer},
        response_class=ApiResponse,
        request_max_body_size=settings.max_body_bytes,
        openapi_config=OPENAPI,
        logging_config=None,  # the process has its own (ops/logs.py)
        debug=False,
    )
    access, inner = AccessLog(settings), with_request_id(cast("AsgiApp", app))
    origins, socket = cors_origins(settings), socket_origin(context.socket_url)
    front = Front(inner, access, origins, socket, READ_WITHIN_S, WRITE_WITHIN_S)
    front.hot = Hot(context, policies(settings)["reads"], trusted, access, READ_WITHIN_S)
    return front


def cors_origins(settings: Settings) -> list[str]:
    """CORS_ORIGIN, or under its old name CORS_ORIGINS."""
    listed = settings.cors_origin or settings.cors_origins
    return [origin.strip().rstrip("/") for origin in listed.split(",") if origin.strip()]


def socket_origin(socket_url: str) -> str:
    parts = urlsplit(socket_url)
    return f"{parts.scheme}://{parts.netloc}"
