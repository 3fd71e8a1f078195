"""A market's life: create, activate, resolve, dispute for its people; approve, cancel for the operator."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

import msgspec
from litestar import post
from litestar.params import FromPath, JSONBody
from solders.instruction import Instruction

from zmart.client.shapes import transactions as shapes
from zmart.client.shapes.markets import DisputeReview
from zmart.errors import Conflict, Forbidden, Invalid
from zmart.market.types import Lamports, MarketId, MarketState, Shares, Wallet
from zmart.proofs import market_document as rules
from zmart.services.gateway.api import lookup, market_documents, schemas, transaction_builder
from zmart.services.gateway.api.operator import send_as_admin
from zmart.services.gateway.api.transaction_builder import MarketOnChain
from zmart.services.gateway.api.vote_terms import review_of
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.request_auth import Auth, RequestAuth, checked_length
from zmart.store.intents import Action
from zmart.votes import reviews


class NewMarket(msgspec.Struct, frozen=True, kw_only=True):
    """`b_parameter` and `initial_liquidity` in units of 1e-9. `end_date`: ISO 8601, in the future."""

    question: schemas.Question
    end_date: schemas.EndDate | schemas.EndDateMs
    b_parameter: schemas.Amount
    initial_liquidity: schemas.Amount
    description: schemas.Description = ""
    category: schemas.Category = "other"
    tags: schemas.Tags = []


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome` true is YES; the evidence as the CID of a document, or as text that is pinned for you."""

    outcome: bool
    ipfs_evidence_hash: schemas.Cid | None = None
    evidence: schemas.Evidence | None = None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Why the result of a dispute may stand; kept with who released it."""

    note: schemas.Note


@post("/api/markets", tags=["lifecycle"])
async def create_market(context: Context, auth: Auth, data: JSONBody[NewMarket]) -> shapes.CreatedMarket:
    """Store and pin the question, and build the transaction that makes the market. Where no transaction can be
    built (503), the draft is kept: the same request again answers with a transaction for it."""
    draft = _checked(context, data)
    creator = await auth.wallet()
    new_id, program = MarketId(secrets.token_hex(32)), context.program.address
    kept = await market_documents.keep_question(context, program, new_id, creator, draft)
    document, market_id = kept.document, kept.document.market_id
    instruction = context.program.instructions.create_market(
        creator,
        market_id,
        b_parameter=draft.b_parameter,
        initial_liquidity=draft.initial_liquidity,
        ipfs_question_hash=document.cid,
    )
    built, _ = await asyncio.gather(
        transaction_builder.build(context, creator, [instruction]),
        market_documents.pin_question(context, kept),
    )
    return shapes.CreatedMarket(
        id=market_id,
        market_id=market_id,
        on_chain_address=context.program.addresses.market(market_id),
        cid=document.cid,
        message="Sign and send the transaction; until it has landed the market is a draft that only you see.",
        **transaction_builder.transaction_parts(built),
    )


def _checked(context: AppContext, data: NewMarket) -> market_documents.MarketDraft:
    ends_at = lookup.moment_of("end_date", str(data.end_date))
    if ends_at <= datetime.now(UTC):
        raise Invalid("end_date", "end_date must lie in the future.")
    b, deposit = data.b_parameter, data.initial_liquidity
    if b < context.pricing.min_b:
        raise Invalid(
            "b_parameter", f"b_parameter must be at least {context.pricing.min_b}, else nobody can trade."
        )
    if deposit < context.pricing.min_deposit(b):
        least = context.pricing.min_deposit(b)
        raise Invalid("initial_liquidity", f"initial_liquidity must be at least {least} lamports for this b.")
    return market_documents.MarketDraft(
        question=checked_length("question", data.question, *rules.QUESTION_CHARS),
        description=checked_length("description", data.description, *rules.DESCRIPTION_CHARS),
        category=checked_length("category", data.category, *rules.CATEGORY_CHARS).lower(),
        tags=_tags(data.tags),
        ends_at=ends_at,
        b_parameter=Shares(b),
        initial_liquidity=Lamports(deposit),
    )


def _tags(tags: list[str]) -> list[str]:
    if len(tags) > rules.TAGS_MAX:
        raise Invalid("tags", f"A market has at most {rules.TAGS_MAX} tags.")
    return list(dict.fromkeys(checked_length("tags", tag, *rules.TAG_CHARS).lower() for tag in tags))


@post("/api/markets/{key:str}/activate", status_code=200, tags=["lifecycle"])
async def activate(context: Context, auth: Auth, key: FromPath[str]) -> shapes.MarketTransaction:
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


@post("/api/markets/{key:str}/resolve", status_code=200, tags=["lifecycle"])
async def resolve(
    context: Context, auth: Auth, key: FromPath[str], data: JSONBody[Resolution]
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


@post("/api/markets/{key:str}/dispute", status_code=200, tags=["lifecycle"])
async def dispute(context: Context, auth: Auth, key: FromPath[str]) -> shapes.MarketTransaction:
    """Dispute the proposed outcome, so that it is voted on."""
    ref = lookup.market_in_path(key)
    wallet = await auth.wallet()
    found = await transaction_builder.on_chain(context, ref)
    needs(found, MarketState.RESOLVING)
    instruction = context.program.instructions.initiate_dispute(wallet, found.account.market_id)
    return await _answer(context, found, wallet, instruction)


@post("/api/markets/{key:str}/approve", status_code=200, tags=["operator"])
async def approve(context: Context, auth: Auth, key: FromPath[str]) -> shapes.OperatorTransaction:
    """Approve a proposal whose recorded votes reach the threshold."""
    return await _as_admin(context, auth, key, Action.APPROVE_PROPOSAL)


@post("/api/markets/{key:str}/cancel", status_code=200, tags=["operator"])
async def cancel(context: Context, auth: Auth, key: FromPath[str]) -> shapes.OperatorTransaction:
    """Cancel a proposed or approved market."""
    return await _as_admin(context, auth, key, Action.CANCEL_MARKET)


@post("/api/markets/{key:str}/release", status_code=200, tags=["operator"])
async def release(context: Context, auth: Auth, key: FromPath[str], data: JSONBody[Release]) -> DisputeReview:
    """Let a dispute whose result waits for review (DISPUTE_REVIEW=hold) be settled by its votes."""
    ref = lookup.market_in_path(key)
    note = checked_length("note", data.note, 1, 1000)
    await auth.operator()
    market_id = await lookup.market_id_of(context, ref)
    by = "the operator's token" if auth.principal.operator else f"wallet {auth.principal.claimed}"
    released = review_of(await reviews.release(context.pool, market_id, by, note))
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


HANDLERS = [create_market, activate, resolve, dispute, approve, cancel, release]
