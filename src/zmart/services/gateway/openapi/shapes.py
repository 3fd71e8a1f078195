"""The schemas of bodies and answers, from their structs: msgspec knows the rules, the types of the domain the words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from litestar import Response

from zmart.client.shapes.system import Problem
from zmart.market.identifiers import ADDRESS_FORM, MARKET_ID_FORM, SIGNATURE_FORM
from zmart.market.types import Address, Bps, Lamports, MarketId, Shares, Signature, Slot, Wallet

# A JSON Schema, whose shape is that standard's.
Schema = dict[str, Any]

REF = "#/components/schemas/{name}"
_AMOUNT = {"type": ["integer", "string"], "pattern": "^-?[0-9]+$"}
WORDS: dict[str, Schema] = {
    "MarketId": {"type": "string", "pattern": f"^{MARKET_ID_FORM}$", "description": "The market_id on chain, in hex."},
    "MarketKey": {
        "type": "string",
        "format": "market-key",
        "pattern": f"^({MARKET_ID_FORM}|{ADDRESS_FORM})$",
        "description": "A market, by its id (64 hex characters) or its address on chain.",
    },
    "Address": {"type": "string", "format": "address", "pattern": f"^{ADDRESS_FORM}$",
                "description": "An account: base58 of 32 bytes."},
    "Wallet": {"type": "string", "format": "address", "pattern": f"^{ADDRESS_FORM}$",
               "description": "A user's address: base58 of an ed25519 key."},
    "Signature": {"type": "string", "format": "signature", "pattern": f"^{SIGNATURE_FORM}$",
                  "description": "A transaction's signature: base58 of 64 bytes."},
    "Slot": {"type": "integer", "minimum": 0, "description": "A slot of the chain."},
    "Lamports": {**_AMOUNT, "description": "SOL in units of 1e-9. Text with `numeric=string`, else an integer."},
    "Shares": {**_AMOUNT, "description": "Shares in units of 1e-9. Text with `numeric=string`, else an integer."},
    "Bps": {"type": "integer", "minimum": 0, "maximum": 10_000, "description": "Hundredths of a percent."},
}  # fmt: skip
"""The domain's types. In what clients send, amounts are integers."""
_NAMED = {kind: kind.__name__ for kind in (MarketId, Address, Wallet, Signature, Slot, Lamports, Shares, Bps)}


def of_answer(annotation: Any) -> tuple[Schema, list[type]]:  # noqa: ANN401  # a handler's annotation
    """The schema of what a handler returns, and the types in it."""
    if isinstance(get_origin(annotation), type) and issubclass(get_origin(annotation), Response):
        [annotation] = get_args(annotation)
    kinds = list(get_args(annotation)) if get_origin(annotation) is UnionType else [annotation]
    schemas = [reference(kind) for kind in kinds]
    inner = [get_args(kind)[0] if get_origin(kind) is list else kind for kind in kinds]
    return (schemas[0] if len(schemas) == 1 else {"anyOf": schemas}), inner


def reference(kind: Any) -> Schema:  # noqa: ANN401
    """Return the schema that names a struct, or a list of them."""
    if get_origin(kind) is list:
        return {"type": "array", "items": reference(get_args(kind)[0])}
    return {"$ref": REF.format(name=kind.__name__)}


def components(kinds: Iterable[type]) -> dict[str, Schema]:
    """Every schema that these structs need, by name."""
    wanted = list(dict.fromkeys([*kinds, Problem]))
    _, found = msgspec.json.schema_components(wanted, schema_hook=_anything, ref_template=REF)
    for kind in _reachable(wanted):
        _say_words(found[kind.__name__], kind)
        if fields := getattr(kind, "either", ()):
            found[kind.__name__]["oneOf"] = [_only(name, fields) for name in fields]
    return {**WORDS, **found}


def _only(name: str, fields: Iterable[str]) -> Schema:
    """One of the fields and none of the others."""
    other = {field: {"type": "null"} for field in fields if field != name}
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}, **other}}


def tidied(part: Any) -> Any:  # noqa: ANN401  # any part of a JSON document
    """Return the document without what generators of clients read as something else: a reference's siblings, and
    defaults of fields, which make a field required for some (a parameter keeps its own)."""
    if isinstance(part, list):
        return [tidied(item) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("$ref"), str):
        return {"$ref": part["$ref"]}
    kept = {name: tidied(value) for name, value in part.items()}
    for field in kept.get("properties", {}).values():
        field.pop("default", None)
    return kept


def _anything(_: type) -> Schema:
    """What is plainly an `object`."""
    return {"description": "Any JSON value."}


def _reachable(kinds: Iterable[type]) -> set[type[msgspec.Struct]]:
    seen: set[type[msgspec.Struct]] = set()
    waiting: list[Any] = list(kinds)
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in seen:
            seen.add(kind)
            waiting += get_type_hints(kind).values()
        else:
            waiting += [part for part in get_args(kind) if part not in waiting]
    return seen


def _say_words(schema: Schema, kind: type[msgspec.Struct]) -> None:
    """Names the domain's types in the fields of a struct."""
    hints = get_type_hints(kind, include_extras=True)
    for name, wire in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        schema["properties"][wire] = _worded(schema["properties"][wire], hints[name])


def _worded(schema: Schema, hint: Any) -> Schema:  # noqa: ANN401
    if hint in _NAMED:
        return {"$ref": REF.format(name=_NAMED[hint])}
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType) and "anyOf" in schema:
        only = [part for part in parts if part not in (type(None), msgspec.UnsetType)]
        if len(only) == 1:
            options = [o if o == {"type": "null"} else _worded(o, only[0]) for o in schema["anyOf"]]
            return {**schema, "anyOf": options}
    if (
        origin is not None
        and origin is not Annotated
        and "items" in schema
        and isinstance(schema["items"], Mapping)
    ):
        return {**schema, "items": _worded(dict(schema["items"]), parts[0])}
    return schema
