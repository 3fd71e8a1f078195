"""Parse Helius' webhook deliveries: raw transactions, or enhanced ones, of which only the signature is used.

A raw element has the shape of getTransaction's result plus `indexWithinBlock`. An enhanced element is Helius' own
reading of a transaction, without logs. It must be fetched by its signature, and so must a raw one without a usable
meta. An element with an invalid signature or slot is refused; the other elements are still read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from zmart.chain.signatures import is_signature, parse_signature
from zmart.errors import DecodeError
from zmart.market.json_input import JSON_ERRORS, described
from zmart.market.types import Signature, Slot

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Maximum size of one delivery in bytes."""
MAX_ITEMS = 1_000
"""Maximum number of elements in one delivery."""
MAX_REASONS = 5
"""Maximum number of refusals whose reasons are kept."""
_MAX_SLOT = 2**63 - 1
_SMALL_BYTES = 256 * 1024
"""A body of up to this many bytes cannot hold so many elements that they need much memory."""
_MAX_BRACKETS = 250_000
"""Maximum number of opening brackets in a body that is split by brackets, which reads each of them.

This is three times as many as a body of 5 MiB full of transactions has.
"""
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_TO_COMMA_OR_BRACKET = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+([\[\]{},])", re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+([\[\]{}])", re.DOTALL)


class WebhookItem(msgspec.Struct, frozen=True):
    """Hold one element of a delivery.

    `raw` is its JSON for `transactions.parse_transaction`; None means that the transaction must be fetched. `slot` is
    None if an enhanced element names none. `failed`: the transaction failed on chain, as far as the element shows it.
    """

    signature: Signature
    slot: Slot | None
    raw: bytes | None
    failed: bool


class WebhookDelivery(msgspec.Struct, frozen=True):
    """Hold the elements that name a transaction, the number of refused ones, and the first reasons."""

    items: Sequence[WebhookItem]
    refused: int = 0
    reasons: Sequence[str] = ()


class _WebhookMeta(msgspec.Struct):
    err: object = None


class _WebhookTransaction(msgspec.Struct):
    signatures: list[object]


class _Element(msgspec.Struct):
    slot: object = None
    transaction: msgspec.Raw = msgspec.Raw(b"null")
    meta: msgspec.Raw = msgspec.Raw(b"null")
    signature: object = None
    transactionError: object = None  # noqa: N815 - Helius' spelling


_elements = msgspec.json.Decoder(list[msgspec.Raw])
_element = msgspec.json.Decoder(_Element)
_transaction = msgspec.json.Decoder(_WebhookTransaction)
_meta = msgspec.json.Decoder(_WebhookMeta)


def parse_webhook(body: bytes) -> Sequence[WebhookItem]:
    """Return the elements of one delivery that name a transaction.

    Raises DecodeError as `read_delivery` does, and also if elements were refused and no other is left.
    """
    delivery = read_delivery(body)
    if delivery.refused and not delivery.items:
        raise DecodeError(delivery.reasons[0])
    return delivery.items


def read_delivery(body: bytes) -> WebhookDelivery:
    """Parse one delivery: an array of elements, or a single element.

    Raises DecodeError for anything else, for more than MAX_BODY_BYTES bytes, and for more than MAX_ITEMS elements.
    """
    if len(body) > MAX_BODY_BYTES:
        raise DecodeError(f"The webhook body has {len(body)} bytes; {MAX_BODY_BYTES} are accepted.")
    items: list[WebhookItem] = []
    reasons: list[str] = []
    for raw in _split(body):
        try:
            items.append(_item(raw))
        except DecodeError as problem:
            reasons.append(str(problem))
    return WebhookDelivery(items, len(reasons), tuple(reasons[:MAX_REASONS]))


def _split(body: bytes) -> Sequence[bytes]:
    """Split a body into its elements without parsing them.

    A body that the decoder cannot skip (nested too deep, or invalid JSON) is split by its brackets. So is a large body,
    because that bounds the number of elements before memory is allocated.
    """
    start = body.lstrip()[:1]
    if start == b"{":
        return [body]
    if start != b"[":
        raise DecodeError("The webhook is not an array of transactions.")
    if len(body) > _SMALL_BYTES:
        return _split_by_brackets(body)
    try:
        elements = _elements.decode(body)
    except JSON_ERRORS:
        return _split_by_brackets(body)
    _check_number(len(elements))
    return [bytes(element) for element in elements]


def _split_by_brackets(body: bytes) -> Sequence[bytes]:
    """Split a body in linear time: skip each string as a whole, and each element from bracket to bracket.

    Raises DecodeError for too many brackets or elements, and for a body that is not one array.
    """
    if body.count(b"[") + body.count(b"{") > _MAX_BRACKETS:
        raise DecodeError("The webhook is not an array of transactions: it has too many brackets.")
    elements: list[bytes] = []
    depth, start, position = 0, 0, 0
    while token := (_TO_COMMA_OR_BRACKET if depth == 1 else _TO_BRACKET).match(body, position):
        position = token.end()
        match token[1]:
            case b"[" | b"{":
                depth += 1
                start = position if depth == 1 else start
            case b",":
                elements.append(body[start : position - 1])
                start = position
                _check_number(len(elements) + 1)
            case _:
                depth -= 1
        if depth == 0:
            last = body[start : position - 1]
            if body[position:].strip():
                break
            return [*elements, last] if elements or last.strip() else []
    raise DecodeError(
        "The webhook is not an array of transactions: its end is missing, or something follows it."
    )


def _check_number(elements: int) -> None:
    if elements > MAX_ITEMS:
        raise DecodeError(f"The webhook carries more than {MAX_ITEMS} elements.")


def _item(raw: bytes) -> WebhookItem:
    try:
        element = _element.decode(raw)
    except JSON_ERRORS as problem:
        raise DecodeError(f"A webhook element is not a transaction: {problem}") from problem
    slot = _slot(element.slot)
    if (signature := _first_signature(element.transaction)) is not None:
        if slot is None:
            raise DecodeError("A raw webhook element lacks its slot.")
        meta = _meta_of(element.meta)
        if meta is None:
            return WebhookItem(signature, slot, None, failed=False)
        return WebhookItem(signature, slot, raw, failed=meta.err is not None)
    if element.signature is None:
        raise DecodeError("A webhook element has neither a transaction with a signature nor a signature.")
    signature = parse_signature(element.signature)
    return WebhookItem(signature, slot, None, failed=element.transactionError is not None)


def _slot(claimed: object) -> Slot | None:
    """Return the slot, or None if the element names none. Raises DecodeError for an invalid one."""
    if claimed is None:
        return None
    if isinstance(claimed, bool) or not isinstance(claimed, int) or not 0 <= claimed <= _MAX_SLOT:
        raise DecodeError(f"A webhook element's slot is not a slot number: {described(claimed, 40)}.")
    return Slot(claimed)


def _first_signature(transaction: msgspec.Raw) -> Signature | None:
    try:
        signatures = _transaction.decode(transaction).signatures
    except JSON_ERRORS:
        return None
    return parse_signature(signatures[0]) if signatures and is_signature(signatures[0]) else None


def _meta_of(raw: msgspec.Raw) -> _WebhookMeta | None:
    try:
        return _meta.decode(raw)
    except JSON_ERRORS:
        return None
