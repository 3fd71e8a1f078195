"""Write the list of operations and schemas in docs/api.md from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from zmart.services.gateway.openapi.shapes import SCALARS, Schema
from zmart.services.gateway.openapi.specification import fields_of, type_of, type_of_parameter

MARKER = "<!-- Made by `zmart openapi --page`. Write above this line. -->"
_PROOFS = {"": "public", "session": "session", "signature": "signed request", "operator": "operator"}


def with_calls(text: str, schema: Schema) -> str:
    """Return the text of docs/api.md with its list of calls made again from the document. The text above MARKER stays
    as it is."""
    written = text.partition(MARKER)[0].rstrip()
    return f"{written}\n\n{MARKER}\n\n{calls(schema)}"


def calls(schema: Schema) -> str:
    """Return Markdown with every call, grouped by tag, and after them every schema."""
    return "\n".join([*_calls(schema), *_shapes(schema)]) + "\n"


def _calls(schema: Schema) -> Iterator[str]:
    groups: dict[str, list[tuple[str, str, Schema]]] = {}
    for path, item in sorted(schema["paths"].items()):
        for method, operation in item.items():
            groups.setdefault(operation["tags"][0], []).append((method, path, operation))
    yield "## Every call"
    for tag in schema["tags"]:
        yield f"\n### {tag['name'].capitalize()}"
        for method, path, operation in groups[tag["name"]]:
            yield from _call(schema, method, path, operation)


def _call(schema: Schema, method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"\n**{method.upper()} {path}**{_who(operation)} " + " ".join(operation["description"].split())
    rows = [
        (
            item["name"] + ("" if item["required"] else "?"),
            type_of_parameter(item["schema"]),
            item.get("description", ""),
        )
        for item in operation.get("parameters", ())
        if item["in"] == "query" and item["name"] != "numeric"
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    rows += fields_of(schema, body.get("schema"))
    if rows:
        yield "- takes " + "; ".join(_field(*row) for row in rows)
    if "examples" in body:
        yield f"- e.g. `{msgspec.json.encode(body['examples']['usual']['value']).decode()}`"
    status, answer = next(iter(operation["responses"].items()))
    answered = type_of(answer.get("content", {}).get("application/json", {}).get("schema", {}))
    refused = ", ".join(code for code in operation["responses"] if code >= "400" and code != "500")
    yield f"- answers {status} {answered}; refuses with {refused}"


def _who(operation: Schema) -> str:
    proofs = [_PROOFS[name] for option in operation["security"] for name in option or ("",)]
    return f" ({', '.join(proofs)})" if proofs else ""


def _field(name: str, kind: str, about: str) -> str:
    return f"`{name}` {kind}" + (f" ({about})" if about else "")


def _shapes(schema: Schema) -> Iterator[str]:
    yield "\n## Shapes\n\n`?` marks what may be missing."
    named = schema["components"]["schemas"]
    for name in [*SCALARS, *sorted(set(named) - set(SCALARS))]:
        rows = fields_of(schema, named[name])
        kind = "" if rows else f"{type_of(named[name])}. "
        about = kind + " ".join(named[name].get("description", "").split())
        yield f"\n**{name}** {about}".rstrip()
        if rows:
            yield ", ".join(_field(*row) for row in rows)
