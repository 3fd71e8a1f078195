"""Handle a market's lifecycle: users activate, resolve and dispute; the operator approves, cancels and releases."""

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
from zmart.services.gateway.api.stakes import EVIDENCE, uses_of_stake
from zmart.services.gateway.api.transaction_builder import MarketOnChain
from zmart.services.gateway.api.vote_terms import review_of
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.request_auth import Auth, RequestAuth
from zmart.services.gateway.http.security import OPERATOR, WALLET
from zmart.services.gateway.openapi.declarations import example, refusals
from zmart.services.request_body import RequestBody
from zmart.store.intents import Action
from zmart.votes import reviews


class Resolution(RequestBody, frozen=True, kw_only=True):
    """A proposed outcome, true for YES, and its evidence: either `ipfs_evidence_hash`, the CID of a document, or
    `evidence`, a text that is pinned for you."""

    either = ("evidence", "ipfs_evidence_hash")
    outcome: bool
    ipfs_evidence_hash: schemas.Cid | None = None
    evidence: schemas.Evidence | None = None


class Release(RequestBody, frozen=True, kw_only=True):
    """The reason for which the operator releases a dispute. `note` is stored with who released it."""

    note: schemas.Note


_HARBOUR_LOG = example(outcome=True, evidence="The harbour master's log, page 12.")
_A_RELEASE = example(note="The twelve voters are known to us.")


@post(
    "/activate",
    status_code=200,
    operation_id="Activate",
    security=OPERATOR,
    responses=refusals(403, 404, 409),
)
async def activate(context: Context, auth: Auth, key: MarketKeyInPath) -> shapes.MarketTransaction:
    """Build the transaction that opens an approved market for trading, for its creator or the admin to sign."""
    ref = lookup.market_in_path(key)
    if auth.principal.operator:
        on_chain = await transaction_builder.on_chain(context, ref)
        return await _answer(
            context, on_chain, on_chain.config.admin, _activation(context, on_chain, on_chain.config.admin)
        )
    wallet = await auth.wallet()
    on_chain = await transaction_builder.on_chain(context, ref)
    creator, admin = on_chain.account.creator, on_chain.config.admin
    if wallet not in (creator, admin):
        raise Forbidden(
            f"A market is activated by its creator {creator} or the admin {admin}, not by {wallet}."
        )
    return await _answer(context, on_chain, wallet, _activation(context, on_chain, wallet))


def _activation(context: AppContext, on_chain: MarketOnChain, authority: Wallet) -> Instruction:
    needs(on_chain, MarketState.APPROVED)
    return context.program.instructions.activate_market(authority, on_chain.account.market_id)


@post("/resolve", status_code=200, operation_id="Resolve", security=WALLET, responses=refusals(404, 409))
async def resolve(
    context: Context, auth: Auth, key: MarketKeyInPath, data: Annotated[Resolution, _HARBOUR_LOG]
) -> shapes.ResolveTransaction:
    """Build the transaction that proposes the outcome of a market. Evidence given as text is stored and pinned if the
    simulation succeeds: at most 50 documents a day of one wallet, and 200 of all wallets of one address. Beyond that
    the answer is 429 with Retry-After."""
    ref = lookup.market_in_path(key)
    cid, evidence = market_documents.evidence(data.ipfs_evidence_hash, data.evidence)
    wallet = await auth.wallet()
    on_chain = await transaction_builder.on_chain(context, ref)
    needs(on_chain, MarketState.ACTIVE)
    instruction = context.program.instructions.resolve_market(
        wallet, on_chain.account.market_id, proposed_outcome=data.outcome, ipfs_evidence_hash=cid
    )
    built = await transaction_builder.build(context, wallet, [instruction])
    if evidence is not None and built.simulation.ok:
        uses = uses_of_stake(context, EVIDENCE, wallet, auth.request.client)
        await market_documents.keep_evidence(context, on_chain.account.market_id, cid, evidence, uses)
    return shapes.ResolveTransaction(
        **transaction_builder.parts(on_chain, built), outcome=data.outcome, ipfs_evidence_hash=cid
    )


@post("/dispute", status_code=200, operation_id="Dispute", security=WALLET, responses=refusals(404, 409))
async def dispute(context: Context, auth: Auth, key: MarketKeyInPath) -> shapes.MarketTransaction:
    """Build the transaction that disputes the proposed outcome of a market, which starts a vote."""
    ref = lookup.market_in_path(key)
    wallet = await auth.wallet()
    on_chain = await transaction_builder.on_chain(context, ref)
    needs(on_chain, MarketState.RESOLVING)
    instruction = context.program.instructions.initiate_dispute(wallet, on_chain.account.market_id)
    return await _answer(context, on_chain, wallet, instruction)


@post("/approve", status_code=200, operation_id="Approve", responses=refusals(403, 404, 409))
async def approve(context: Context, auth: Auth, key: MarketKeyInPath) -> shapes.OperatorTransaction:
    """Approve a proposed market whose recorded votes reach the threshold. The transaction is sent if the gateway holds
    the admin's key, else it is returned for the admin to sign."""
    return await _as_admin(context, auth, key, Action.APPROVE_PROPOSAL)


@post("/cancel", status_code=200, operation_id="Cancel", responses=refusals(403, 404, 409))
async def cancel(context: Context, auth: Auth, key: MarketKeyInPath) -> shapes.OperatorTransaction:
    """Cancel a proposed or approved market. The transaction is sent if the gateway holds the admin's key, else it is
    returned for the admin to sign."""
    return await _as_admin(context, auth, key, Action.CANCEL_MARKET)


@post("/release", status_code=200, operation_id="Release", responses=refusals(403, 404, 409))
async def release(
    context: Context, auth: Auth, key: MarketKeyInPath, data: Annotated[Release, _A_RELEASE]
) -> DisputeReview:
    """Release a dispute whose result waits for review (DISPUTE_REVIEW=hold). The market is then finalized by the votes
    on the dispute."""
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
    on_chain = await transaction_builder.on_chain(context, ref)
    state = on_chain.account.state
    allowed: tuple[MarketState, ...] = (MarketState.PROPOSED,)
    if action is Action.CANCEL_MARKET:
        allowed = (MarketState.PROPOSED, MarketState.APPROVED)
    if state not in allowed:
        names = " or ".join(item.name for item in allowed)
        raise Conflict(f"This needs a market in {names}; this one is {state.name}.")
    return await send_as_admin(context, on_chain, action)


async def _answer(
    context: AppContext, on_chain: MarketOnChain, payer: Wallet, instruction: Instruction
) -> shapes.MarketTransaction:
    return shapes.MarketTransaction(
        **transaction_builder.parts(on_chain, await transaction_builder.build(context, payer, [instruction]))
    )


def needs(on_chain: MarketOnChain, state: MarketState) -> None:
    """Check that the market is in `state` on chain. Raises Conflict if it is in another state."""
    if on_chain.account.state is not state:
        raise Conflict(f"This needs a market in {state.name}; this one is {on_chain.account.state.name}.")


_MARKET = "/api/markets/{key:str}"
ROUTER = Router(_MARKET, route_handlers=[activate, resolve, dispute], tags=["lifecycle"])
OPERATOR_ROUTER = Router(
    _MARKET, route_handlers=[approve, cancel, release], tags=["operator"], security=OPERATOR
)
