"""Let wallets sign in with Solana: the wallet signs a message with a nonce, which is accepted once.

The message has the form of github.com/phantom/sign-in-with-solana (the ABNF of its "Sign In Message").
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from zmart.errors import StoreError, Unauthenticated
from zmart.feed.redis_client import RedisClient
from zmart.market.times import iso
from zmart.market.types import Wallet
from zmart.proofs.signatures import require_signature

NONCE_LIFETIME_S = 300
_STATEMENT = "Sign in to ZMART. This costs nothing and sends no transaction."
_NONCE = re.compile(r"^Nonce: ([A-Za-z0-9]{16,64})$", re.MULTILINE)
_NEW_NONCE = "ask POST /api/auth/nonce for a new message and sign that."


class SignInChallenge(msgspec.Struct, frozen=True, kw_only=True):
    """A challenge to sign in: `message` is the exact text that the wallet has to sign until `expires_at`."""

    nonce: str
    message: str
    expires_at: datetime


class _PendingSignIn(msgspec.Struct, frozen=True):
    wallet: Wallet
    message: str


class SignIn:
    """Let wallets sign in with a message that can be used once. Nonces are stored in Redis, and reading a nonce deletes
    it. Raises StoreError while Redis is unavailable."""

    def __init__(self, redis: RedisClient | None, chain_id: str) -> None:
        self._redis = redis
        self._chain_id = chain_id

    async def challenge(self, wallet: Wallet, uri: str) -> SignInChallenge:
        """Return a new message for the wallet to sign on the page at `uri`, valid for NONCE_LIFETIME_S. Raises
        StoreError while Redis is unavailable."""
        nonce = secrets.token_hex(16)
        issued = datetime.now(UTC)
        expires = issued + timedelta(seconds=NONCE_LIFETIME_S)
        message = self._text(wallet, uri, nonce, issued, expires)
        pending = msgspec.json.encode(_PendingSignIn(wallet, message))
        try:
            await self._store().set(_key(nonce), pending, ex=NONCE_LIFETIME_S)
        except StoreError as problem:
            raise _unavailable(problem) from problem
        return SignInChallenge(nonce=nonce, message=message, expires_at=expires)

    async def verify(self, wallet: Wallet, message: str, signature: str) -> None:
        """Check that the message was issued by a gateway, is signed by the wallet and was not used before. Raises
        Unauthenticated if not, StoreError while Redis is unavailable."""
        require_signature(wallet, message, signature)
        match = _NONCE.search(message)
        pending = None if match is None else await self._take(match[1])
        if pending is None:
            raise Unauthenticated(f"The nonce is unknown, used or older than 5 minutes: {_NEW_NONCE}")
        if pending.wallet != wallet or pending.message != message:
            raise Unauthenticated(f"The message is not the one that was given for this nonce: {_NEW_NONCE}")

    async def _take(self, nonce: str) -> _PendingSignIn | None:
        try:
            raw = await self._store().getdel(_key(nonce))
        except StoreError as problem:
            raise _unavailable(problem) from problem
        return None if raw is None else msgspec.json.decode(raw, type=_PendingSignIn)

    def _store(self) -> RedisClient:
        if self._redis is None:
            raise StoreError("Sign-in needs Redis: set REDIS_URL.")
        return self._redis

    def _text(self, wallet: Wallet, uri: str, nonce: str, issued: datetime, expires: datetime) -> str:
        return (
            f"{urlsplit(uri).netloc} wants you to sign in with your Solana account:\n{wallet}\n\n{_STATEMENT}\n\n"
            f"URI: {uri}\nVersion: 1\nChain ID: {self._chain_id}\nNonce: {nonce}\n"
            f"Issued At: {iso(issued)}\nExpiration Time: {iso(expires)}"
        )


def _key(nonce: str) -> str:
    return f"auth:nonce:{nonce}"


def _unavailable(problem: Exception) -> StoreError:
    return StoreError(f"Sign-in is not possible at the moment, try again in a few seconds: {problem}")
