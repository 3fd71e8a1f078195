"""Every route of the gateway in one list."""

from __future__ import annotations

from zmart.services.gateway.routes import (
    auth,
    discussions,
    lifecycle,
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
