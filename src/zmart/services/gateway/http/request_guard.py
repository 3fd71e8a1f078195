"""Check a request between the router and its handler: body, principal, rate limit, parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from litestar import Litestar, Request
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.params import QueryParameter
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.utils.scope.state import ScopeState

from zmart.errors import Invalid, ZmartError
from zmart.services.client_addresses import ClientAddresses
from zmart.services.contract import AsgiApp
from zmart.services.contract import Receive as ServiceReceive
from zmart.services.contract import Scope as ServiceScope
from zmart.services.contract import Send as ServiceSend
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.http.auth.vote_statements import signer_of
from zmart.services.gateway.http.former_names import FORMER_NAMES, with_present_names
from zmart.services.gateway.http.problems import GatewayRequest, UnsupportedBody
from zmart.services.gateway.http.rate_limiting import (
    admit,
    of_address,
    refuse_above_limit,
    with_limit_headers,
)
from zmart.services.gateway.http.rate_limits import RateLimitPolicy, policies
from zmart.services.gateway.http.request_context import RequestContext, request_context
from zmart.services.gateway.http.responses import CHAIN
from zmart.services.gateway.http.security import accepted_proofs
from zmart.services.plain_http import content_encoding_problem

LIMIT = "limit"
"""Route option: the name of the policy by which requests are limited. By default `reads` or `writes`."""
NO_LIMIT = "none"
READS_BODY = "reads_body"
"""Route option: the handler reads the body itself, so the guard does not."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_NUMERIC_NAME = "numeric"
_NUMERIC = ("number", "string")


_STATE_KEY = "zmart.guard"


class RequestGuard:
    """Limit the requests of one gateway, and put principal, body and the index's slot into their RequestContext."""

    def __init__(self, context: AppContext, clients: ClientAddresses) -> None:
        self._context = context
        self._clients = clients
        self._policies = policies(context.settings)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Check the request and pass it on to `next_app`. Raises Invalid, UnsupportedBody, TooManyRequests; ZmartError
        or HTTPException for a body that cannot be read."""
        context = request_context(scope)
        request: GatewayRequest = Request(scope, receive, send)
        address, options = self._clients.of_scope(scope), scope["route_handler"].opt
        context.client = address
        policy = self._policies.get(options.get(LIMIT) or ("reads" if request.method in _SAFE else "writes"))
        if request.method not in _SAFE and READS_BODY not in options:
            context.body = await self._body(request, policy, address)
        authorization = request.headers.get("authorization")
        context.principal = self._context.authenticator.principal(authorization, context.body)
        if policy is not None:
            await self._admit(policy, address, context, scope["route_handler"])
            send = with_limit_headers(send, context)
        if b"%00" in scope["query_string"] or "\0" in scope["path"]:
            raise Invalid("path", "The address contains a NUL character.")
        _refuse_repeats(request)
        if FORMER_NAMES in options:  # a signature stays bound to the body that the client sent
            ScopeState.from_scope(scope).body = with_present_names(context.body, options[FORMER_NAMES])
        if request.method in _SAFE:
            await self._context.authenticator.note_read(context.principal)
        if CHAIN in options:
            context.as_of_slot = await self._context.as_of_slot.get()
        context.amounts_as_text = b"numeric=" in scope["query_string"] and _wants_text(request)
        if request.method == "OPTIONS":
            await _send_allowed_methods(scope["litestar_app"], scope["path_template"], send)
            return
        await next_app(scope, receive, send)

    async def _body(self, request: GatewayRequest, policy: RateLimitPolicy | None, address: str) -> bytes:
        """Read the body. If it is refused, the request is counted by its address before the error is raised."""
        try:
            return await _json_body(request)
        except (ZmartError, HTTPException):
            if policy is not None:
                await admit(
                    request_context(request.scope), self._context.limiter, of_address(policy), address
                )
            raise

    async def _admit(
        self, policy: RateLimitPolicy, address: str, context: RequestContext, handler: BaseRouteHandler
    ) -> None:
        """Count the request by its address, unless the response cache has counted it. With a wallet's proof, or a
        vote's signed statement, the limit is that of `of_address`; the wallet of a proof is counted later, too. Raises
        TooManyRequests."""
        if context.rate_limit is not None:
            refuse_above_limit(context)
            return
        assert context.principal is not None
        claims = context.principal.limited_to(accepted_proofs(handler)).claimed is not None
        if claims:
            context.wallet_policy = policy
        if claims or (policy.name == "votes" and signer_of(context.body) is not None):
            policy = of_address(policy)
        await admit(context, self._context.limiter, policy, address)

    def guarding(self, router: AsgiApp) -> AsgiApp:
        """Return an application that runs `router` with this guard in the scope of each request."""

        async def guarded(scope: ServiceScope, receive: ServiceReceive, send: ServiceSend) -> None:
            scope.setdefault("state", {})[_STATE_KEY] = self
            await router(scope, receive, send)

        return guarded

    @classmethod
    def context_of(cls, scope: Scope) -> AppContext:
        """Return the AppContext of the gateway that received the request."""
        return _guard_of(scope)._context


class GuardMiddleware(ASGIMiddleware):
    """The router's middleware that runs the request guard. All gateways of a process share the router, so the guard is
    taken from the scope of each request."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Run the guard in the scope, which checks the request and passes it on."""
        await _guard_of(scope).handle(scope, receive, send, next_app)


def _guard_of(scope: Scope) -> RequestGuard:
    return cast("RequestGuard", cast("ServiceScope", scope)["state"][_STATE_KEY])


def _refuse_repeats(request: GatewayRequest) -> None:
    """Raise Invalid for a parameter of the route that is given more than once: a proxy may take another of its values
    than we do. Other parameters may repeat, because the proxies of front ends add their own."""
    taken, seen = _query_names(request.scope["route_handler"]), set()
    for name, _ in request.query_params.multi_items():
        if name in seen and name in taken:
            raise Invalid(name, f"{name} is given more than once.")
        seen.add(name)


@cache
def _query_names(handler: BaseRouteHandler) -> frozenset[str]:
    """Return the names of the query parameters that the route of `handler` takes."""
    parameters = handler.parsed_fn_signature.parameters.items()
    return frozenset({_NUMERIC_NAME}) | {
        field.kwarg_definition.name or name
        for name, field in parameters
        if isinstance(field.kwarg_definition, QueryParameter)
    }


def _wants_text(request: GatewayRequest) -> bool:
    given: str | None = request.query_params.get(_NUMERIC_NAME)
    if given is None:  # another parameter, or a value, holds the word
        return False
    if given not in _NUMERIC:
        raise Invalid("numeric", "numeric must be number or string.")
    return given == "string"


async def _send_allowed_methods(app: Litestar, template: str, send: Send) -> None:
    """Answer OPTIONS with all methods of the path. The framework's own answer has only the methods of the path's first
    handler."""
    [route] = [item for item in app.routes if item.path_format == template]
    allowed = ", ".join(sorted(route.methods)) if isinstance(route, HTTPRoute) else ""
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allowed.encode())]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _json_body(request: GatewayRequest) -> bytes:
    """Return the body, which the handler can read again. Raises UnsupportedBody if it is not sent as uncompressed JSON,
    Invalid if it is not UTF-8."""
    if (problem := content_encoding_problem(cast("Mapping[str, Any]", request.scope))) is not None:
        raise UnsupportedBody(problem)
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedBody("The body must be JSON: send Content-Type: application/json.")
    try:
        body.decode()
    except UnicodeDecodeError:
        raise Invalid("body", "The body is not valid UTF-8.") from None
    return body
