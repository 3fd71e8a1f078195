"""Give handlers the authenticated sender of a request."""

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
    """The sender of one request, for its handler. The methods raise Unauthenticated or Forbidden. A proof that the
    operation's `security` does not name is ignored."""

    def __init__(
        self, context: AppContext, principal: Principal, content: RequestContent, request: RequestContext
    ) -> None:
        self.context = context
        self.principal = principal
        self.content = content
        self.request = request

    async def wallet(self) -> Wallet:
        """Return the wallet that signed in or signed this request, after counting the request by the wallet's own
        limit.

        Raises Unauthenticated without a valid proof, Forbidden if the body names another sender, TooManyRequests above
        the limit, StoreError while Redis cannot tell whether a signature was used.
        """
        wallet = await self.context.authenticator.wallet(self.principal, self.content)
        _refuse_other_wallets(self.content.body, wallet)
        policy, self.request.wallet_policy = self.request.wallet_policy, None  # the request is counted once
        if policy is not None:
            await admit(self.request, self.context.limiter, policy, wallet)
        return wallet

    async def reader(self) -> Wallet | None:
        """Return the wallet that sends this read; None without a valid proof."""
        return await self.context.authenticator.reader(self.principal)

    async def operator(self) -> None:
        """Require the operator's token, or a proof of the program's admin wallet. Raises Unauthenticated or
        Forbidden."""
        rules = await self.context.rules.get()
        await self.context.authenticator.operator(
            self.principal, self.content, rules.admin if rules else None
        )


def _refuse_other_wallets(body: bytes, wallet: Wallet) -> None:
    """Raise Forbidden if a field of the body names another wallet as the sender. Clients name the sender in any of
    SENDER_FIELDS."""
    try:
        fields = msgspec.json.decode(body or b"{}", type=dict[str, object])
    except JSON_ERRORS:
        return  # not an object: a handler that needs one has refused it
    for name in SENDER_FIELDS:
        named = fields.get(name)
        if isinstance(named, str) and is_address(named.strip()) and named.strip() != wallet:
            raise Forbidden(
                f"{name} names another wallet than the one that signed this request: {named.strip()}, not {wallet}."
            )


Auth = NamedDependency[RequestAuth]
"""The annotation of a handler's parameter `auth`, for which Litestar provides the RequestAuth."""


async def provide_request_auth(request: GatewayRequest, context: Context) -> RequestAuth:
    """Return the RequestAuth of the request, from the principal and the body that the request guard has read."""
    state = request_context(request.scope)
    assert state.principal is not None, "the request guard has set it"
    content = RequestContent(request.method, request.scope["path"], state.body)
    accepted = accepted_proofs(request.scope["route_handler"])
    return RequestAuth(context, state.principal.limited_to(accepted), content, state)


REQUEST_AUTH = Provide(provide_request_auth)
