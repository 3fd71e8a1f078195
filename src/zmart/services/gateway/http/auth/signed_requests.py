"""Read the signatures of requests that existing clients sign: in the body, or in the header `Authorization: Signature
...`.

The signed text contains a time and says nothing of the request. So a signature is used up by the first write that it
comes with, and a signature that came with a read is refused for writes (`ReplayGuard`). A text that names a host is
accepted only by that host's deployment.
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
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Wallet
from zmart.proofs.signatures import require_signature
from zmart.services.gateway.http.auth.sign_in_hosts import SignInHosts

BODY_WINDOW_S = 300
HEADER_WINDOW_S = 3600
HEADER_PREFIX = "Signature "
_AT_HOST = r"(?: at (?P<host>[^\s/]{1,255}))?"
_BODY_TEXT = re.compile(
    rf"Sign this message to authenticate with ZMART{_AT_HOST}: (?P<ms>\d{{13}})", re.ASCII
)
_HEADER_TEXT = re.compile(rf"Sign in to ZMART{_AT_HOST}\nTimestamp: (?P<ms>\d{{13}})", re.ASCII)
_MAX_HEADER_CHARS = 2048
_READS = b"reads"
_USED = "This signature was used for another request: sign a new message for each write."


class WalletSignature(msgspec.Struct, frozen=True):
    """A wallet's signature over a text with a time. It is valid within `window_s` seconds of that time."""

    wallet: Wallet
    signature: str
    window_s: int


class _SignatureFields(msgspec.Struct, frozen=True):
    message: str = ""
    signature: str = ""
    wallet: str = ""


class _SignedBody(_SignatureFields, frozen=True):
    auth: _SignatureFields | None = msgspec.field(default=None, name="_auth")


class SignedRequests:
    """Read the signatures of requests. With `must_name_host`, only texts that name a host of this deployment are
    accepted."""

    def __init__(self, hosts: SignInHosts, *, must_name_host: bool = False) -> None:
        self._hosts = hosts
        self._must_name_host = must_name_host

    def in_body(self, body: bytes) -> WalletSignature | None:
        """Return the signature in a body; None if the body has none. Raises Unauthenticated if the signature is
        invalid."""
        try:
            signed = msgspec.json.decode(body, type=_SignedBody)
        except JSON_ERRORS:
            return None
        fields = signed.auth or signed
        if not (fields.message and fields.signature and fields.wallet):
            return None
        return self._checked(fields, _BODY_TEXT, BODY_WINDOW_S)

    def in_header(self, value: str) -> WalletSignature:
        """Return the signature in an Authorization header. Raises Unauthenticated if it is missing or invalid."""
        if len(value) > _MAX_HEADER_CHARS:
            raise Unauthenticated("The Authorization header is too long.")
        pairs: Mapping[str, str] = dict(parse_qsl(value.removeprefix(HEADER_PREFIX)))
        signature = pairs.get("signature", "").replace(" ", "+")  # base64 that was not escaped
        fields = _SignatureFields(pairs.get("message", ""), signature, pairs.get("wallet", ""))
        return self._checked(fields, _HEADER_TEXT, HEADER_WINDOW_S)

    def _checked(self, fields: _SignatureFields, text: re.Pattern[str], window_s: int) -> WalletSignature:
        match = text.fullmatch(fields.message)
        if match is None:
            raise Unauthenticated("The signed message is not the text that this API asks for.")
        if abs(time.time() * 1000 - int(match["ms"])) > window_s * 1000:
            raise Unauthenticated(
                f"The signed message is older than {window_s // 60} minutes: sign a new one."
            )
        self._check_host(match["host"])
        wallet = Wallet(fields.wallet)
        signature = require_signature(wallet, fields.message, fields.signature)
        return WalletSignature(wallet, signature, window_s)

    def _check_host(self, host: str | None) -> None:
        if host is None and self._must_name_host:
            raise Unauthenticated(
                "The signed message does not name this backend: sign `... ZMART at <host>` (docs/api.md), or sign in."
            )
        if host is not None and host not in self._hosts:
            raise Unauthenticated(f"The message is signed for {host[:100]!r}, which is not this backend.")


class ReplayGuard:
    """Record in Redis for what each signature was used first. Raises StoreError while Redis is unavailable."""

    def __init__(self, redis: RedisClient | None) -> None:
        self._redis = redis

    async def spend(self, signed: WalletSignature, method: str, path: str, body: bytes) -> None:
        """Use up the signature for this write. Raises Unauthenticated if it was used before, even for the same write.
        Only the same DELETE may be repeated, because it changes nothing."""
        digest = hashlib.sha256(f"{method} {path}\n".encode() + body).hexdigest().encode()
        first = await self._first_use(signed, digest)
        if first is not None and not (method == "DELETE" and first == digest):
            raise Unauthenticated(_USED)

    async def may_read(self, signed: WalletSignature) -> bool:
        """Record that the signature came with a read, and return whether it may be used for reads: no write has used
        it. Later writes with it are refused."""
        return await self._first_use(signed, _READS) in (None, _READS)

    async def _first_use(self, signed: WalletSignature, use: bytes) -> bytes | None:
        """Record `use` as the first use of the signature and return None; if there was an earlier use, return that
        one."""
        if self._redis is None:
            raise StoreError("Signed requests need Redis: set REDIS_URL, or sign in for a session.")
        key = f"auth:bound:{hashlib.sha256(signed.signature.encode()).hexdigest()}"
        try:
            if await self._redis.set(key, use, nx=True, ex=signed.window_s * 2):
                return None
            first = await self._redis.get(key)
        except StoreError as problem:
            raise StoreError(
                f"Signed requests cannot be checked at the moment, try again in a few seconds: {problem}"
            ) from problem
        return first if isinstance(first, bytes) else b""  # expired just now: the first use is unknown
