"""Serve the indexer's one route, the webhook, on bare ASGI: it must respond before anything else runs."""

from __future__ import annotations

from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.plain_http import send_json
from zmart.services.webhook import PATH, WebhookReceiver, WebhookResponse


def webhook_app(receiver: WebhookReceiver) -> AsgiApp:
    """Return an application that accepts POST to PATH; anything else is 404 or 405."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = await _answer(receiver, scope, receive)
        await send_json(send, answer.status, answer.body, answer.retry_after)

    return app


async def _answer(receiver: WebhookReceiver, scope: Scope, receive: Receive) -> WebhookResponse:
    if scope["path"] != PATH:
        return WebhookResponse(404, {"error": "not_found", "message": f"Only {PATH} is here.", "status": 404})
    if scope["method"] != "POST":
        return WebhookResponse(405, {"error": "method_not_allowed", "message": "Use POST.", "status": 405})
    return await receiver.receive(scope, receive)
