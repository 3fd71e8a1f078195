"""Execute planned effects on chain once, confirm their outcome, and resume those that another process left.

Before a caller executes an intent, it reads the market's account and finds that the effect is not there.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import assert_never

import msgspec
import structlog
from prometheus_client import Counter
from solders.instruction import Instruction

from zmart import traces
from zmart.chain.accounts import MarketAccount
from zmart.chain.judge import Dead, Live, PendingTransaction, Seen, judge
from zmart.chain.sender import AlreadyDone, Expired, Failed, Intent, Landed, Outcome, Sender, Uncertain
from zmart.decisions.approvals import (
    OPERATORS_ROUND,
    ApprovalPremature,
    ApprovalRefused,
    ApprovalTerms,
    plan_approval,
)
from zmart.decisions.context import DecisionContext
from zmart.decisions.effects import ADMIN_ACTIONS, instructions_of, shows_effect
from zmart.decisions.planning import intent_of_tally
from zmart.errors import ChainError, ProgramError
from zmart.market.types import Slot, VoteKind
from zmart.store import alerts, intents, tallies
from zmart.store.intent_claims import Claim, Claims
from zmart.store.intents import Action, IntentRow, IntentState

outcomes = Counter("zmart_effects_total", "Effects executed on chain", ["action", "outcome"])
signings = Counter("zmart_effects_signings_total", "Transactions signed for effects", ["action"])
fees = Counter("zmart_effects_fee_lamports_total", "Lamports paid for effects that landed", ["action"])
for action in Action:
    outcomes.labels(action.value, Landed.__name__)

log = structlog.get_logger()


async def execute(context: DecisionContext, intent: IntentRow) -> Outcome | None:
    """Send a planned effect to the chain and return the outcome; None while another process executes the intent.

    The effect happens once, even if several processes try. An intent that was closed is opened again, because the
    account does not show its effect. Raises ChainError or StoreError if the outcome is not known; a later call
    determines it.
    """
    if intent.state.is_done:
        await intents.reopen(context.pool, intent.id)
    action = intent.action.value
    async with _claims(context) as claims, claims.claim(intent.id) as claim:
        outcome = None if claim is None else await _execute(context, claim)
    outcomes.labels(action, type(outcome).__name__ if outcome else "Busy").inc()
    signed = (await intents.one(context.pool, intent.id)).attempts - intent.attempts
    signings.labels(action).inc(max(signed, 0))
    if isinstance(outcome, Landed):
        fees.labels(action).inc(outcome.fee_lamports)
    return outcome


async def confirm(context: DecisionContext, intent: IntentRow, outcome: Outcome | None) -> bool:
    """Return whether the effect is on chain by `outcome`, the result of `execute`.

    Return False while another process executes the intent. Raises ProgramError if the program refused it. Raises
    ChainError if its transactions expired, or if it is unknown whether one landed; then an alert is raised, too.
    """
    action, key = intent.action.value, f"uncertain:{intent.id}"
    match outcome:
        case None:
            return False
        case Landed() | AlreadyDone():
            await alerts.resolve_alert(context.pool, key)
            return True
        case Failed():
            raise ProgramError(outcome.code, outcome.name, outcome.message)
        case Expired():
            raise ChainError(
                f"{action} was signed {outcome.signings} times and never landed: the RPC drops it."
            )
        case Uncertain():
            text = (
                f"Nobody can tell whether {action} of market {intent.market_id} landed ({outcome.reason}): look "
                f"for {outcome.signature}, then `zmart intents resolve {intent.id}`."
            )
            await alerts.raise_alert(context.pool, key, "critical", text)
            raise ChainError(text)
    assert_never(outcome)


async def resume(context: DecisionContext, intent: IntentRow) -> bool:
    """Finish an intent that another process left open, and return whether that was done here.

    An intent is finished if the market's account shows its effect: its stored transaction is judged then. An intent
    that an operator requested is executed, an approval only if the votes still allow it: if they do not, it is closed
    as failed, with an alert, and it stays open while their newest count is not on chain. All others return False: the
    deciding service plans them again.

    Raises what `confirm` and, for an approval of an operator, `plan_approval` raise, apart from ApprovalRefused.
    """
    account = await context.market(intent.market_id, await _counted_at(context, intent))
    if not shows_effect(account, intent):
        if intent.round != OPERATORS_ROUND or intent.action not in ADMIN_ACTIONS:
            return False
        if intent.action is Action.APPROVE_PROPOSAL:
            try:
                await plan_approval(
                    context.pool, intent.market_id, await _approval_terms(context, account), by_operator=True
                )
            except ApprovalPremature:
                return False
            except ApprovalRefused as refused:
                await _close_refused(context, intent, str(refused))
                return False
    await confirm(context, intent, await execute(context, intent))
    return True


async def _counted_at(context: DecisionContext, intent: IntentRow) -> Slot | None:
    """Return the slot in which the newest count of a proposal's votes landed: a node that lags does not show it. None
    for other intents, and before a count has landed."""
    if intent.action is not Action.APPROVE_PROPOSAL:
        return None
    row = await tallies.latest(context.pool, intent.market_id, VoteKind.PROPOSAL)
    count = None if row is None else await intent_of_tally(context.pool, row)
    return None if count is None else count.landed_slot


async def _approval_terms(context: DecisionContext, account: MarketAccount) -> ApprovalTerms:
    config, clock = await context.check(), await context.rpc.get_clock()
    return ApprovalTerms.of_account(
        context.program.address, clock.unix_timestamp, config.proposal_approval_threshold, account
    )


async def _close_refused(context: DecisionContext, intent: IntentRow, reason: str) -> None:
    """Close an operator's approval that the votes do not allow, and raise an alert.

    It stays open while a transaction of it may still land: that is not sent again here, and expires within minutes.
    """
    async with _claims(context) as claims, claims.claim(intent.id) as claim:
        if claim is None or claim.intent.state.is_done:
            return
        pending = _pending(claim.intent)
        if pending is not None:
            match await judge(context.witnesses, pending):
                case Live() | Seen(err=None):
                    return
                case Dead():
                    await claim.journal.mark_dead(str(intent.id), pending.signature)
                case Seen():
                    pass  # the program refused it
        await claim.journal.mark_refused(str(intent.id), reason)
    log.warning("operator's approval refused", market=intent.market_id, reason=reason)
    text = f"The approval of market {intent.market_id} that an operator asked for is not sent: {reason}"
    await alerts.raise_alert(context.pool, f"approval refused:{intent.market_id}", "warning", text)


@asynccontextmanager
async def _claims(context: DecisionContext) -> AsyncIterator[Claims]:
    if context.claims is not None:
        yield context.claims
        return
    async with Claims(context.pool) as claims:
        yield claims


async def _execute(context: DecisionContext, claim: Claim) -> Outcome:
    intent = claim.intent
    if intent.state.is_done:
        return AlreadyDone()
    sender = Sender(
        context.program,
        context.rpc,
        context.backend,
        claim.journal,
        witnesses=context.witnesses,
        policy=context.policy,
    )
    started = time.monotonic()
    with traces.around(traces.ServiceWork.INTENT, partial(_described, intent)):
        outcome = await _sent(sender, _chain_intent(context, intent), intent)
    if isinstance(outcome, AlreadyDone):
        await claim.journal.mark_already_done(str(intent.id))
    log.info(
        "intent executed",
        market=intent.market_id,
        action=intent.action.value,
        round=intent.round,
        outcome=type(outcome).__name__,
        **msgspec.structs.asdict(outcome),
        ms=round((time.monotonic() - started) * 1000, 1),
    )
    return outcome


async def _sent(sender: Sender, chain_intent: Intent, intent: IntentRow) -> Outcome:
    began_ns = time.time_ns()
    outcome = await sender.execute(chain_intent)
    if isinstance(outcome, Landed | Uncertain | Failed) and outcome.signature is not None:
        given: traces.Attributes = {**_described(intent), "zmart.outcome": type(outcome).__name__}
        traces.record(traces.TransactionStep.SEND, outcome.signature, began_ns, given)
    return outcome


def _described(intent: IntentRow) -> dict[str, str | int]:
    """Return the attributes of an intent's trace span."""
    return {
        "zmart.action": intent.action.value,
        "zmart.market": intent.market_id,
        "zmart.round": intent.round,
    }


def _chain_intent(context: DecisionContext, intent: IntentRow) -> Intent:
    return Intent(
        id=str(intent.id),
        instructions=_instructions(context, intent),
        signers=[context.admin] if intent.action in ADMIN_ACTIONS and context.admin else [],
        already_done=_already_done(context, intent),
        pending=_pending(intent),
        was_uncertain=intent.state is IntentState.UNCERTAIN,
    )


def _instructions(
    context: DecisionContext, intent: IntentRow
) -> Callable[[], Awaitable[Sequence[Instruction]]]:
    async def build() -> Sequence[Instruction]:
        return instructions_of(intent, context.program, context.backend, context.admin)

    return build


def _already_done(context: DecisionContext, intent: IntentRow) -> Callable[[Slot | None], Awaitable[bool]]:
    async def is_visible(since: Slot | None) -> bool:
        return shows_effect(await context.market(intent.market_id, since), intent)

    return is_visible


def _pending(intent: IntentRow) -> PendingTransaction | None:
    if not intent.in_flight or intent.signature is None or intent.raw_transaction is None:
        return None
    assert intent.last_valid_block_height is not None
    return PendingTransaction(intent.signature, intent.raw_transaction, intent.last_valid_block_height)
