"""What Helius posts: raw transactions, or enhanced ones, of which only the signature is believed.

A raw element has the shape of getTransaction's answer plus `indexWithinBlock`. An enhanced element is Helius' own
reading of a transaction without logs; it is recognised and fetched again by its signature, and so is a raw one without
a usable meta. An element whose signature or slot cannot be one is refused, and costs none of its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from zmart.chain.signatures import is_signature, parse_signature
from zmart.errors import DecodeError
from zmart.market.types import Signature, Slot

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_ITEMS = 1_000
MAX_REASONS = 5
_MAX_SLOT = 2**63 - 1
_SMALL_BYTES = 256 * 1024
"""So few bytes hold no number of elements that would take much memory."""
_MAX_BRACKETS = 250_000
"""Three times what a body of 5 MiB full of transactions has; they are counted one by one."""
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_TO_COMMA_OR_BRACKET = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+([\[\]{},])", re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+([\[\]{}])", re.DOTALL)


class WebhookItem(msgspec.Struct, frozen=True):
    """`raw` is the element's own JSON for `transactions.parse_transaction`; None asks for a fetch."""

    signature: Signature
    slot: Slot | None
    raw: bytes | None
    failed: bool


class WebhookDelivery(msgspec.Struct, frozen=True):
    """The elements that name a transaction, how many do not, and why the first of those do not."""

    items: Sequence[WebhookItem]
    refused: int = 0
    reasons: Sequence[str] = ()


class _Meta(msgspec.Struct):
    err: object = None


class _Transaction(msgspec.Struct):
    signatures: list[object]


class _Element(msgspec.Struct):
    slot: object = None
    transaction: msgspec.Raw = msgspec.Raw(b"null")
    meta: msgspec.Raw = msgspec.Raw(b"null")
    signature: object = None
    transactionError: object = None  # noqa: N815 - Helius' spelling


_elements = msgspec.json.Decoder(list[msgspec.Raw])
_element = msgspec.json.Decoder(_Element)
_transaction = msgspec.json.Decoder(_Transaction)
_meta = msgspec.json.Decoder(_Meta)


def parse_webhook(body: bytes) -> Sequence[WebhookItem]:
    """The transactions of one delivery. Raises DecodeError as `read_delivery`, and when no element is good."""
    delivery = read_delivery(body)
    if delivery.refused and not delivery.items:
        raise DecodeError(delivery.reasons[0])
    return delivery.items


def read_delivery(body: bytes) -> WebhookDelivery:
    """One delivery, an array or a single object. Raises DecodeError on anything else, and on more than MAX_BODY_BYTES
    or MAX_ITEMS."""
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
    """The elements, not looked into. What the decoder cannot pass over (something nested too deep, or no JSON) is split
    by its brackets, as is what is large, so that the number of its elements is bounded before memory is taken."""
    start = body.lstrip()[:1]
    if start == b"{":
        return [body]
    if start != b"[":
        raise DecodeError("The webhook is no array of transactions.")
    if len(body) > _SMALL_BYTES:
        return _split_by_brackets(body)
    try:
        elements = _elements.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _split_by_brackets(body)
    _check_number(len(elements))
    return [bytes(element) for element in elements]


def _split_by_brackets(body: bytes) -> Sequence[bytes]:
    """In linear time: strings are passed over whole, and what is inside of an element from bracket to bracket."""
    if body.count(b"[") + body.count(b"{") > _MAX_BRACKETS:
        raise DecodeError("The webhook is no array of transactions: it is nested too often.")
    found: list[bytes] = []
    depth, start, place = 0, 0, 0
    while token := (_TO_COMMA_OR_BRACKET if depth == 1 else _TO_BRACKET).match(body, place):
        place = token.end()
        match token[1]:
            case b"[" | b"{":
                depth += 1
                start = place if depth == 1 else start
            case b",":
                found.append(body[start : place - 1])
                start = place
                _check_number(len(found) + 1)
            case _:
                depth -= 1
        if depth == 0:
            last = body[start : place - 1]
            if body[place:].strip():
                break
            return [*found, last] if found or last.strip() else []
    raise DecodeError("The webhook is no array of transactions: its end is missing, or something follows it.")


def _check_number(elements: int) -> None:
    if elements > MAX_ITEMS:
        raise DecodeError(f"The webhook carries more than {MAX_ITEMS} elements.")


def _item(raw: bytes) -> WebhookItem:
    try:
        element = _element.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        raise DecodeError(f"A webhook element is no transaction: {problem}") from problem
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
    """None where an element tells none. Raises DecodeError for what cannot be one."""
    if claimed is None:
        return None
    if isinstance(claimed, bool) or not isinstance(claimed, int) or not 0 <= claimed <= _MAX_SLOT:
        raise DecodeError(f"A webhook element's slot is no slot number: {str(claimed)[:40]}.")
    return Slot(claimed)


def _first_signature(transaction: msgspec.Raw) -> Signature | None:
    try:
        signatures = _transaction.decode(transaction).signatures
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return parse_signature(signatures[0]) if signatures and is_signature(signatures[0]) else None


def _meta_of(raw: msgspec.Raw) -> _Meta | None:
    try:
        return _meta.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
