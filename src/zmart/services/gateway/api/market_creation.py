"""Handle the creation of a market: store its question as a draft, and build the transaction that creates it on
chain."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import post

from zmart.client.shapes import transactions as shapes
from zmart.errors import ChainError, Invalid, refuse_invalid
from zmart.market.amounts import amount_text
from zmart.market.published import same_named
from zmart.market.times import iso
from zmart.market.types import Lamports, MarketId, Shares
from zmart.proofs.market_document import MarketDraft
from zmart.services.gateway.api import lookup, market_documents, schemas, stakes, transaction_builder
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.former_names import FORMER_NAMES
from zmart.services.gateway.http.request_auth import Auth
from zmart.services.gateway.http.security import WALLET
from zmart.services.gateway.openapi.declarations import LINKS, example, lead_to
from zmart.services.request_body import RequestBody


class NewMarket(RequestBody, frozen=True, kw_only=True):
    """A market to create. `b_parameter` and `initial_liquidity` are in units of 1e-9. `end_date` must lie in the
    future by the chain's clock: ISO 8601, or milliseconds since 1970."""

    question: schemas.Question
    end_date: schemas.EndDate | schemas.EndDateMs
    b_parameter: schemas.Amount
    initial_liquidity: schemas.Amount
    description: schemas.Description = ""
    category: schemas.Category = "other"
    tags: schemas.Tags = msgspec.field(default_factory=list)


_FORMER_NAMES = {
    "liquidity_parameter": "b_parameter",
    "liquidity": "initial_liquidity",
    "ends_at": "end_date",
}
_FROZEN_HARBOUR = example(
    question="Will the harbour be frozen in February?",
    description="By the harbour master's log.",
    category="weather",
    tags=["ice"],
    end_date="2100-02-28T12:00:00Z",
    b_parameter=20_000_000_000,
    initial_liquidity=15_000_000_000,
)


@post(
    "/",
    operation_id="CreateMarket",
    security=WALLET,
    opt={LINKS: lead_to("GetMarket", key="$response.body#/id"), FORMER_NAMES: _FORMER_NAMES},
)
async def create_market(
    context: Context, auth: Auth, data: Annotated[NewMarket, _FROZEN_HARBOUR]
) -> shapes.CreatedMarket:
    """Store the question as a draft, pin it, and build the transaction that creates the market. If no transaction can
    be built (503), the draft is kept: the same request, sent again, returns a transaction for it. If the wallet does
    not hold the deposit `initial_liquidity`, the question is not pinned until the wallet holds it and sends the request
    again, or the market is on chain. Limits for a day: 100 drafts of a wallet that holds the deposit, 400 of all such
    wallets of one address, 100 of all other wallets of one address. Beyond them the answer is 429 with Retry-After. A
    request for a stored draft, or one that could not be stored (503), does not count."""
    draft = _checked(context, data, datetime.now(UTC))
    creator, client, new_id = await auth.wallet(), auth.request.client, MarketId(secrets.token_hex(32))
    try:
        funded, chain_time = await asyncio.gather(
            stakes.is_funded(context, creator, draft.initial_liquidity), context.chain_time.get()
        )
    except ChainError:
        uses = stakes.uses_of_draft(context, creator, client, funded=False)
        await market_documents.keep_question(context, new_id, creator, draft, uses)
        raise
    if chain_time is not None:  # on a local chain it may be days ahead
        _checked(context, data, datetime.fromtimestamp(chain_time, UTC))
    uses = stakes.uses_of_draft(context, creator, client, funded=funded)
    stored = await market_documents.keep_question(context, new_id, creator, draft, uses, is_pinned=funded)
    document, market_id = stored.document, stored.document.market_id
    instruction = context.program.instructions.create_market(
        creator,
        market_id,
        b_parameter=draft.b_parameter,
        initial_liquidity=draft.initial_liquidity,
        ipfs_question_hash=document.cid,
    )
    built, _ = await asyncio.gather(
        transaction_builder.build(context, creator, [instruction]),
        market_documents.pin_question(context, stored),
    )
    return shapes.CreatedMarket(
        id=market_id,
        market_id=market_id,
        on_chain_address=context.program.addresses.market(market_id),
        cid=document.cid,
        message="Sign and send the transaction; until it has landed the market is a draft that only you see.",
        **same_named(built, shapes.UnsignedTransaction),
    )


def _checked(context: AppContext, data: NewMarket, now: datetime) -> MarketDraft:
    """Return the draft. Raises Invalid with every field that is wrong. `now` is the time after which the market must
    end: this machine's before the chain is read, so that a draft can be kept while the RPC is unavailable."""
    ends_at = lookup.moment_of("end_date", str(data.end_date))
    b, deposit = data.b_parameter, data.initial_liquidity
    least_b = context.pricing.min_b
    problems = []
    if ends_at <= now:
        is_ahead = ends_at > datetime.now(UTC)
        sentence = f" The chain's clock is ahead: it shows {iso(now)}." if is_ahead else ""
        problems.append(Invalid("end_date", f"end_date must lie in the future.{sentence}"))
    if b < least_b:
        sentence = f"b_parameter must be at least {least_b}, else nobody can trade."
        problems.append(Invalid("b_parameter", sentence))
    elif deposit < (least_deposit := context.pricing.min_deposit(b)):
        sentence = f"initial_liquidity must be at least {least_deposit} ({amount_text(least_deposit)} SOL) for this b."
        problems.append(Invalid("initial_liquidity", sentence))
    refuse_invalid(problems)
    return MarketDraft(
        question=data.question,
        description=data.description,
        category=data.category,
        tags=data.tags,
        ends_at=ends_at,
        b_parameter=Shares(b),
        initial_liquidity=Lamports(deposit),
    )
