"""What became of an effect on chain, for the services that wanted it: figures, alerts, and the error that pauses."""

from __future__ import annotations

from typing import assert_never

from prometheus_client import Counter

from zmart.chain.sender import AlreadyDone, Expired, Failed, Landed, Outcome, Uncertain
from zmart.decisions.context import Authority, shows_effect
from zmart.errors import ChainError, ProgramError
from zmart.store import alerts, intents
from zmart.store.intents import Action, IntentRow

outcomes = Counter("zmart_effects_total", "Effects carried out on chain", ["action", "outcome"])
signings = Counter("zmart_effects_signings_total", "Transactions signed for effects", ["action"])
fees = Counter("zmart_effects_fee_lamports_total", "Lamports paid for effects that landed", ["action"])

_OPERATORS_ROUND = 0
_BY_OPERATORS = (Action.APPROVE_PROPOSAL, Action.CANCEL_MARKET)


async def bring_about(authority: Authority, intent: IntentRow) -> bool:
    """Carry the effect out. True when the chain shows it, False while another process is at it.

    Called because the account does not show the effect: an intent that was closed is taken up again.
    Raises ProgramError when it was refused, ChainError when it expired or cannot be judged (then with an alert).
    """
    if intent.state.is_done:
        await intents.reopen(authority.pool, intent.id)
    outcome = await authority.carry_out(intent)
    action = intent.action.value
    outcomes.labels(action, type(outcome).__name__ if outcome else "Busy").inc()
    made = (await intents.one(authority.pool, intent.id)).attempts - intent.attempts
    signings.labels(action).inc(max(made, 0))
    return await _settled(authority, intent, outcome)


async def close(authority: Authority, intent: IntentRow) -> bool:
    """Bring an intent to its end that was left open, if the account shows its effect (a stored signature is judged
    then), or if an operator asked for it. False for all others: they belong to who decides about the market."""
    by_operator = intent.round == _OPERATORS_ROUND and intent.action in _BY_OPERATORS
    if not by_operator and not shows_effect(await authority.market(intent.market_id), intent):
        return False
    await bring_about(authority, intent)
    return True


async def _settled(authority: Authority, intent: IntentRow, outcome: Outcome | None) -> bool:
    action, key = intent.action.value, f"uncertain:{intent.id}"
    match outcome:
        case None:
            return False
        case Landed() | AlreadyDone():
            if isinstance(outcome, Landed):
                fees.labels(action).inc(outcome.fee_lamports)
            await alerts.resolve_alert(authority.pool, key)
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
            await alerts.raise_alert(authority.pool, key, "critical", text)
            raise ChainError(text)
    assert_never(outcome)
