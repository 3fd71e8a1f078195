"""What a node's answer says, judged strictly: an answer, a refusal, or a failure of the node that says nothing.

JSON-RPC 2.0 (https://www.jsonrpc.org/specification): version "2.0", the id that was asked, and exactly one of result
and error. Quota pages, error pages of proxies, `{}` and `null` are none of these: nothing may be concluded from them.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote

import httpx
import msgspec

ANSWERS = {
    -32001: "the block was cleaned up on this node",
    -32002: "the preflight simulation failed: the transaction's own fault, with its logs",
    -32003: "a signature of the transaction is wrong",
    -32006: "a precompile refused the transaction",
    -32007: "the slot was skipped, or is missing on this node",
    -32009: "the slot was skipped, or is missing in long-term storage",
    -32013: "the transaction carries another number of signatures than it needs",
    -32015: "the transaction is of a version above the one that was asked for",
    -32018: "the slot is no epoch boundary",
    -32601: "this node does not know the method, and will not a second later",
    -32602: "the parameters are wrong, wherever they are sent",
}
"""Errors that answer the question; everything else is the node's failure: what a provider invents (429, -32429), the
general -32000, an internal error (-32603), a request that it garbled (-32600, -32700), an unhealthy node (-32005),
history or an index that it does not keep (-32010, -32011), storage or a scan that broke (-32012, -32019)."""

BEHIND = {
    -32004: "the block is not available yet",
    -32014: "the block's status is not available yet",
    -32016: "the node has not reached the slot that was asked for",
}
"""Failures of a healthy node that is only behind: another, or the same a moment later, can answer."""

_WORDS_CHARS = 200
_READ_BYTES = 4_096
_SHORTEST_SECRET, _SHORTEST_PATH_SECRET = 3, 6


class BadAnswer(ValueError):
    """The body is no answer to the request; the text says why."""


class Refusal(msgspec.Struct, frozen=True):
    """A well-formed JSON-RPC error."""

    code: int
    message: str
    data: object = None

    @property
    def is_answer(self) -> bool:
        return self.code in ANSWERS


class _Envelope(msgspec.Struct):
    jsonrpc: str
    id: int
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


_envelope = msgspec.json.Decoder(_Envelope)
_refusal = msgspec.json.Decoder(Refusal)


def read_answer(body: bytes, asked_id: int) -> bytes | Refusal:
    """The raw JSON of `result` (b"null" is a result), or the error. Raises BadAnswer for everything else."""
    try:
        envelope = _envelope.decode(body)
        result, error = bytes(envelope.result), bytes(envelope.error)
        if envelope.jsonrpc != "2.0":
            raise BadAnswer("it speaks another version of JSON-RPC")
        if envelope.id != asked_id:
            raise BadAnswer("it answers another request")
        if bool(result) == bool(error):
            raise BadAnswer(
                "it has " + ("both a result and an error" if result else "no result and no error")
            )
        return result or _refusal.decode(error)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        raise BadAnswer(f"it is no JSON-RPC answer: {problem}") from problem


def is_json(content_type: str) -> bool:
    """Whether a Content-Type header leaves it open that the body is JSON; some nodes send none."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in (
        "",
        "application/json",
        "application/json-rpc",
        "application/jsonrequest",
    ) or kind.endswith("+json")


def secrets_of(url: str) -> tuple[str, ...]:
    """What a node must not make us print: parts of its URL that may be a key."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return (url,)
    found = {value for _, value in parts.params.multi_items()} | {parts.username, parts.password}
    found = {text for text in found if len(text) >= _SHORTEST_SECRET}
    found |= {text for text in parts.path.split("/") if len(text) >= _SHORTEST_PATH_SECRET}
    return tuple(sorted(found | {unquote(text) for text in found}, key=len, reverse=True))


def words(said: bytes | str, secrets: Collection[str] = ()) -> str:
    """A node's own words for an error message: one line, bounded, without secrets."""
    text = said[:_READ_BYTES].decode(errors="replace") if isinstance(said, bytes) else said[:_READ_BYTES]
    for secret in secrets:
        text = text.replace(secret, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _WORDS_CHARS else line[:_WORDS_CHARS] + "…"
