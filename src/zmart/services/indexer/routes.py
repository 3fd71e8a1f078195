"""Serve the indexer's only route, the webhook, as a plain ASGI application, so that deliveries are answered fast."""

from __future__ import annotations

from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.plain_http import path_of, send_json, send_problem
from zmart.services.webhook import PATH, WebhookReceiver, WebhookRefusal


def webhook_app(receiver: WebhookReceiver) -> AsgiApp:
    """Return an application that accepts POST to PATH, and answers 405 to other methods and 404 to other paths."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if path_of(scope) != PATH:
            message = f"There is no {scope['path'][:200]} here: this service answers POST {PATH}."
            await send_problem(send, scope, 404, message)
        elif scope["method"] != "POST":
            scope["path_template"] = PATH
            allow = ((b"allow", b"POST"),)
            await send_problem(send, scope, 405, f"{PATH} accepts POST only.", headers=allow)
        else:
            scope["path_template"] = PATH
            await _receive(receiver, scope, receive, send)

    return app


async def _receive(receiver: WebhookReceiver, scope: Scope, receive: Receive, send: Send) -> None:
    answer = await receiver.receive(scope, receive)
    if isinstance(answer, WebhookRefusal):
        await send_problem(send, scope, answer.status, answer.message, answer.retry_after)
    else:
        await send_json(send, 200, answer)
