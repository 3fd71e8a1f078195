"""Record what a person found out about an effect that could not be judged."""

from __future__ import annotations

from uuid import UUID

from zmart.errors import Conflict
from zmart.store import alerts, intents
from zmart.store.intent_claims import Claims
from zmart.store.intents import IntentRow, IntentState
from zmart.store.pool import Pool


async def resolve_intent(pool: Pool, intent_id: UUID, state: IntentState, reason: str) -> IntentRow:
    """Give the intent the state that a person determined, close its alert, and return it. Raises NotFound, and Conflict
    while it is being executed or when it is done."""
    async with Claims(pool) as claims, claims.claim(intent_id) as claim:
        if claim is None:
            raise Conflict(f"The intent {intent_id} is being executed now: try again in a minute.")
        if claim.intent.state.is_done:
            raise Conflict(f"The intent {intent_id} is already {claim.intent.state.value}.")
        await claim.journal.resolve_by_hand(str(intent_id), state, reason)
    await alerts.resolve_alert(pool, f"uncertain:{intent_id}")
    return await intents.one(pool, intent_id)
