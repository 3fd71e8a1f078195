"""The caller of a request. Found out early, demanded late: validation and duplicates are judged before."""

from __future__ import annotations

import hmac

import msgspec

from zmart.errors import Forbidden, Unauthenticated
from zmart.market.types import Wallet
from zmart.services.gateway.http.auth import signed_requests
from zmart.services.gateway.http.auth.session_tokens import PREFIX, Token, Tokens
from zmart.services.gateway.http.auth.signed_requests import Replays, Signed

_NOBODY = "Sign in (POST /api/auth/nonce, then /api/auth/verify) and send the token as Authorization: Bearer."


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """What a request proves about who sends it. `problem` says why a proof that was given does not hold."""

    token: Token | None = None
    signed: Signed | None = None
    operator: bool = False
    problem: str = ""

    @property
    def claimed(self) -> Wallet | None:
        """The wallet that the signature or token speaks for; whether it still counts is asked by `Doors`."""
        if self.token is not None:
            return self.token.wallet
        return None if self.signed is None else self.signed.wallet


class Request(msgspec.Struct, frozen=True):
    """What a signature is bound to."""

    method: str
    path: str
    body: bytes


class Doors:
    """Reads proofs and demands them."""

    def __init__(
        self, tokens: Tokens, replays: Replays, operator_token: str, *, legacy_signatures: bool
    ) -> None:
        self.tokens = tokens
        self._replays = replays
        self._operator_token = operator_token.encode()
        self._legacy = legacy_signatures

    def caller(self, authorization: str | None, body: bytes) -> Caller:
        """Never refuses: what is wrong with a proof is told when one is demanded."""
        try:
            return self._caller(authorization or "", body)
        except Unauthenticated as problem:
            return Caller(problem=str(problem))

    def _caller(self, authorization: str, body: bytes) -> Caller:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            if value.startswith(PREFIX):
                return Caller(token=self.tokens.read(value))
            if self._is_operator(value):
                return Caller(operator=True)
            raise Unauthenticated("The bearer token is not one of ours: sign in again.")
        if not self._legacy:
            return Caller()
        if authorization.startswith(signed_requests.HEADER_PREFIX):
            return Caller(signed=signed_requests.in_header(authorization))
        return Caller(signed=signed_requests.in_body(body)) if body else Caller()

    def _is_operator(self, value: str) -> bool:
        return bool(self._operator_token) and hmac.compare_digest(value.encode(), self._operator_token)

    async def wallet(self, caller: Caller, request: Request) -> Wallet:
        """The wallet that sends this write. Raises Unauthenticated."""
        if caller.token is not None:
            await self.tokens.check(caller.token)
            return caller.token.wallet
        if caller.signed is not None:
            await self._replays.bind(caller.signed, request.method, request.path, request.body)
            return caller.signed.wallet
        raise Unauthenticated(caller.problem or _NOBODY)

    async def reader(self, caller: Caller) -> Wallet | None:
        """The wallet that reads, for what only it may see; None for everybody else."""
        if caller.token is not None:
            try:
                await self.tokens.check(caller.token)
            except Unauthenticated:
                return None
        return caller.claimed

    async def operator(self, caller: Caller, request: Request, admin: Wallet | None) -> None:
        """Raises Unauthenticated without any proof, Forbidden for a wallet that is not the program's admin."""
        if caller.operator:
            return
        wallet = await self.wallet(caller, request)
        if wallet != admin:
            raise Forbidden(
                "Only the operator may do this: send OPERATOR_TOKEN, or sign with the admin wallet."
            )
