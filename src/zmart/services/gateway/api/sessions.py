"""Sign-in with a wallet."""

from __future__ import annotations

import msgspec
from litestar import post
from litestar.params import JSONBody

from zmart.client.shapes.people import Message, Nonce, Session
from zmart.errors import Unauthenticated
from zmart.market.times import iso, iso_of_seconds
from zmart.services.gateway.api import lookup, schemas
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.request_auth import Auth, checked_length
from zmart.services.gateway.http.request_guard import LIMIT

_NONCE = {LIMIT: "nonce"}


class WalletOnly(msgspec.Struct, frozen=True):
    wallet: schemas.WalletText


class SignedMessage(msgspec.Struct, frozen=True):
    wallet: schemas.WalletText
    message: schemas.SignInText
    signature: schemas.SignatureText


@post("/api/auth/nonce", status_code=200, opt=_NONCE, tags=["auth"])
async def nonce(context: Context, data: JSONBody[WalletOnly]) -> Nonce:
    """A text for the wallet to sign; it counts once, within 5 minutes."""
    challenge = await context.sign_in.challenge(lookup.wallet_in_body(data.wallet))
    return Nonce(nonce=challenge.nonce, message=challenge.message, expires_at=iso(challenge.expires_at))


@post("/api/auth/verify", status_code=200, opt=_NONCE, tags=["auth"])
async def verify(context: Context, data: JSONBody[SignedMessage]) -> Session:
    """The signed text for a session token of an hour."""
    wallet = lookup.wallet_in_body(data.wallet)
    message = checked_length("message", data.message, 1, 2000)
    signature = checked_length("signature", data.signature, 1, 200)
    await context.sign_in.verify(wallet, message, signature)
    text, token = context.authenticator.tokens.issue(wallet)
    return Session(token=text, expires_at=iso_of_seconds(token.expires), wallet=wallet)


@post("/api/auth/logout", status_code=200, tags=["auth"])
async def logout(context: Context, auth: Auth) -> Message:
    """Revoke the session token that this request carries."""
    token = auth.principal.token
    if token is None:
        raise Unauthenticated(auth.principal.problem or "Send the session token that you want to revoke.")
    await context.authenticator.tokens.revoke(token)
    return Message(message="Signed out")


HANDLERS = [nonce, verify, logout]
