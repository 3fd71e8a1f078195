"""Make the schemas of bodies and answers from their structs; types of the domain are recognized by their titles."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import cleandoc
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec
from litestar import Response

from zmart.client.shapes.system import Problem
from zmart.market.identifiers import ADDRESS_FORM, MARKET_ID_FORM, SIGNATURE_FORM
from zmart.services.gateway.openapi.declarations import A_COMMENT, A_MARKET, A_SIGNATURE, A_WALLET

# A JSON Schema, whose shape is that standard's.
Schema = dict[str, Any]

REF = "#/components/schemas/{name}"
_AMOUNT = {"type": ["integer", "string"], "pattern": "^-?[0-9]+$"}
SCALARS: dict[str, Schema] = {
    "MarketId": {"type": "string", "pattern": f"^{MARKET_ID_FORM}$", "description": "The market_id on chain, in hex."},
    "MarketKey": {"type": "string", "format": "market-key", "pattern": f"^({MARKET_ID_FORM}|{ADDRESS_FORM})$",
                  "description": "A market, by its id (64 hex characters) or its address on chain.",
                  "examples": [A_MARKET]},
    "Address": {"type": "string", "format": "address", "pattern": f"^{ADDRESS_FORM}$",
                "description": "An account: base58 of 32 bytes."},
    "Wallet": {"type": "string", "format": "address", "pattern": f"^{ADDRESS_FORM}$",
               "description": "A user's address: base58 of an ed25519 key.", "examples": [A_WALLET]},
    "Signature": {"type": "string", "format": "signature", "pattern": f"^{SIGNATURE_FORM}$",
                  "description": "A transaction's signature: base58 of 64 bytes.", "examples": [A_SIGNATURE]},
    "CommentId": {"type": "string", "format": "uuid", "description": "A comment.", "examples": [A_COMMENT]},
    "Slot": {"type": "integer", "minimum": 0, "description": "A slot of the chain."},
    "Lamports": {**_AMOUNT, "description": "SOL in units of 1e-9. Text with `numeric=string`, else an integer."},
    "Shares": {**_AMOUNT, "description": "Shares in units of 1e-9. Text with `numeric=string`, else an integer."},
    "Bps": {"type": "integer", "minimum": 0, "maximum": 10_000, "description": "Hundredths of a percent."},
}  # fmt: skip
"""Schemas with one of these titles are published as references to it. In bodies of requests amounts are integers."""


def of_answer(annotation: Any) -> tuple[Schema, list[type]]:  # noqa: ANN401  # a handler's annotation
    """Return the schema of what a handler returns, and the types in it."""
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
    """Return every schema that these structs need, by name."""
    structs = list(dict.fromkeys([*kinds, Problem]))
    _, schemas = msgspec.json.schema_components(structs, schema_hook=_anything, ref_template=REF)
    for kind in structs:
        if fields := getattr(kind, "either", ()):
            schemas[kind.__name__]["oneOf"] = [_only(name, fields) for name in fields]
        if fields := getattr(kind, "any_of", ()):
            schemas[kind.__name__]["anyOf"] = [_only(name, (name,)) for name in fields]
    return schemas


def _only(name: str, fields: Iterable[str]) -> Schema:
    """Demand one of the fields and none of the others."""
    other = {field: {"type": "null"} for field in fields if field != name}
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}, **other}}


def tidied(part: Any) -> Any:  # noqa: ANN401  # any part of a JSON document
    """Return the document with references to SCALARS, and without what generators of clients read as something else:
    a reference's siblings, and defaults of fields, which make a field required for some (a parameter keeps its own)."""
    if isinstance(part, list):
        return [tidied(item) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("$ref"), str):
        return {"$ref": part["$ref"]}
    if isinstance(title := part.get("title"), str) and title in SCALARS:
        scalar = {"$ref": REF.format(name=title)}
        return {"anyOf": [scalar, {"type": "null"}, {"const": ""}]} if "oneOf" in part else scalar
    rest = {name: tidied(value) for name, value in part.items()}
    if isinstance(rest.get("description"), str):
        rest["description"] = cleandoc(rest["description"])
    for field in rest.get("properties", {}).values():
        field.pop("default", None)
    return rest


def _anything(_: type) -> Schema:
    """Describe a field of the type `object`."""
    return {"description": "Any JSON value."}
