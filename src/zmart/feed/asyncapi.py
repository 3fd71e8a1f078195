"""Generate the published description of the live feed, AsyncAPI 3.0, from the message types."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, get_args
from urllib.parse import urlsplit

import msgspec

import zmart
from zmart.feed.channels import ChannelKind
from zmart.feed.messages import (
    ANSWERS,
    CHANGES,
    FROM_CLIENTS,
    NumericForm,
    SubscribedData,
    SubscribedToMarketData,
)
from zmart.feed.shapes import AMOUNT, SNAPSHOTS, TradeData

PATH = "/asyncapi.json"

# The document is plain JSON: its shape is AsyncAPI's.
Document = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_SOCKET = "#/channels/socket"
_DESCRIPTION = """\
Every committed change of the ZMART backend, in commit order, once per offset. Lamports and shares are integers in
units of 1e-9, with `numeric=string` decimal text. Channels: `markets`, `trades`, `activity` for all markets;
`market:<id>`, `trades:<id>`, `votes:<id>`, `discussions:<id>` for one. Remember the last `epoch` and `offset`; after a
reconnect subscribe with both to miss nothing, or to learn of a gap. The server pings; a client that does not answer for
two heartbeats is disconnected."""
_REPLIES = {
    "Subscribe": ("Subscribed", "SubscribedToMarket", "Gap", "Error"),
    "Unsubscribe": ("Unsubscribed", "UnsubscribedFromMarket", "Error"),
    "Ping": ("Pong",),
}

_AMOUNT: Document = {
    "type": ["integer", "string"],
    "pattern": "^-?[0-9]+$",
    "description": "Lamports or shares in units of 1e-9. Text with `numeric=string`, else an integer.",
}
_QUERY: Document = {
    "type": "object",
    "description": "Subscribes on connecting, as the message does. Other parameters are ignored.",
    "properties": {
        "channels": {"type": "string", "description": "channels, separated by commas"},
        "epoch": {"type": "string", "description": "to resume: the last one received"},
        "offset": {"type": "integer", "minimum": 0, "description": "to resume: the last one received"},
        "numeric": {
            "type": "string",
            "enum": list(get_args(get_args(NumericForm)[0])),
            "description": "string: lamports and shares as decimal text, in all subscriptions of the connection",
        },
    },
}


@lru_cache(maxsize=4)
def published(socket_url: str) -> bytes:
    """Return the AsyncAPI document as JSON, for the socket that clients reach at `socket_url` (ws:// or wss://)."""
    return msgspec.json.encode(document(socket_url))


def document(socket_url: str) -> Document:
    """Return the AsyncAPI document; its actions `receive` and `send` are those of the server, as AsyncAPI 3 demands."""
    every = [kind.__name__ for kind in (*FROM_CLIENTS, *ANSWERS, *CHANGES)]
    url = urlsplit(socket_url)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "ZMART live feed", "version": zmart.__version__, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"socket": {"host": url.netloc, "pathname": url.path or "/", "protocol": url.scheme}},
        "channels": {
            "socket": {
                "address": "/",
                "description": "One connection carries all subscriptions. Any path will do.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in every},
                "bindings": {"ws": {"method": "GET", "query": _QUERY, "bindingVersion": "0.1.0"}},
            }
        },
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _operations() -> Document:
    operations: Document = {}
    for kind in FROM_CLIENTS:
        name = kind.__name__
        operation = {"action": "receive", "channel": {"$ref": _SOCKET}, "messages": _refs([name])}
        if name in _REPLIES:
            operation["reply"] = {"channel": {"$ref": _SOCKET}, "messages": _refs(_REPLIES[name])}
        operations[f"receive{name}"] = operation
    sent = {"welcome": ("Welcome",), "changes": tuple(kind.__name__ for kind in CHANGES)}
    for name, messages in sent.items():
        operations[name] = {"action": "send", "channel": {"$ref": _SOCKET}, "messages": _refs(messages)}
    return operations


def _refs(names: list[str] | tuple[str, ...]) -> list[dict[str, str]]:
    return [{"$ref": f"{_SOCKET}/messages/{name}"} for name in names]


def _messages() -> Document:
    return {
        kind.__name__: {
            "name": kind.__name__,
            "summary": (kind.__doc__ or "").strip(),
            "payload": {"$ref": _SCHEMAS + kind.__name__},
        }
        for kind in (*FROM_CLIENTS, *ANSWERS, *CHANGES)
    }


def _schemas() -> Document:
    every = (*FROM_CLIENTS, *ANSWERS, *CHANGES)
    parts, schemas = msgspec.json.schema_components(
        (*every, *SNAPSHOTS.values()), ref_template=_SCHEMAS + "{name}"
    )
    # The socket server inserts snapshots that are encoded already; their schemas are those of their structs.
    snapshots = dict(zip(SNAPSHOTS, parts[len(every) :], strict=True))
    schemas[SubscribedToMarketData.__name__]["properties"]["snapshot"] = snapshots[ChannelKind.MARKET]
    schemas[SubscribedData.__name__]["properties"]["snapshot"] = {
        "description": "the state at `offset`, by the kind of channel",
        "anyOf": list({str(part): part for part in snapshots.values()}.values()),
    }
    del schemas[TradeData.__name__]["properties"]["action"]
    return {**_with_amounts(schemas), "Amount": _AMOUNT}


def _with_amounts(part: Any) -> Any:  # noqa: ANN401  # any part of a JSON document
    """Return a part of the document with each schema of lamports or shares replaced by a reference to `Amount`."""
    if isinstance(part, list):
        return [_with_amounts(item) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("description") == AMOUNT:
        return {"$ref": _SCHEMAS + "Amount"}
    return {name: _with_amounts(value) for name, value in part.items()}
