"""Handle sign-in with a wallet, and sign-out."""

from __future__ import annotations

from typing import Annotated

import structlog
from litestar import Router, post

from zmart.client.shapes.people import Message, Nonce, Session
from zmart.errors import Unauthenticated
from zmart.market.times import iso, iso_of_seconds
from zmart.services.gateway.api import lookup, schemas
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.request_auth import Auth
from zmart.services.gateway.http.request_guard import LIMIT
from zmart.services.gateway.http.security import SIGNED_IN
from zmart.services.gateway.openapi.declarations import A_SIGNATURE, A_WALLET, example, refusals
from zmart.services.request_body import RequestBody

_NONCE = {LIMIT: "nonce"}
log = structlog.get_logger()
_SIGNED = example(
    wallet=A_WALLET, message="... wants you to sign in with your Solana account: ...", signature=A_SIGNATURE
)


class WalletOnly(RequestBody, frozen=True, kw_only=True):
    """The wallet that wants to sign in. The answer is a message for this wallet to sign."""

    wallet: schemas.WalletText


class SignedMessage(RequestBody, frozen=True, kw_only=True):
    """The message from POST /api/auth/nonce, with the wallet's signature."""

    wallet: schemas.WalletText
    message: schemas.SignInText
    signature: schemas.SignatureText


@post("/nonce", status_code=200, operation_id="Nonce", opt=_NONCE)
async def nonce(
    context: Context, request: GatewayRequest, data: Annotated[WalletOnly, example(wallet=A_WALLET)]
) -> Nonce:
    """Return a message for the wallet to sign, valid once within 5 minutes. Its domain is the host of the page that
    sends this request. That host must be listed in AUTH_DOMAIN, PUBLIC_API_URL or CORS_ORIGIN, else the answer is
    400."""
    wallet = lookup.wallet_in_body(data.wallet)
    uri = context.sign_in_hosts.uri_of(request.headers.get("origin"), request.headers.get("host", ""))
    challenge = await context.sign_in.challenge(wallet, uri)
    return Nonce(nonce=challenge.nonce, message=challenge.message, expires_at=iso(challenge.expires_at))


@post("/verify", status_code=200, operation_id="Verify", responses=refusals(401), opt=_NONCE)
async def verify(context: Context, data: Annotated[SignedMessage, _SIGNED]) -> Session:
    """Exchange the signed message for a session token, valid for an hour."""
    wallet = lookup.wallet_in_body(data.wallet)
    try:
        await context.sign_in.verify(wallet, data.message, data.signature)
    except Unauthenticated as problem:
        log.info("sign-in refused", wallet=wallet, reason=str(problem))
        raise
    text, token = context.authenticator.tokens.issue(wallet)
    log.info("signed in", wallet=wallet)
    return Session(token=text, expires_at=iso_of_seconds(token.expires), wallet=wallet)


@post("/logout", status_code=200, operation_id="Logout", security=SIGNED_IN)
async def logout(context: Context, auth: Auth) -> Message:
    """Revoke the session token of this request."""
    token = auth.principal.token
    if token is None:
        raise Unauthenticated(auth.principal.problem or "There is no session token to revoke.")
    await context.authenticator.tokens.revoke(token)
    log.info("signed out", wallet=token.wallet)
    return Message(message="Signed out")


ROUTER = Router("/api/auth", route_handlers=[nonce, verify, logout], tags=["auth"])
