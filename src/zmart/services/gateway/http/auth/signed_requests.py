"""Read requests that existing clients sign: in the body, or in the header `Authorization: Signature ...`.

The signature covers a time, not the request. So each one is bound to the first write that it comes with, and refused
for any other (`ReplayGuard`).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from zmart.errors import StoreError, Unauthenticated
from zmart.feed.redis_client import RedisClient
from zmart.market.types import Wallet
from zmart.proofs.signatures import require_signature

BODY_WINDOW_S = 300
HEADER_WINDOW_S = 3600
HEADER_PREFIX = "Signature "
_BODY_TEXT = re.compile(r"Sign this message to authenticate with ZMART: (\d{13})")
_HEADER_TEXT = re.compile(r"Sign in to ZMART\nTimestamp: (\d{13})")
_MAX_HEADER_CHARS = 2048
_ANOTHER = "This signature was used for another request: sign a new message for each one."


class WalletSignature(msgspec.Struct, frozen=True):
    """A signature of a wallet, valid for `window_s`."""

    wallet: Wallet
    signature: str
    window_s: int


class _SignatureFields(msgspec.Struct, frozen=True):
    message: str = ""
    signature: str = ""
    wallet: str = ""


class _SignedBody(_SignatureFields, frozen=True):
    auth: _SignatureFields | None = msgspec.field(default=None, name="_auth")


def in_body(body: bytes) -> WalletSignature | None:
    """Return the signature of a body; None if there is none. Raises Unauthenticated if it is invalid."""
    try:
        signed = msgspec.json.decode(body, type=_SignedBody)
    except (msgspec.MsgspecError, RecursionError):
        return None
    fields = signed.auth or signed
    if not (fields.message and fields.signature and fields.wallet):
        return None
    return _checked(fields, _BODY_TEXT, BODY_WINDOW_S)


def in_header(value: str) -> WalletSignature:
    """Return the signature of the header. Raises Unauthenticated if it is invalid."""
    if len(value) > _MAX_HEADER_CHARS:
        raise Unauthenticated("The Authorization header is too long.")
    pairs: Mapping[str, str] = dict(parse_qsl(value.removeprefix(HEADER_PREFIX)))
    signature = pairs.get("signature", "").replace(" ", "+")  # of base64 that was not escaped
    fields = _SignatureFields(pairs.get("message", ""), signature, pairs.get("wallet", ""))
    return _checked(fields, _HEADER_TEXT, HEADER_WINDOW_S)


def _checked(fields: _SignatureFields, text: re.Pattern[str], window_s: int) -> WalletSignature:
    match = text.fullmatch(fields.message)
    if match is None:
        raise Unauthenticated("The signed message is not the text that this API asks for.")
    if abs(time.time() * 1000 - int(match[1])) > window_s * 1000:
        raise Unauthenticated(f"The signed message is older than {window_s // 60} minutes: sign a new one.")
    wallet = Wallet(fields.wallet)
    signature = require_signature(wallet, fields.message, fields.signature)
    return WalletSignature(wallet, signature, window_s)


class ReplayGuard:
    """Binds signatures to writes, in Redis. Raises StoreError while Redis is unavailable."""

    def __init__(self, redis: RedisClient | None) -> None:
        self._redis = redis

    async def bind(self, signed: WalletSignature, method: str, path: str, body: bytes) -> None:
        """Bind the signature to this write. Raises Unauthenticated if it is bound to another one."""
        if self._redis is None:
            raise StoreError("Signed requests need Redis: set REDIS_URL, or sign in for a session.")
        digest = hashlib.sha256(f"{method} {path}\n".encode() + body).hexdigest()
        key = f"auth:bound:{hashlib.sha256(signed.signature.encode()).hexdigest()}"
        try:
            first = await self._redis.set(key, digest, nx=True, ex=signed.window_s * 2)
            bound = digest.encode() if first else await self._redis.get(key)
        except StoreError as problem:
            raise StoreError(
                f"Signed requests cannot be checked at the moment, try again in a few seconds: {problem}"
            ) from problem
        if bound != digest.encode():
            raise Unauthenticated(_ANOTHER)
