"""Authenticate the sender of a request. Proofs are read before the request is validated; handlers require them after
that."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from contextlib import suppress

import msgspec

from zmart.bearer import bearer_token
from zmart.errors import Forbidden, StoreError, Unauthenticated
from zmart.market.types import Wallet
from zmart.services.gateway.http.auth.session_tokens import PREFIX, SessionToken, SessionTokens
from zmart.services.gateway.http.auth.signed_requests import (
    HEADER_PREFIX,
    ReplayGuard,
    SignedRequests,
    WalletSignature,
)
from zmart.services.gateway.http.security import OPERATOR_TOKEN, SESSION, SIGNATURE

_NO_PROOF = "Nothing in this request proves who sends it."


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The sender of a request, by the proofs that the request contains: a session token, a wallet's signature or the
    operator's token. `problem` says why a given proof is invalid."""

    token: SessionToken | None = None
    signed: WalletSignature | None = None
    operator: bool = False
    problem: str = ""

    @property
    def claimed(self) -> Wallet | None:
        """Return the wallet of the token or signature; None without one. `Authenticator` may still refuse it, if the
        token was revoked or the signature was used."""
        if self.token is not None:
            return self.token.wallet
        return None if self.signed is None else self.signed.wallet

    def limited_to(self, proofs: Collection[str]) -> Principal:
        """Return the principal with only those proofs that `proofs` names (http/security.py)."""
        return Principal(
            token=self.token if SESSION in proofs else None,
            signed=self.signed if SIGNATURE in proofs else None,
            operator=self.operator and OPERATOR_TOKEN in proofs,
            problem=self.problem,
        )


class RequestContent(msgspec.Struct, frozen=True):
    """The method, path and body of a request. A signature is bound to them when it is first used for a write."""

    method: str
    path: str
    body: bytes


class Authenticator:
    """Read the proofs in requests, and check them when a handler requires one."""

    def __init__(
        self,
        tokens: SessionTokens,
        replays: ReplayGuard,
        operator_token: str,
        signed_requests: SignedRequests | None,
    ) -> None:
        self.tokens = tokens
        self._replays = replays
        self._operator_token = operator_token.encode()
        self._signed_requests = signed_requests

    def principal(self, authorization: str | None, body: bytes) -> Principal:
        """Return the principal by the Authorization header, or else by a signature in the body. Raises nothing: why a
        proof is invalid is kept in `problem`, and reported when a handler requires a proof."""
        try:
            return self._principal(authorization or "", body)
        except Unauthenticated as problem:
            return Principal(problem=str(problem))

    def _principal(self, authorization: str, body: bytes) -> Principal:
        value = bearer_token(authorization)
        if value is not None:
            if value.startswith(PREFIX):
                return Principal(token=self.tokens.read(value))
            if self._is_operator(value):
                return Principal(operator=True)
            raise Unauthenticated("The bearer token is invalid: sign in again.")
        if self._signed_requests is None:
            return Principal()
        if authorization.startswith(HEADER_PREFIX):
            return Principal(signed=self._signed_requests.in_header(authorization))
        return Principal(signed=self._signed_requests.in_body(body)) if body else Principal()

    def _is_operator(self, value: str) -> bool:
        return bool(self._operator_token) and hmac.compare_digest(value.encode(), self._operator_token)

    async def wallet(self, principal: Principal, request: RequestContent) -> Wallet:
        """Return the wallet that sends this write; a signature is used up by this. Raises Unauthenticated without a
        valid proof, StoreError while Redis cannot tell whether a signature was used."""
        if principal.token is not None:
            await self.tokens.check(principal.token)
            return principal.token.wallet
        if principal.signed is not None:
            await self._replays.spend(principal.signed, request.method, request.path, request.body)
            return principal.signed.wallet
        raise Unauthenticated(principal.problem or _NO_PROOF)

    async def note_read(self, principal: Principal) -> None:
        """Record that a signature came with a read. It is then refused for writes, which anyone could send who saw it
        in that request."""
        if principal.signed is not None:
            with suppress(StoreError):  # without Redis no signature serves a write
                await self._replays.may_read(principal.signed)

    async def reader(self, principal: Principal) -> Wallet | None:
        """Return the wallet that sends this read, for data that only this wallet may see; None without a valid proof.
        Raises StoreError while Redis cannot tell whether a signature was used."""
        if principal.token is not None:
            try:
                await self.tokens.check(principal.token)
            except Unauthenticated:
                return None
        elif principal.signed is not None and not await self._replays.may_read(principal.signed):
            return None
        return principal.claimed

    async def operator(self, principal: Principal, request: RequestContent, admin: Wallet | None) -> None:
        """Check that the operator sends this request, by the operator's token or as the program's admin wallet. Raises
        Unauthenticated without a valid proof, Forbidden for any other wallet."""
        if principal.operator:
            return
        wallet = await self.wallet(principal, request)
        if wallet != admin:
            raise Forbidden(
                "Only the operator may do this: send Authorization: Bearer <OPERATOR_TOKEN>, or sign in with the "
                f"admin wallet {admin or '(not indexed yet)'}. This request proves {wallet}."
            )
