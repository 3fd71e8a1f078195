"""A stand-by: effects that another process began and no longer holds are brought to their end within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from zmart.decisions.context import Authority
from zmart.decisions.schedule import pause
from zmart.errors import ZmartError
from zmart.store import intents
from zmart.store.intents import Action, IntentRow
from zmart.store.pool import is_away

EVERY_S = 3.0
UNTOUCHED_S = 3.0
"""An intent that nobody wrote to for so long is looked at; its lock tells whether somebody is at it."""

log = structlog.get_logger()


async def take_over(
    authority: Authority,
    actions: Sequence[Action],
    resume: Callable[[IntentRow], None],
    stop: asyncio.Event,
) -> None:
    """Call `resume` with every open intent that no process holds, again and again, until `stop` is set.

    The server frees a lock when its holder's session ends, so the wait is EVERY_S + UNTOUCHED_S at most, and 10 s
    after a machine that vanished without a word.
    """
    while not stop.is_set():
        try:
            await look(authority, actions, resume, UNTOUCHED_S)
        except Exception as problem:
            if not (is_away(problem) or isinstance(problem, ZmartError)):
                raise
            log.warning("nothing can be taken over now", problem=str(problem))
        await pause(stop, EVERY_S)


async def look(
    authority: Authority,
    actions: Sequence[Action],
    resume: Callable[[IntentRow], None],
    untouched_s: float,
) -> None:
    """One look."""
    for intent in await intents.open_intents(authority.pool, actions, untouched_s):
        if authority.claims is None or await authority.claims.is_free(intent.id):
            resume(intent)
