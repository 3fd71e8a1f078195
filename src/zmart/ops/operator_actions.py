"""Perform an operator's action on the dashboard: decide about a market now, resolve an intent, replay dead letters."""

from __future__ import annotations

from enum import Enum
from typing import assert_never
from uuid import UUID

import msgspec
import structlog

from zmart.decisions.findings import resolve_intent
from zmart.errors import Invalid
from zmart.market.identifiers import parse_market
from zmart.market.text_input import accept_text
from zmart.market.types import MarketId
from zmart.store import dead_letters, market_work
from zmart.store.intents import IntentState
from zmart.store.pool import Pool

_MOST_TARGET, _MOST_REASON = 100, 500
log = structlog.get_logger()


class OperatorAction(Enum):
    """The actions of an operator. The target of DECIDE is a market's id, of RESOLVE an intent's id.

    The target of REPLAY is a dead letter's id or signature, a waiting transaction's signature, or `all` (dead letters).
    """

    DECIDE = "decide"
    RESOLVE = "resolve"
    REPLAY = "replay"


RESOLUTIONS = (IntentState.LANDED, IntentState.ALREADY_DONE, IntentState.DEAD)


class ActionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An action and its target. RESOLVE also needs `outcome` (a value of RESOLUTIONS) and `reason`.

    `outcome` says what became of the intent's transaction, `reason` how the operator knows it. `confirmed` must be True
    for the outcome `dead`.
    """

    action: OperatorAction
    target: str
    outcome: str = ""
    reason: str = ""
    confirmed: bool = False


async def perform(pool: Pool, request: ActionRequest) -> str:
    """Perform the action, and return a sentence about the result. Raises Invalid, NotFound, Conflict, StoreError."""
    target = accept_text("target", request.target, (1, _MOST_TARGET), one_line=True)
    least = 1 if request.action is OperatorAction.RESOLVE else 0
    reason = accept_text("reason", request.reason, (least, _MOST_REASON))
    request = msgspec.structs.replace(request, target=target, reason=reason)
    log.info("operator's action", action=request.action.value, target=request.target, reason=request.reason)
    match request.action:
        case OperatorAction.DECIDE:
            market_id = _market(request.target)
            await market_work.without_pause(pool, market_id)
            await market_work.request_tick(pool)
            return f"The aggregator and the monitor look at market {market_id} now."
        case OperatorAction.RESOLVE:
            return await _resolve(pool, request)
        case OperatorAction.REPLAY:
            number = await dead_letters.replay(pool, None if request.target == "all" else request.target)
            return f"{number} transactions are tried again now."
    assert_never(request.action)


async def _resolve(pool: Pool, request: ActionRequest) -> str:
    """Store the outcome of an intent, as `zmart intents resolve` does."""
    intent = _intent(request.target)
    outcome = next((state for state in RESOLUTIONS if state.value == request.outcome), None)
    if outcome is None:
        raise Invalid("outcome", f"The outcome is {', '.join(state.value for state in RESOLUTIONS)}.")
    if outcome is IntentState.DEAD and not request.confirmed:
        raise Invalid(
            "confirmed",
            "If a signature did land, the effect may be sent twice. Confirm that all of them are dead.",
        )
    row = await resolve_intent(pool, intent, outcome, request.reason)
    return f"The intent {intent} is {row.state.value} now."


def _market(text: str) -> MarketId:
    ref = parse_market(text)
    if ref is None or ref.id is None:
        raise Invalid("target", f"{text[:70]} is not the id of a market.")
    return ref.id


def _intent(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid("target", f"{text[:70]} is not the id of an intent.") from None
