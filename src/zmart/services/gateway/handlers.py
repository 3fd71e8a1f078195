"""Every route of the gateway in one list."""

from __future__ import annotations

from zmart.services.gateway.api import (
    discussions,
    lifecycle,
    local,
    markets,
    sessions,
    system,
    tape,
    trading,
    transactions,
    users,
    votes,
)
from zmart.services.gateway.explorer import pages
from zmart.services.gateway.openapi import routes as openapi_routes

HANDLERS = [
    *markets.HANDLERS,
    *lifecycle.HANDLERS,
    *tape.HANDLERS,
    *trading.HANDLERS,
    *transactions.HANDLERS,
    *votes.HANDLERS,
    *discussions.HANDLERS,
    *users.HANDLERS,
    *sessions.HANDLERS,
    *system.HANDLERS,
    *openapi_routes.HANDLERS,
    *pages.HANDLERS,
]

LOCAL_HANDLERS = local.HANDLERS
"""Those of the local stack alone: elsewhere they do not exist."""
