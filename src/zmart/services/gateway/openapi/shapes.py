"""Make the schemas of bodies and answers from their structs. A schema whose title is one of SCALARS becomes a reference
to it."""

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

# A JSON Schema as plain dicts and lists; the standard defines its form.
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
"""Schemas of scalar types by title. A schema with one of these titles is published as a reference to it. In request
bodies amounts are integers."""


def of_answer(annotation: Any) -> tuple[Schema, list[type]]:  # noqa: ANN401  # a handler's annotation
    """Return the schema of the answer by a handler's return annotation, and the struct types in it."""
    if isinstance(get_origin(annotation), type) and issubclass(get_origin(annotation), Response):
        [annotation] = get_args(annotation)
    kinds = list(get_args(annotation)) if get_origin(annotation) is UnionType else [annotation]
    schemas = [reference(kind) for kind in kinds]
    inner = [get_args(kind)[0] if get_origin(kind) is list else kind for kind in kinds]
    return (schemas[0] if len(schemas) == 1 else {"anyOf": schemas}), inner


def reference(kind: Any) -> Schema:  # noqa: ANN401
    """Return the schema that refers to a struct by its name, or an array of that for a list of structs."""
    if get_origin(kind) is list:
        return {"type": "array", "items": reference(get_args(kind)[0])}
    return {"$ref": REF.format(name=kind.__name__)}


def components(kinds: Iterable[type]) -> dict[str, Schema]:
    """Return the schemas of these structs, of Problem and of all structs inside of them, by name. Fields of which one
    must be given (`either`, `any_of`) are stated, too."""
    structs = list(dict.fromkeys([*kinds, Problem]))
    _, schemas = msgspec.json.schema_components(structs, schema_hook=_anything, ref_template=REF)
    for kind in structs:
        if fields := getattr(kind, "either", ()):
            schemas[kind.__name__]["oneOf"] = [_only(name, fields) for name in fields]
        if fields := getattr(kind, "any_of", ()):
            schemas[kind.__name__]["anyOf"] = [_only(name, (name,)) for name in fields]
    return schemas


def _only(name: str, fields: Iterable[str]) -> Schema:
    """Return a schema that requires the field `name` and forbids values of all other `fields`."""
    other = {field: {"type": "null"} for field in fields if field != name}
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}, **other}}


def tidied(part: Any) -> Any:  # noqa: ANN401  # any part of a JSON document
    """Return a part of a document with references to SCALARS, and without what generators of clients misread: the
    siblings of a reference, and the defaults of fields, for which some declare the field as required. Parameters keep
    their defaults."""
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
    """Return the schema of a field of the type `object`: any JSON value."""
    return {"description": "Any JSON value."}
