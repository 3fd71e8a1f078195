"""Assemble the gateway's ASGI application: edge, probes, response cache, time limit, router."""

from __future__ import annotations

from functools import cache
from typing import cast
from urllib.parse import urlsplit

import msgspec
from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import Scope

from zmart import setting_values
from zmart.services.client_addresses import ClientAddresses, parse_proxies
from zmart.services.contract import AsgiApp, ProbeMiddleware
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.handlers import FACADE_HANDLERS, HANDLERS, LOCAL_HANDLERS
from zmart.services.gateway.http.access_log import AccessLog
from zmart.services.gateway.http.edge import Edge, with_request_id
from zmart.services.gateway.http.header_sets import HeaderSets
from zmart.services.gateway.http.problems import problem_answer
from zmart.services.gateway.http.rate_limits import policies
from zmart.services.gateway.http.request_auth import REQUEST_AUTH
from zmart.services.gateway.http.request_guard import GuardMiddleware, RequestGuard
from zmart.services.gateway.http.response_cache import ResponseCache
from zmart.services.gateway.http.responses import ApiResponse
from zmart.services.gateway.http.time_limit import TimeLimit, TimeLimits
from zmart.services.gateway.openapi.specification import OPENAPI
from zmart.settings import Settings


def build(context: AppContext, probes: ProbeMiddleware, limits: TimeLimits) -> AsgiApp:
    """Return the gateway's ASGI application: edge, probes, response cache, time limit, router (docs/requests.md)."""
    settings = context.settings
    clients = ClientAddresses(parse_proxies(settings.trusted_proxies))
    options = RouterOptions(settings.is_local, settings.supabase_facade, settings.max_body_bytes)
    guarded = RequestGuard(context, clients).guarding(cast("AsgiApp", router(options)))
    responses = ResponseCache(
        TimeLimit(with_request_id(guarded), limits),
        context.feed_positions,
        context.as_of_slot,
        context.limiter,
        policies(settings)["reads"],
        clients,
        settings.answer_cache_bytes,
        limits.read_s,
    )
    listed = cors_origins(settings)
    headers = HeaderSets(
        listed,
        socket_origin(context.socket_url),
        any_loopback=settings.is_local and not listed,
        supabase_facade=settings.supabase_facade,
    )
    return Edge(probes(responses), AccessLog(settings), headers)


class RouterOptions(msgspec.Struct, frozen=True):
    """The settings on which a router depends, under the names that they have in Settings."""

    is_local: bool
    supabase_facade: bool
    max_body_bytes: int


@cache
def router(options: RouterOptions) -> Litestar:
    """Return the Litestar router with the routes that `options` enable. Building one takes 0.2 s, so all gateways of a
    process with the same options share it: a gateway's own state comes with each request, in the ASGI scope."""
    return Litestar(
        route_handlers=[
            *HANDLERS,
            *(LOCAL_HANDLERS if options.is_local else ()),
            *(FACADE_HANDLERS if options.supabase_facade else ()),
        ],
        dependencies={"context": Provide(_provide_context, sync_to_thread=False), "auth": REQUEST_AUTH},
        middleware=[GuardMiddleware()],
        exception_handlers={HTTPException: problem_answer, Exception: problem_answer},
        response_class=ApiResponse,
        request_max_body_size=options.max_body_bytes,
        openapi_config=OPENAPI,
        logging_config=None,  # the process has its own (ops/logs.py)
        debug=False,
    )


def _provide_context(scope: Scope) -> AppContext:
    return RequestGuard.context_of(scope)


def cors_origins(settings: Settings) -> list[str]:
    """Return the allowed CORS origins: those of CORS_ORIGIN, or if it is empty those of its former name
    CORS_ORIGINS."""
    return setting_values.origins(settings.cors_origin or settings.cors_origins)


def socket_origin(socket_url: str) -> str:
    """Return the origin of the WebSocket server's URL: scheme, host and port."""
    parts = urlsplit(socket_url)
    return f"{parts.scheme}://{parts.netloc}"
