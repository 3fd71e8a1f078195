"""Resume, within seconds, the intents that another process began and no longer holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from zmart.decisions.context import DecisionContext
from zmart.decisions.schedule import pause
from zmart.errors import ZmartError
from zmart.store import intents
from zmart.store.intents import Action, IntentRow

EVERY_S = 3.0
UNTOUCHED_S = 3.0
"""An intent that no process wrote to for so long may be abandoned; its lock tells."""

log = structlog.get_logger()


async def resume_abandoned(
    context: DecisionContext,
    actions: Sequence[Action],
    resume: Callable[[IntentRow], None],
    stop: asyncio.Event,
) -> None:
    """Call `resume` with every open intent that no process holds, every EVERY_S, until `stop` is set.

    The server frees a lock when its holder's session ends, so the wait is EVERY_S + UNTOUCHED_S at most, and 10 s
    after a machine that vanished without a word.
    """
    while not stop.is_set():
        try:
            await resume_abandoned_once(context, actions, resume, UNTOUCHED_S)
        except ZmartError as problem:
            log.warning("abandoned intents cannot be resumed now", problem=str(problem))
        await pause(stop, EVERY_S)


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
