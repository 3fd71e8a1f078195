"""Validate a node's JSON-RPC response: a result, an error that answers the call, or a failure of the node.

A response of JSON-RPC 2.0 (https://www.jsonrpc.org/specification) has the version "2.0", the id of the request, and
exactly one of result and error. A provider's quota page, a proxy's error page, `{}` and `null` are no such response:
nothing may be concluded from them.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote

import httpx
import msgspec

from zmart.market.json_input import JSON_ERRORS
from zmart.market.text_input import one_line

ANSWERS = {
    -32001: "the block was cleaned up on this node",
    -32002: "the preflight simulation failed: the transaction's own fault, with its logs",
    -32003: "a signature of the transaction is invalid",
    -32006: "a precompile refused the transaction",
    -32007: "the slot was skipped, or is missing on this node",
    -32009: "the slot was skipped, or is missing in long-term storage",
    -32013: "the transaction carries another number of signatures than it needs",
    -32015: "the transaction has a version above the requested maximum",
    -32018: "the slot is not an epoch boundary",
    -32601: "this node does not support the method; a retry does not help",
    -32602: "the parameters are invalid, for every node",
}
"""JSON-RPC error codes that answer the call, each with its meaning.

Every other code is a failure of the node: a provider's own (429, -32429), the general -32000, an internal error
(-32603), a request that the node read as malformed (-32600, -32700), an unhealthy node (-32005), history or an index
that the node does not keep (-32010, -32011), a failed scan or long-term storage out of reach (-32012, -32019).
"""

LAG_CODES = {
    -32004: "the block is not available yet",
    -32014: "the block's status is not available yet",
    -32016: "the node has not reached the requested slot",
}
"""Error codes of a healthy node that lags: another node, or the same one a moment later, can answer the call."""

_MESSAGE_CHARS = 200
_READ_BYTES = 4_096
_SHORTEST_SECRET, _SHORTEST_PATH_SECRET = 3, 6


class BadAnswer(ValueError):
    """Report that a node's response cannot be used; the text gives the reason."""


class JsonRpcError(msgspec.Struct, frozen=True):
    """Hold a well-formed JSON-RPC error; `data` is the node's optional detail, of any shape."""

    code: int
    message: str
    data: object = None

    @property
    def is_answer(self) -> bool:
        """Return whether the error answers the call, as opposed to a failure of the node."""
        return self.code in ANSWERS


class _JsonRpcEnvelope(msgspec.Struct):
    jsonrpc: str
    id: int
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


_envelope = msgspec.json.Decoder(_JsonRpcEnvelope)
_refusal = msgspec.json.Decoder(JsonRpcError)


def read_answer(body: bytes, request_id: int) -> bytes | JsonRpcError:
    """Return the raw JSON of the response's `result` (b"null" is a result), or its error.

    Raises BadAnswer if `body` is not a JSON-RPC 2.0 response to the request with this id.
    """
    try:
        envelope = _envelope.decode(body)
        result, error = bytes(envelope.result), bytes(envelope.error)
        if envelope.jsonrpc != "2.0":
            raise BadAnswer("it uses another version of JSON-RPC")
        if envelope.id != request_id:
            raise BadAnswer("it answers another request")
        if bool(result) == bool(error):
            raise BadAnswer(
                "it has " + ("both a result and an error" if result else "no result and no error")
            )
        return result or _refusal.decode(error)
    except JSON_ERRORS as problem:
        raise BadAnswer(f"it is not a JSON-RPC response: {problem}") from problem


def is_json(content_type: str) -> bool:
    """Return whether a Content-Type header may describe a JSON body; an empty one may, since some nodes send none."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in (
        "",
        "application/json",
        "application/json-rpc",
        "application/jsonrequest",
    ) or kind.endswith("+json")


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the parts of a node's URL that may be API keys, longest first.

    These are the user name, the password, the values of the query and the segments of the path. No message may contain
    them.
    """
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return (url,)
    secrets = {value for _, value in parts.params.multi_items()} | {parts.username, parts.password}
    secrets = {text for text in secrets if len(text) >= _SHORTEST_SECRET}
    secrets |= {text for text in parts.path.split("/") if len(text) >= _SHORTEST_PATH_SECRET}
    return tuple(sorted(secrets | {unquote(text) for text in secrets}, key=len, reverse=True))


def safe_message(message: bytes | str, secrets: Collection[str] = ()) -> str:
    """Return a node's message in a form for our own errors.

    The text is one line of at most 200 characters, and `***` replaces each of the `secrets`.
    """
    text = (
        message[:_READ_BYTES].decode(errors="replace")
        if isinstance(message, bytes)
        else message[:_READ_BYTES]
    )
    for secret in secrets:
        text = text.replace(secret, "***")
    return one_line(text, _MESSAGE_CHARS)
