"""Signed transactions: relayed, and what became of them."""

from __future__ import annotations

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody

from zmart.client.shapes.transactions import Relayed, TransactionState
from zmart.services.gateway.api import lookup, schemas
from zmart.services.gateway.context import Context


class SignedTransaction(msgspec.Struct, frozen=True):
    """A whole transaction in base64, signed by every required signer."""

    transaction: schemas.Base64


@post("/api/transactions", status_code=202, tags=["transactions"])
async def send_transaction(context: Context, data: JSONBody[SignedTransaction]) -> Relayed:
    """Relay a signed transaction of the program. Sending the same one again is harmless."""
    signature = await context.relay.send(data.transaction)
    return Relayed(signature=signature, status="live")


@get("/api/transactions/{signature:str}", tags=["transactions"])
async def transaction_state(context: Context, signature: FromPath[str]) -> TransactionState:
    """landed, failed (with the program's error), live (it may still land) or expired (it never will)."""
    return await context.relay.state_of(lookup.signature_in_path(signature))


HANDLERS = [send_transaction, transaction_state]
