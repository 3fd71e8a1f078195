"""Helius' webhook management API: /v0/webhooks and /v0/webhooks/{id}, with `?api-key=`."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import msgspec

from zmart.errors import Invalid
from zmart.local.providers.helius.registry import Order, Registry, Toggle, Webhook
from zmart.local.providers.http import Refusal, Reply, Request, json_reply

WEBHOOKS = "/v0/webhooks"
BODY_MAX_BYTES = 64 * 1024
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class WebhookApi:
    """`changed()` is called after each change."""

    def __init__(self, registry: Registry, api_key: str, changed: Callable[[], None]) -> None:
        self._registry = registry
        self._api_key = api_key
        self._changed = changed

    async def __call__(self, request: Request) -> Reply:
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
                return Reply(204, {})
        raise _refusal(405, f"{request.method} is not possible here")

    def _find(self, webhook_id: str) -> Webhook:
        webhook = self._registry.find(webhook_id)
        if webhook is None:
            raise _refusal(404, "webhook not found")
        return webhook

    def _put(self, body: bytes, before: Webhook | None = None) -> Reply:
        try:
            order = _decoded(body, before)
            webhook = self._registry.put(order, before.webhook_id if before else "")
        except (*_UNREADABLE, Invalid) as problem:
            raise _refusal(400, str(problem)) from None
        self._changed()
        return json_reply(webhook)

    def _toggle(self, body: bytes, webhook: Webhook) -> Reply:
        try:
            wanted = msgspec.json.decode(body, type=Toggle)
        except _UNREADABLE as problem:
            raise _refusal(400, str(problem)) from None
        changed = self._registry.toggle(webhook, wanted.active)
        self._changed()
        return json_reply(changed)


def _decoded(body: bytes, before: Webhook | None) -> Order:
    """The order in the body; an update need name only what is to change."""
    if before is None:
        return msgspec.json.decode(body, type=Order)
    kept = msgspec.to_builtins(before)
    for name in ("webhookID", "wallet", "project", "active"):  # not the client's to say in an order
        del kept[name]
    return msgspec.convert(kept | msgspec.json.decode(body, type=dict[str, object]), Order)


def _refusal(status: int, message: str) -> Refusal:
    return Refusal(status, {"error": message})
