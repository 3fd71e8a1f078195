"""The call that a handler answers: who makes it, and the demands it can make of them."""

from __future__ import annotations

import msgspec
from litestar.di import NamedDependency, Provide

from zmart.errors import Forbidden, Invalid
from zmart.market.types import Wallet
from zmart.services.gateway.context import Rooms, TheRooms
from zmart.services.gateway.http.auth.authenticator import Caller, Request
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.rate_limit_middleware import BODY, CALLER


class Call(msgspec.Struct, frozen=True):
    """Made once per request; its demands raise Unauthenticated or Forbidden."""

    rooms: Rooms
    caller: Caller
    request: Request

    async def wallet(self) -> Wallet:
        """The wallet that signed in or signed this request."""
        return await self.rooms.doors.wallet(self.caller, self.request)

    async def wallet_named(self, named: str | None, field: str = "wallet") -> Wallet:
        """The same, which must be the one that the body names, if it names one."""
        wallet = await self.wallet()
        if named is not None and named != wallet:
            raise Forbidden(f"{field} names another wallet than the one that signed this request.")
        return wallet

    async def reader(self) -> Wallet | None:
        return await self.rooms.doors.reader(self.caller)

    async def operator(self) -> None:
        """The operator's token, or the program's admin wallet."""
        rules = await self.rooms.rules.get()
        await self.rooms.doors.operator(self.caller, self.request, rules.admin if rules else None)


TheCall = NamedDependency[Call]
"""How a handler asks for it."""


async def provide_call(request: GatewayRequest, rooms: TheRooms) -> Call:
    scope = request.scope
    caller: Caller = scope[CALLER]  # type: ignore[literal-required]
    body: bytes = scope[BODY]  # type: ignore[literal-required]
    return Call(rooms, caller, Request(request.method, request.url.path, body))


def checked_length(field: str, text: str, shortest: int, longest: int) -> str:
    """The text without white space around it. Raises Invalid."""
    trimmed = text.strip()
    if not shortest <= len(trimmed) <= longest:
        raise Invalid(field, f"{field} must have {shortest} to {longest} characters.")
    if "\0" in trimmed:
        raise Invalid(field, f"{field} holds a character that cannot be stored (NUL).")
    return trimmed


CALL = Provide(provide_call)
