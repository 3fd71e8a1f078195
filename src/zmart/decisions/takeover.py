"""Resume, within seconds, the intents that another process began and no longer holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from zmart.decisions.context import DecisionContext
from zmart.errors import ZmartError
from zmart.store import intents
from zmart.store.intents import Action, IntentRow
from zmart.store.retrying import Outages, StopSignal, retrying

EVERY_S = 3.0
UNTOUCHED_S = 3.0
"""An intent that no process wrote to for so long may be abandoned; its lock tells."""


async def resume_abandoned(
    context: DecisionContext,
    actions: Sequence[Action],
    resume: Callable[[IntentRow], None],
    stop: asyncio.Event,
    outages: Outages | None = None,
) -> None:
    """Call `resume` with every open intent that no process holds, every EVERY_S, until `stop` is set.

    The server frees a lock when its holder's session ends, so the wait is EVERY_S + UNTOUCHED_S at most, and 10 s
    after a machine that vanished without a word.
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
    """Call `resume` once with each of them. Raises ZmartError."""
    for intent in await intents.open_intents(context.pool, actions, untouched_s):
        if context.claims is None or await context.claims.is_free(intent.id):
            resume(intent)
