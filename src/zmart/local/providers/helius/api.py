"""Serve Helius' webhook management API: /v0/webhooks and /v0/webhooks/{id}, with `?api-key=`."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import msgspec

from zmart.errors import Invalid
from zmart.local.providers.helius.registry import (
    RegisteredWebhook,
    WebhookOrder,
    WebhookRegistry,
    WebhookToggle,
)
from zmart.local.providers.http import HttpRefusal, HttpReply, HttpRequest, json_reply
from zmart.market.json_input import JSON_ERRORS

WEBHOOKS = "/v0/webhooks"
BODY_MAX_BYTES = 64 * 1024


class WebhookApi:
    """Serve the API; `changed()` is called after each change of the registry."""

    def __init__(self, registry: WebhookRegistry, api_key: str, changed: Callable[[], None]) -> None:
        self._registry = registry
        self._api_key = api_key
        self._changed = changed

    async def __call__(self, request: HttpRequest) -> HttpReply:
        """Answer one request. Raises HttpRefusal 400, 401, 404, 405 or 413."""
        given = request.query.get("api-key", "")
        if not self._api_key or not hmac.compare_digest(given.encode(), self._api_key.encode()):
            raise _refusal(401, "invalid api key provided")
        webhook_id = request.path.removeprefix(WEBHOOKS).strip("/")
        match request.method, bool(webhook_id):
            case "GET", False:
                return json_reply(self._registry.all())
            case "POST", False:
                return self._put(await request.body(BODY_MAX_BYTES))
            case "GET", True:
                return json_reply(self._find(webhook_id))
            case "PUT", True:
                return self._put(await request.body(BODY_MAX_BYTES), self._find(webhook_id))
            case "PATCH", True:
                return self._toggle(await request.body(BODY_MAX_BYTES), self._find(webhook_id))
            case "DELETE", True:
                self._registry.delete(self._find(webhook_id).webhook_id)
                self._changed()
                return HttpReply(204, {})
        raise _refusal(405, f"{request.method} is not possible here")

    def _find(self, webhook_id: str) -> RegisteredWebhook:
        webhook = self._registry.find(webhook_id)
        if webhook is None:
            raise _refusal(404, "webhook not found")
        return webhook

    def _put(self, body: bytes, before: RegisteredWebhook | None = None) -> HttpReply:
        try:
            order = _decoded(body, before)
            webhook = self._registry.put(order, before.webhook_id if before else "")
        except (*JSON_ERRORS, Invalid) as problem:
            raise _refusal(400, str(problem)) from None
        self._changed()
        return json_reply(webhook)

    def _toggle(self, body: bytes, webhook: RegisteredWebhook) -> HttpReply:
        try:
            toggle = msgspec.json.decode(body, type=WebhookToggle)
        except JSON_ERRORS as problem:
            raise _refusal(400, str(problem)) from None
        changed = self._registry.toggle(webhook, toggle.active)
        self._changed()
        return json_reply(changed)


def _decoded(body: bytes, before: RegisteredWebhook | None) -> WebhookOrder:
    """Decode the body of a request. With `before` it is an update, which contains only the fields to change."""
    if before is None:
        return msgspec.json.decode(body, type=WebhookOrder)
    fields = msgspec.to_builtins(before)
    for name in ("webhookID", "wallet", "project", "active"):  # a client cannot set these
        del fields[name]
    return msgspec.convert(fields | msgspec.json.decode(body, type=dict[str, object]), WebhookOrder)


def _refusal(status: int, message: str) -> HttpRefusal:
    return HttpRefusal(status, {"error": message})
