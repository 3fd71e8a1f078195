"""Record what a person found out about an effect on chain whose outcome the backend could not determine."""

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
"""How many seconds to wait for a service that is executing the intent; judging a transaction again takes less."""
_POLL_S = 0.2


async def resolve_intent(
    pool: Pool, intent_id: UUID, state: IntentState, reason: str, wait_s: float = WAIT_S
) -> IntentRow:
    """Set the state of an intent that a person determined, resolve its alert, and return the intent.

    It waits up to `wait_s` seconds while a service executes the intent. Raises NotFound for an unknown intent, and
    Conflict if the intent is done already or is still being executed after the wait.
    """
    deadline = time.monotonic() + wait_s
    async with Claims(pool) as claims:
        while not await _resolved(claims, intent_id, state, reason):
            if time.monotonic() >= deadline:
                raise Conflict(f"The intent {intent_id} is being executed now: try again in a minute.")
            await asyncio.sleep(_POLL_S)
    await alerts.resolve_alert(pool, f"uncertain:{intent_id}")
    return await intents.one(pool, intent_id)


async def _resolved(claims: Claims, intent_id: UUID, state: IntentState, reason: str) -> bool:
    """Set the intent's state; return False, and change nothing, while another process executes the intent.

    Raises NotFound for an unknown intent, and Conflict if it is done.
    """
    async with claims.claim(intent_id) as claim:
        if claim is None:
            return False
        if claim.intent.state.is_done:
            raise Conflict(f"The intent {intent_id} is already {claim.intent.state.value}.")
        await claim.journal.resolve_by_hand(str(intent_id), state, reason)
        return True
