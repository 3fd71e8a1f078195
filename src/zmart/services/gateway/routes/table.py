"""Every route of the gateway in one list."""

from __future__ import annotations

from zmart.services.gateway.routes import auth, discussions, markets, people, tape

HANDLERS = [
    *markets.HANDLERS,
    *tape.HANDLERS,
    *people.HANDLERS,
    *discussions.HANDLERS,
    *auth.HANDLERS,
]
