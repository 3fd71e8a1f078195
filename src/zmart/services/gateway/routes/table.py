"""Every route of the gateway in one list."""

from __future__ import annotations

from zmart.services.gateway.routes import (
    auth,
    discussions,
    lifecycle,
    local,
    markets,
    pages,
    people,
    reference,
    system,
    tape,
    trading,
    transactions,
    votes,
)

HANDLERS = [
    *markets.HANDLERS,
    *lifecycle.HANDLERS,
    *tape.HANDLERS,
    *trading.HANDLERS,
    *transactions.HANDLERS,
    *votes.HANDLERS,
    *discussions.HANDLERS,
    *people.HANDLERS,
    *auth.HANDLERS,
    *system.HANDLERS,
    *reference.HANDLERS,
    *pages.HANDLERS,
]

LOCAL_HANDLERS = local.HANDLERS
"""Those of the local stack alone: elsewhere they do not exist."""
