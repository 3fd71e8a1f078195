"""Record what a person found out about an effect that could not be judged."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

from zmart.errors import Conflict
from zmart.store import alerts, intents
from zmart.store.intent_claims import Claims
from zmart.store.intents import IntentRow, IntentState
from zmart.store.pool import Pool

WAIT_S = 10.0
"""A service judges an uncertain transaction again for less than that."""
_POLL_S = 0.2


async def resolve_intent(
    pool: Pool, intent_id: UUID, state: IntentState, reason: str, wait_s: float = WAIT_S
) -> IntentRow:
    """Give the intent the state that a person determined, close its alert, and return it. Waits `wait_s` for a service
    that executes it. Raises NotFound, and Conflict when it is still being executed then, or done."""
    deadline = time.monotonic() + wait_s
    async with Claims(pool) as claims:
        while not await _resolved(claims, intent_id, state, reason):
            if time.monotonic() >= deadline:
                raise Conflict(f"The intent {intent_id} is being executed now: try again in a minute.")
            await asyncio.sleep(_POLL_S)
    await alerts.resolve_alert(pool, f"uncertain:{intent_id}")
    return await intents.one(pool, intent_id)


async def _resolved(claims: Claims, intent_id: UUID, state: IntentState, reason: str) -> bool:
    """Return False while another process executes the intent. Raises NotFound, Conflict."""
    async with claims.claim(intent_id) as claim:
        if claim is None:
            return False
        if claim.intent.state.is_done:
            raise Conflict(f"The intent {intent_id} is already {claim.intent.state.value}.")
        await claim.journal.resolve_by_hand(str(intent_id), state, reason)
        return True
