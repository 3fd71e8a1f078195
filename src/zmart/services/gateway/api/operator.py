"""What only the admin may do: sent once with the admin's key where it is held, else built for the admin to sign."""

from __future__ import annotations

import asyncio
from typing import assert_never

from zmart.chain.sender import AlreadyDone, Expired, Failed, Landed, Outcome, SendPolicy, Uncertain
from zmart.client.shapes.transactions import OperatorTransaction
from zmart.decisions.context import DecisionContext
from zmart.decisions.execution import execute
from zmart.errors import ChainError, ProgramError
from zmart.market.published import same_named
from zmart.market.types import ChainTime, Lamports, Signature, Slot, VoteKind
from zmart.services.gateway.api import transaction_builder
from zmart.services.gateway.api.error_messages import refusal
from zmart.services.gateway.api.transaction_builder import MarketOnChain
from zmart.services.gateway.context import AppContext
from zmart.store import intents, tallies
from zmart.store.intents import Action
from zmart.votes.completeness import require_recent

_WAIT_S = 12.0
_PENDING: set[asyncio.Task[Outcome | None]] = set()
"""Effects that outlive the request which asked for them."""


async def send_as_admin(context: AppContext, found: MarketOnChain, action: Action) -> OperatorTransaction:
    """Raises IndexIncomplete for an approval that votes may have overtaken, ProgramError when the program refuses,
    ChainError when nobody can tell."""
    if action is Action.APPROVE_PROPOSAL:
        now = (await context.chain().get_clock()).unix_timestamp
        row = await tallies.latest(context.pool, found.account.market_id, VoteKind.PROPOSAL)
        counted = (row.closed_at, row.closed_slot) if row else (ChainTime(0), Slot(0))
        market_id = found.account.market_id
        await require_recent(context.pool, context.program.address, market_id, now, *counted)
    if context.admin is None or str(context.admin.pubkey()) != found.config.admin:
        return await _unsigned(context, found, action)
    intent = await intents.plan(context.pool, found.account.market_id, action, 0, {})
    task = asyncio.create_task(execute(_decision_context(context), intent))
    _PENDING.add(task)
    task.add_done_callback(_PENDING.discard)
    await asyncio.wait({task}, timeout=_WAIT_S)
    if not task.done():
        return _answer(found, "pending", sent=True)
    return _told(found, task.result())


def _told(found: MarketOnChain, outcome: Outcome | None) -> OperatorTransaction:
    match outcome:
        case None:
            return _answer(found, "pending", sent=True)
        case Landed():
            return _answer(found, "landed", sent=True, signature=outcome.signature)
        case AlreadyDone():
            return _answer(found, "already_done", sent=False)
        case Failed():
            raise refusal(ProgramError(outcome.code, outcome.name, outcome.message))
        case Expired():
            raise ChainError(f"Signed {outcome.signings} times and never landed: try again.")
        case Uncertain():
            raise ChainError(f"Nobody can tell whether {outcome.signature} landed: {outcome.reason}.")
    assert_never(outcome)


def _answer(
    found: MarketOnChain, status: str, *, sent: bool, signature: Signature | None = None
) -> OperatorTransaction:
    return OperatorTransaction(
        market_id=found.account.market_id,
        on_chain_address=found.address,
        sent=sent,
        status=status,
        signature=signature,
    )


async def _unsigned(context: AppContext, found: MarketOnChain, action: Action) -> OperatorTransaction:
    build, admin = context.program.instructions, found.config.admin
    make = build.approve_proposal if action is Action.APPROVE_PROPOSAL else build.cancel_market
    built = await transaction_builder.build(context, admin, [make(admin, found.account.market_id)])
    return OperatorTransaction(
        market_id=found.account.market_id,
        on_chain_address=found.address,
        sent=False,
        status="unsigned",
        **same_named(built, OperatorTransaction),
    )


def _decision_context(context: AppContext) -> DecisionContext:
    assert context.admin is not None
    settings = context.settings
    return DecisionContext(
        pool=context.pool,
        rpc=context.chain(),
        second_rpc=None,
        program=context.program,
        backend=context.backend or context.admin,
        admin=context.admin,
        policy=SendPolicy(max_priority_fee_lamports=Lamports(settings.max_priority_fee_lamports)),
    )
