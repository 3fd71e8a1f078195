"""Serve the indexer's one route, the webhook, on bare ASGI: it must respond before anything else runs."""

from __future__ import annotations

from zmart.market.integers import parse_decimal
from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.plain_http import read_body, send_json
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
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    body = await _body(receive, headers.get(b"content-length"), receiver.max_body_bytes)
    if body is None:
        return receiver.too_large()
    return await receiver.receive(body, headers.get(b"authorization"), headers.get(b"x-helius-signature"))


async def _body(receive: Receive, announced: str | None, most: int) -> bytes | None:
    """Return the body; None when it is longer than `most`. A body whose content-length is longer is not read."""
    if announced is not None:
        size = parse_decimal(announced)
        if size is None or size > most:
            return None
    return await read_body(receive, most)
