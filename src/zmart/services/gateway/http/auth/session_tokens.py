"""Issue, read and revoke session tokens: signed by the gateway, valid for an hour.

Form: `zs1.<payload>.<seal>`; payload = base64url of JSON {wallet, id, expires}, seal = HMAC-SHA256 over it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time

import msgspec

from zmart.errors import StoreError, Unauthenticated
from zmart.feed.redis_client import RedisClient
from zmart.market.types import Wallet
from zmart.outage_lines import OutageLines

PREFIX = "zs1."
LIFETIME_S = 3600
_MAX_CHARS = 400
_CHECK_WITHIN_S = 1.0


class SessionToken(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a session token. `expires` is in Unix seconds; `id` names the token in revocations."""

    wallet: Wallet
    id: str
    expires: int


class SessionTokens:
    """Issue, read and revoke session tokens. Revocations are stored in Redis; while Redis is unavailable, this process
    knows only those that it made itself."""

    def __init__(self, secret: str, redis: RedisClient | None) -> None:
        self._secret = secret.encode()
        self._redis = redis
        self._revoked: dict[str, int] = {}
        self._outage = OutageLines("revocations cannot be read", "revocations can be read again")

    def issue(self, wallet: Wallet) -> tuple[str, SessionToken]:
        """Return a new token for the wallet, as text for the client and as content. It is valid for LIFETIME_S."""
        token = SessionToken(
            wallet=wallet, id=secrets.token_urlsafe(12), expires=int(time.time()) + LIFETIME_S
        )
        payload = _encode(msgspec.json.encode(token))
        return f"{PREFIX}{payload}.{self._seal(payload)}", token

    def read(self, text: str) -> SessionToken:
        """Return the content of a token. Raises Unauthenticated for an invalid or expired token."""
        payload, _, seal = text.removeprefix(PREFIX).partition(".")
        if len(text) > _MAX_CHARS or not hmac.compare_digest(self._seal(payload).encode(), seal.encode()):
            raise Unauthenticated("The session token is invalid: sign in again.")
        token = msgspec.json.decode(_decode(payload), type=SessionToken)
        if token.expires <= time.time():
            raise Unauthenticated("The session has expired: sign in again.")
        return token

    async def check(self, token: SessionToken) -> None:
        """Check that the token was not revoked. Raises Unauthenticated if it was."""
        if token.id in self._revoked:
            raise Unauthenticated("This session was signed out: sign in again.")
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(_CHECK_WITHIN_S):
                revoked = await self._redis.exists(_key(token))
        except (StoreError, TimeoutError) as problem:
            self._outage.failed(problem)
            return
        self._outage.succeeded()
        if revoked:
            raise Unauthenticated("This session was signed out: sign in again.")

    async def revoke(self, token: SessionToken) -> None:
        """Revoke the token. Raises StoreError when Redis cannot store the revocation; this process then refuses the
        token nevertheless."""
        now = int(time.time())
        self._revoked = {key: end for key, end in self._revoked.items() if end > now} | {
            token.id: token.expires
        }
        if self._redis is not None:
            await self._redis.set(_key(token), 1, ex=max(1, token.expires - now))

    def _seal(self, payload: str) -> str:
        return _encode(hmac.new(self._secret, payload.encode(), hashlib.sha256).digest())


def _key(token: SessionToken) -> str:
    return f"auth:revoked:{token.id}"


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise Unauthenticated("The session token is invalid: sign in again.") from None
