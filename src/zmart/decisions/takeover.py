"""Resume, within seconds, the intents that a process began to execute and no longer holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from zmart.decisions.context import DecisionContext
from zmart.errors import ZmartError
from zmart.store import intents
from zmart.store.intents import Action, IntentRow
from zmart.store.retrying import Outages, StopSignal, retrying

EVERY_S = 1.0
UNTOUCHED_S = 3.0
"""After how many seconds without a change an intent may be abandoned; then its lock is checked."""


async def resume_abandoned(
    context: DecisionContext,
    actions: Sequence[Action],
    resume: Callable[[IntentRow], None],
    stop: asyncio.Event,
    outages: Outages | None = None,
) -> None:
    """Resume abandoned intents every EVERY_S seconds until `stop` is set.

    `resume` is called with each open intent of `actions` that no process holds.

    PostgreSQL frees the lock of an intent when the session of its holder ends. A holder's session that has run no
    statement for SILENT_AFTER_S is ended (store/intent_claims.py). So an intent waits for at most EVERY_S + UNTOUCHED_S
    after its process ended, and SILENT_AFTER_S + EVERY_S after its process or its host was stopped. Intents of a market
    that pauses after a failure wait for the end of the pause.
    """

    async def resume_then_pause() -> float:
        await resume_abandoned_once(context, actions, resume, UNTOUCHED_S)
        return EVERY_S

    work = "Resuming abandoned intents"
    await retrying(resume_then_pause, StopSignal(stop), work, outages, errors=(ZmartError,), retry_s=EVERY_S)


async def resume_abandoned_once(
    context: DecisionContext,
    actions: Sequence[Action],
    resume: Callable[[IntentRow], None],
    untouched_s: float,
) -> None:
    """Call `resume` once with each open intent of `actions` that no process holds or has changed for `untouched_s`.

    `untouched_s` is in seconds. Raises StoreError.
    """
    for intent in await intents.open_intents(context.pool, actions, untouched_s):
        if context.claims is None or await context.claims.is_free(intent.id):
            resume(intent)
