"""Relay signed transactions, and report their state."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.params import JSONBody

from zmart.client.shapes.transactions import Relayed, TransactionState
from zmart.services.gateway.api import lookup, schemas
from zmart.services.gateway.api.parameters import SignatureInPath
from zmart.services.gateway.context import Context
from zmart.services.gateway.openapi.declarations import LINKS, lead_to, refusals
from zmart.services.request_body import RequestBody


class SignedTransaction(RequestBody, frozen=True, kw_only=True):
    """A transaction in base64, signed by every required signer."""

    transaction: schemas.Base64


@post(
    "/",
    status_code=202,
    operation_id="SendTransaction",
    responses=refusals(409),
    opt={LINKS: lead_to("GetTransaction", signature="$response.body#/signature")},
)
async def send_transaction(context: Context, data: JSONBody[SignedTransaction]) -> Relayed:
    """Relay a signed transaction of the program; idempotent."""
    signature = await context.relay.send(data.transaction)
    return Relayed(signature=signature, status="live")


@get("/{signature:str}", operation_id="GetTransaction", responses=refusals(404))
async def transaction_state(context: Context, signature: SignatureInPath) -> TransactionState:
    """Return the state of a transaction: landed, failed (with the program's error), live (may still land) or expired
    (never can)."""
    return await context.relay.state_of(lookup.signature_in_path(signature))


ROUTER = Router(
    "/api/transactions", route_handlers=[send_transaction, transaction_state], tags=["transactions"]
)
