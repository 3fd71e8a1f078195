"""What Helius posts: raw transactions, or enhanced ones, of which only the signature is believed.

A raw element has the shape of getTransaction's answer plus `indexWithinBlock`. An enhanced element is Helius'
own reading of a transaction without logs; it is recognised and fetched again by its signature.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from zmart.errors import DecodeError
from zmart.market.types import Signature, Slot

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_ITEMS = 1_000
_SIGNATURE = re.compile(r"[1-9A-HJ-NP-Za-km-z]{64,88}")
_SlotNumber = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class WebhookItem(msgspec.Struct, frozen=True):
    """`raw` is the element's own JSON for `transactions.parse_transaction`; None asks for a fetch."""

    signature: Signature
    slot: Slot | None
    raw: bytes | None
    failed: bool


class _Meta(msgspec.Struct):
    err: object = None


class _Transaction(msgspec.Struct):
    signatures: Annotated[list[str], msgspec.Meta(min_length=1, max_length=64)]


class _Element(msgspec.Struct):
    slot: _SlotNumber | None = None
    transaction: _Transaction | None = None
    meta: _Meta | None = None
    signature: str | None = None
    transactionError: object = None  # noqa: N815 - Helius' spelling


_elements = msgspec.json.Decoder(list[msgspec.Raw])
_element = msgspec.json.Decoder(_Element)


def parse_webhook(body: bytes) -> list[WebhookItem]:
    """The transactions of one delivery, an array or a single object. Raises DecodeError on anything else,
    and on more than MAX_BODY_BYTES or MAX_ITEMS."""
    if len(body) > MAX_BODY_BYTES:
        raise DecodeError(f"The webhook body has {len(body)} bytes; {MAX_BODY_BYTES} are accepted.")
    try:
        elements = [msgspec.Raw(body)] if body.lstrip()[:1] == b"{" else _elements.decode(body)
        if len(elements) > MAX_ITEMS:
            raise DecodeError(f"The webhook carries {len(elements)} elements; {MAX_ITEMS} are accepted.")
        return [_item(bytes(element)) for element in elements]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(f"The webhook is no array of transactions: {error}") from error


def _item(raw: bytes) -> WebhookItem:
    element = _element.decode(raw)
    slot = None if element.slot is None else Slot(element.slot)
    if element.transaction is not None:
        if slot is None or element.meta is None:
            raise DecodeError("A raw webhook element lacks its slot or its meta.")
        signature = _signature(element.transaction.signatures[0])
        return WebhookItem(signature, slot, raw, failed=element.meta.err is not None)
    if element.signature is None:
        raise DecodeError("A webhook element has neither a transaction nor a signature.")
    return WebhookItem(_signature(element.signature), slot, None, failed=element.transactionError is not None)


def _signature(text: str) -> Signature:
    if not _SIGNATURE.fullmatch(text):
        raise DecodeError(f"{text[:100]!r} is not a signature: base58 of 64 bytes.")
    return Signature(text)
