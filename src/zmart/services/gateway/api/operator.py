"""Execute the admin's actions on a market: send the transaction if the gateway has the admin's key, else return it for
the admin to sign."""

from __future__ import annotations

import asyncio
from typing import assert_never

import structlog

from zmart.chain.sender import AlreadyDone, Expired, Failed, Landed, Outcome, SendPolicy, Uncertain
from zmart.client.shapes.transactions import OperatorTransaction
from zmart.decisions.approvals import OPERATORS_ROUND, ApprovalTerms, plan_approval, require_approvable
from zmart.decisions.context import DecisionContext
from zmart.decisions.execution import execute
from zmart.errors import ChainError, ProgramError
from zmart.market.published import same_named
from zmart.market.types import Lamports, Signature
from zmart.services.gateway.api import transaction_builder
from zmart.services.gateway.api.error_messages import refusal
from zmart.services.gateway.api.transaction_builder import MarketOnChain
from zmart.services.gateway.context import AppContext
from zmart.store import intents
from zmart.store.intents import Action

log = structlog.get_logger()

_WAIT_S = 12.0
_REMAINS = "The action remains planned, and an aggregator executes it as soon as it can: `zmart intents list` shows it."
_PENDING: set[asyncio.Task[Outcome | None]] = set()
"""The tasks that execute actions of the admin; each may continue after the response to its request."""


async def send_as_admin(context: AppContext, on_chain: MarketOnChain, action: Action) -> OperatorTransaction:
    """Execute an action of the admin, or return its unsigned transaction if the gateway does not have the admin's key.
    If the result is not known after 12 s, another process executes the action, or its transactions expired, the status
    is `pending`: an aggregator continues what is planned.

    Raises for an approval IndexIncomplete while the index may lack votes that contradict it, and ApprovalRefused if the
    votes do not allow it; ProgramError when the program refuses the transaction, ChainError when it cannot be sent now
    or its result cannot be determined.
    """
    market_id = on_chain.account.market_id
    if context.admin is None or str(context.admin.pubkey()) != on_chain.config.admin:
        if action is Action.APPROVE_PROPOSAL:
            await require_approvable(context.pool, market_id, await _approval_terms(context, on_chain))
        return await _unsigned(context, on_chain, action)
    if action is Action.APPROVE_PROPOSAL:
        terms = await _approval_terms(context, on_chain)
        intent = await plan_approval(context.pool, market_id, terms, by_operator=True)
    else:
        intent = await intents.plan(context.pool, market_id, action, OPERATORS_ROUND, {})
    task = asyncio.create_task(execute(_decision_context(context), intent), name=f"{action} {market_id}")
    _PENDING.add(task)
    task.add_done_callback(_PENDING.discard)
    try:
        await asyncio.wait({task}, timeout=_WAIT_S)
    finally:
        if not task.done():
            task.add_done_callback(_log_failure)
    if not task.done():
        return _answer(on_chain, "pending", sent=True)
    try:
        return _result_of(on_chain, task.result())
    except ProgramError:  # nothing continues what the program has refused
        raise
    except ChainError as problem:
        raise ChainError(f"{problem} {_REMAINS}") from problem


async def _approval_terms(context: AppContext, on_chain: MarketOnChain) -> ApprovalTerms:
    now = (await context.chain().get_clock()).unix_timestamp
    threshold_bps = on_chain.config.proposal_approval_threshold
    return ApprovalTerms.of_account(context.program.address, now, threshold_bps, on_chain.account)


def _log_failure(task: asyncio.Task[Outcome | None]) -> None:
    """Log the error of an action that ended after the response to its request: nobody else reads it."""
    if not task.cancelled() and (problem := task.exception()) is not None:
        log.error("the operator's action failed after its response", task=task.get_name(), exc_info=problem)


def _result_of(on_chain: MarketOnChain, outcome: Outcome | None) -> OperatorTransaction:
    match outcome:
        case None | Expired():
            return _answer(on_chain, "pending", sent=True)
        case Landed():
            return _answer(on_chain, "landed", sent=True, signature=outcome.signature)
        case AlreadyDone():
            return _answer(on_chain, "already_done", sent=False)
        case Failed():
            raise refusal(ProgramError(outcome.code, outcome.name, outcome.message))
        case Uncertain():
            raise ChainError(f"It is unknown whether {outcome.signature} landed: {outcome.reason}.")
    assert_never(outcome)


def _answer(
    on_chain: MarketOnChain, status: str, *, sent: bool, signature: Signature | None = None
) -> OperatorTransaction:
    return OperatorTransaction(
        market_id=on_chain.account.market_id,
        on_chain_address=on_chain.address,
        sent=sent,
        status=status,
        signature=signature,
    )


async def _unsigned(context: AppContext, on_chain: MarketOnChain, action: Action) -> OperatorTransaction:
    build, admin = context.program.instructions, on_chain.config.admin
    make = build.approve_proposal if action is Action.APPROVE_PROPOSAL else build.cancel_market
    built = await transaction_builder.build(context, admin, [make(admin, on_chain.account.market_id)])
    return OperatorTransaction(
        market_id=on_chain.account.market_id,
        on_chain_address=on_chain.address,
        sent=False,
        status="unsigned",
        **same_named(built, OperatorTransaction),
    )


def _decision_context(context: AppContext) -> DecisionContext:
    """Return the context of a decision. With two RPCs set, both must deny what was sent before it is signed again."""
    assert context.admin is not None
    return DecisionContext(
        pool=context.pool,
        rpc=context.chain(),
        witnesses=context.witnesses,
        program=context.program,
        backend=context.backend or context.admin,
        admin=context.admin,
        policy=SendPolicy(max_priority_fee_lamports=Lamports(context.settings.max_priority_fee_lamports)),
    )
