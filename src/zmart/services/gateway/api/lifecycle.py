"""A market's life: activate, resolve, dispute for its people; approve, cancel for the operator."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, post
from solders.instruction import Instruction

from zmart.client.shapes import transactions as shapes
from zmart.client.shapes.markets import DisputeReview
from zmart.errors import Conflict, Forbidden
from zmart.market.types import MarketState, Wallet
from zmart.services.gateway.api import lookup, market_documents, schemas, transaction_builder
from zmart.services.gateway.api.operator import send_as_admin
from zmart.services.gateway.api.parameters import MarketKeyInPath
from zmart.services.gateway.api.transaction_builder import MarketOnChain
from zmart.services.gateway.api.vote_terms import review_of
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.request_auth import Auth, RequestAuth
from zmart.services.gateway.http.security import OPERATOR, WALLET
from zmart.services.gateway.openapi.declarations import example, refusals
from zmart.store.intents import Action
from zmart.votes import reviews


class Resolution(schemas.RequestBody, frozen=True, kw_only=True):
    """`outcome` true is YES; the evidence as the CID of a document, or as text that is pinned for you."""

    either = ("evidence", "ipfs_evidence_hash")
    outcome: bool
    ipfs_evidence_hash: schemas.Cid | None = None
    evidence: schemas.Evidence | None = None


class Release(schemas.RequestBody, frozen=True, kw_only=True):
    """Why the result of a dispute may stand; kept with who released it."""

    note: schemas.Note


_HARBOUR_LOG = example(outcome=True, evidence="The harbour master's log, page 12.")
_KNOWN_VOTERS = example(note="The twelve voters are known to us.")


@post(
    "/activate",
    status_code=200,
    operation_id="Activate",
    security=OPERATOR,
    responses=refusals(403, 404, 409),
)
async def activate(context: Context, auth: Auth, key: MarketKeyInPath) -> shapes.MarketTransaction:
    """Open an approved market for trading: its creator, or the operator with the admin's key."""
    ref = lookup.market_in_path(key)
    if auth.principal.operator:
        found = await transaction_builder.on_chain(context, ref)
        return await _answer(
            context, found, found.config.admin, _activation(context, found, found.config.admin)
        )
    wallet = await auth.wallet()
    found = await transaction_builder.on_chain(context, ref)
    if wallet not in (found.account.creator, found.config.admin):
        raise Forbidden("A market is activated by its creator or the admin.")
    return await _answer(context, found, wallet, _activation(context, found, wallet))


def _activation(context: AppContext, found: MarketOnChain, authority: Wallet) -> Instruction:
    needs(found, MarketState.APPROVED)
    return context.program.instructions.activate_market(authority, found.account.market_id)


@post("/resolve", status_code=200, operation_id="Resolve", security=WALLET, responses=refusals(404, 409))
async def resolve(
    context: Context, auth: Auth, key: MarketKeyInPath, data: Annotated[Resolution, _HARBOUR_LOG]
) -> shapes.ResolveTransaction:
    """Propose the outcome; evidence given as text is stored and pinned."""
    ref = lookup.market_in_path(key)
    cid, evidence = market_documents.evidence(data.ipfs_evidence_hash, data.evidence)
    wallet = await auth.wallet()
    found = await transaction_builder.on_chain(context, ref)
    needs(found, MarketState.ACTIVE)
    instruction = context.program.instructions.resolve_market(
        wallet, found.account.market_id, proposed_outcome=data.outcome, ipfs_evidence_hash=cid
    )
    built = await transaction_builder.build(context, wallet, [instruction])
    if evidence is not None:
        await market_documents.keep_evidence(context, found.account.market_id, cid, evidence)
    return shapes.ResolveTransaction(
        **transaction_builder.parts(found, built), outcome=data.outcome, ipfs_evidence_hash=cid
    )


@post("/dispute", status_code=200, operation_id="Dispute", security=WALLET, responses=refusals(404, 409))
async def dispute(context: Context, auth: Auth, key: MarketKeyInPath) -> shapes.MarketTransaction:
    """Dispute the proposed outcome, so that it is voted on."""
    ref = lookup.market_in_path(key)
    wallet = await auth.wallet()
    found = await transaction_builder.on_chain(context, ref)
    needs(found, MarketState.RESOLVING)
    instruction = context.program.instructions.initiate_dispute(wallet, found.account.market_id)
    return await _answer(context, found, wallet, instruction)


@post("/approve", status_code=200, operation_id="Approve", responses=refusals(403, 404, 409))
async def approve(context: Context, auth: Auth, key: MarketKeyInPath) -> shapes.OperatorTransaction:
    """Approve a proposal whose recorded votes reach the threshold."""
    return await _as_admin(context, auth, key, Action.APPROVE_PROPOSAL)


@post("/cancel", status_code=200, operation_id="Cancel", responses=refusals(403, 404, 409))
async def cancel(context: Context, auth: Auth, key: MarketKeyInPath) -> shapes.OperatorTransaction:
    """Cancel a proposed or approved market."""
    return await _as_admin(context, auth, key, Action.CANCEL_MARKET)


@post("/release", status_code=200, operation_id="Release", responses=refusals(403, 404, 409))
async def release(
    context: Context, auth: Auth, key: MarketKeyInPath, data: Annotated[Release, _KNOWN_VOTERS]
) -> DisputeReview:
    """Let a dispute whose result waits for review (DISPUTE_REVIEW=hold) be settled by its votes."""
    ref = lookup.market_in_path(key)
    await auth.operator()
    market_id = await lookup.market_id_of(context, ref)
    by = "the operator's token" if auth.principal.operator else f"wallet {auth.principal.claimed}"
    released = review_of(await reviews.release(context.pool, market_id, by, data.note))
    assert released is not None
    return released


async def _as_admin(
    context: AppContext, auth: RequestAuth, key: str, action: Action
) -> shapes.OperatorTransaction:
    ref = lookup.market_in_path(key)
    await auth.operator()
    found = await transaction_builder.on_chain(context, ref)
    state = found.account.state
    allowed: tuple[MarketState, ...] = (MarketState.PROPOSED,)
    if action is Action.CANCEL_MARKET:
        allowed = (MarketState.PROPOSED, MarketState.APPROVED)
    if state not in allowed:
        words = " or ".join(item.name for item in allowed)
        raise Conflict(f"This needs a market in {words}; this one is {state.name}.")
    return await send_as_admin(context, found, action)


async def _answer(
    context: AppContext, found: MarketOnChain, payer: Wallet, instruction: Instruction
) -> shapes.MarketTransaction:
    return shapes.MarketTransaction(
        **transaction_builder.parts(found, await transaction_builder.build(context, payer, [instruction]))
    )


def needs(found: MarketOnChain, state: MarketState) -> None:
    """Conflict unless the market is in that state on chain."""
    if found.account.state is not state:
        raise Conflict(f"This needs a market in {state.name}; this one is {found.account.state.name}.")


_MARKET = "/api/markets/{key:str}"
ROUTER = Router(_MARKET, route_handlers=[activate, resolve, dispute], tags=["lifecycle"])
OPERATOR_ROUTER = Router(
    _MARKET, route_handlers=[approve, cancel, release], tags=["operator"], security=OPERATOR
)
