"""Give handlers the sender of a request."""

from __future__ import annotations

import msgspec
from litestar.di import NamedDependency, Provide

from zmart.errors import Forbidden
from zmart.market.identifiers import is_address
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Wallet
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.auth.authenticator import Principal, RequestContent
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.rate_limiting import admit
from zmart.services.gateway.http.request_context import RequestContext, request_context
from zmart.services.gateway.http.security import accepted_proofs

SENDER_FIELDS = (
    *("wallet", "user", "user_wallet", "userWallet", "voter", "author", "trader"),
    *("creator", "creator_wallet", "creatorWallet"),
)


class RequestAuth:
    """The sender of one request; its methods raise Unauthenticated or Forbidden. A proof that the operation's
    `security` does not name is ignored."""

    def __init__(
        self, context: AppContext, principal: Principal, content: RequestContent, request: RequestContext
    ) -> None:
        self.context = context
        self.principal = principal
        self.content = content
        self.request = request

    async def wallet(self) -> Wallet:
        """Return the wallet that signed in or signed this request, counted by its own limit."""
        wallet = await self.context.authenticator.wallet(self.principal, self.content)
        _refuse_other_wallets(self.content.body, wallet)
        policy, self.request.wallet_policy = self.request.wallet_policy, None  # it is counted once
        if policy is not None:
            await admit(self.request, self.context.limiter, policy, wallet)
        return wallet

    async def reader(self) -> Wallet | None:
        """Return the wallet that reads; None without a valid proof."""
        return await self.context.authenticator.reader(self.principal)

    async def operator(self) -> None:
        """Require the operator's token, or the program's admin wallet."""
        rules = await self.context.rules.get()
        await self.context.authenticator.operator(
            self.principal, self.content, rules.admin if rules else None
        )


def _refuse_other_wallets(body: bytes, wallet: Wallet) -> None:
    """Raise Forbidden if a field of the body names another wallet as the sender: clients name it in many ways."""
    try:
        fields = msgspec.json.decode(body or b"{}", type=dict[str, object])
    except JSON_ERRORS:
        return  # no object, which a handler that needs one has refused
    for name in SENDER_FIELDS:
        named = fields.get(name)
        if isinstance(named, str) and is_address(named.strip()) and named.strip() != wallet:
            raise Forbidden(
                f"{name} names another wallet than the one that signed this request: {named.strip()}, not {wallet}."
            )


Auth = NamedDependency[RequestAuth]
"""The parameter type by which a handler gets it."""


async def provide_request_auth(request: GatewayRequest, context: Context) -> RequestAuth:
    """Return the sender that the request guard has read."""
    state = request_context(request.scope)
    assert state.principal is not None, "the request guard has set it"
    content = RequestContent(request.method, request.scope["path"], state.body)
    accepted = accepted_proofs(request.scope["route_handler"])
    return RequestAuth(context, state.principal.limited_to(accepted), content, state)


REQUEST_AUTH = Provide(provide_request_auth)
