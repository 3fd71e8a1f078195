"""Make the content of the plain reference pages from the published documents: calls, messages and shapes, in which each
type links to its shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from zmart.services.gateway.http.security import OPERATOR_TOKEN
from zmart.services.gateway.openapi import samples, specification
from zmart.services.gateway.openapi.shapes import Schema

TypePart = tuple[str, bool]
"""A piece of the text of a type, and whether it names a shape of the page."""
_WORD = re.compile(r"(\w+)")


def calls(schema: Schema, server: str) -> dict[str, list[dict[str, object]]]:
    """Return the values of every call for the template, by group, in the order of the document's tags. The samples call
    the API at `server`."""
    groups: dict[str, list[dict[str, object]]] = {tag["name"]: [] for tag in schema["tags"]}
    for path, item in sorted(schema["paths"].items()):
        for method, operation in item.items():
            groups[operation["tags"][0]].append(_call(schema, server, path, method, operation))
    return groups


def messages(document: Schema) -> dict[str, list[dict[str, object]]]:
    """Return the values of every WebSocket message for the template, by direction: from the client, from the server."""
    from_clients = {
        _named(message)
        for operation in document["operations"].values()
        if operation["action"] == "receive"
        for message in operation["messages"]
    }
    groups: dict[str, list[dict[str, object]]] = {"from the client": [], "from the server": []}
    for name, message in document["components"]["messages"].items():
        direction = "from the client" if name in from_clients else "from the server"
        fields = _fields(document, specification.fields_of(document, message["payload"]))
        groups[direction].append({"id": name, "about": message["summary"], "fields": fields})
    return groups


def shapes(document: Schema) -> list[dict[str, object]]:
    """Return the values of every shape for the template, sorted by name: its description, and its fields or its
    type."""
    return [
        {
            "name": name,
            "about": shape.get("description", ""),
            "fields": _fields(document, specification.fields_of(document, shape)),
            "type": _parts(document, specification.type_of(shape)),
        }
        for name, shape in sorted(document["components"]["schemas"].items())
    ]


def _call(schema: Schema, server: str, path: str, method: str, operation: Schema) -> dict[str, object]:
    body = _json_schema(operation.get("requestBody", {}))
    status, answer = next(iter(operation["responses"].items()))
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "about": operation["description"],
        "secured": _secured(operation["security"]),
        "parameters": [
            (
                item["name"],
                item["in"],
                _parts(schema, specification.type_of_parameter(item["schema"])),
                item.get("description", ""),
            )
            for item in operation.get("parameters", ())
        ],
        "body": _fields(schema, specification.fields_of(schema, body)),
        "status": status,
        "answer": _parts(schema, specification.type_of(_json_schema(answer) or {})),
        "refusals": [
            (code, each["description"]) for code, each in operation["responses"].items() if code >= "400"
        ],
        "curl": samples.curl(method, path, operation, server),
        "typescript": samples.typescript(method, path, operation, server),
    }


def _json_schema(part: Schema) -> Schema | None:
    schema: Schema | None = part.get("content", {}).get("application/json", {}).get("schema")
    return schema


def _fields(document: Schema, rows: Iterable[tuple[str, str, str]]) -> list[tuple[str, list[TypePart], str]]:
    return [(name, _parts(document, kind), about) for name, kind, about in rows]


def _parts(document: Schema, kind: str) -> list[TypePart]:
    names: Mapping[str, Any] = document["components"]["schemas"]
    return [(word, word in names) for word in _WORD.split(kind) if word]


def _secured(security: list[Schema]) -> str:
    if {} in security or not security:
        return ""
    return "operator" if {OPERATOR_TOKEN: []} in security else "wallet"


def _named(reference: Mapping[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]
