"""List every route of the gateway."""

from __future__ import annotations

from litestar.types import ControllerRouterHandler

from zmart.services.gateway.api import (
    discussions,
    index,
    lifecycle,
    local,
    markets,
    sessions,
    supabase_facade,
    system,
    tape,
    trading,
    transactions,
    users,
    votes,
)
from zmart.services.gateway.explorer import pages, people_pages, sharing
from zmart.services.gateway.openapi import routes as openapi_routes

HANDLERS: list[ControllerRouterHandler] = [
    index.index,
    markets.ROUTER,
    lifecycle.ROUTER,
    lifecycle.OPERATOR_ROUTER,
    tape.ROUTER,
    trading.ROUTER,
    transactions.ROUTER,
    votes.ROUTER,
    discussions.ROUTER,
    users.ROUTER,
    sessions.ROUTER,
    markets.search,
    *system.HANDLERS,
    *openapi_routes.HANDLERS,
    *pages.HANDLERS,
    *people_pages.HANDLERS,
    *sharing.HANDLERS,
]

FACADE_HANDLERS: list[ControllerRouterHandler] = [*supabase_facade.HANDLERS]
"""Routes that exist only if the setting SUPABASE_FACADE is on."""

LOCAL_HANDLERS: list[ControllerRouterHandler] = [*local.HANDLERS]
"""Routes that exist only in the local stack (ZMART_ENV=local)."""
