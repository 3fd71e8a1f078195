"""Write samples of calls for the reference pages: with curl, and with the TypeScript client."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from zmart.services.gateway.openapi.declarations import A_COMMENT, A_MARKET, A_SIGNATURE, A_WALLET
from zmart.services.gateway.openapi.shapes import Schema

LOCAL = "http://127.0.0.1:4000"
_VALUES = {
    "MarketKey": A_MARKET,
    "Wallet": A_WALLET,
    "Signature": A_SIGNATURE,
    "CommentId": A_COMMENT,
    "service": "ipfs",
    "q": "rain",
    "outcome": "YES",
}
"""Sample values of parameters, by the name of the parameter's schema or by its own name."""
_ONE_OF = {"GetQuote": {"max_cost": "100000000"}}
"""Optional parameters in the samples of some operations, by operation id: GetQuote needs `max_cost` or `shares`."""


def curl(method: str, path: str, operation: Schema) -> str:
    """Return an operation as a curl command against the local stack."""
    values = _values(operation)
    query = "&".join(f"{name}={value}" for name, value in values["query"].items())
    address = f"'{LOCAL}{_filled(path, values['path'])}{'?' + query if query else ''}'"
    parts = ["curl -s", *([] if method == "get" else [f"-X {method.upper()}"]), address]
    if operation["security"] and {} not in operation["security"]:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    if (body := _body(operation)) is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d '{msgspec.json.encode(body).decode()}'"]
    return " \\\n  ".join(parts)


def typescript(method: str, path: str, operation: Schema) -> str:
    """Return an operation as a TypeScript program with @zmart/client."""
    options: dict[str, object] = {name: values for name, values in _values(operation).items() if values}
    if (body := _body(operation)) is not None:
        options["body"] = body
    arguments = f", {json.dumps(options, indent=2, ensure_ascii=False)}" if options else ""
    sign_in = "await api.signIn(signer);\n" if {"session": []} in operation["security"] else ""
    return (
        f'import {{ ZmartClient }} from "@zmart/client";\n\nconst api = new ZmartClient("{LOCAL}");\n{sign_in}'
        f'const answer = await api.{method}("{path}"{arguments});'
    )


def _values(operation: Schema) -> dict[str, dict[str, str]]:
    """Return sample values of the required parameters in path and query, by their names."""
    needed: dict[str, dict[str, str]] = {"path": {}, "query": {}}
    for item in operation.get("parameters", ()):
        if item["required"] and item["in"] in needed:
            needed[item["in"]][item["name"]] = _value(item)
    needed["query"] |= _ONE_OF.get(operation["operationId"], {})
    return needed


def _value(parameter: Mapping[str, Schema | str]) -> str:
    schema = parameter["schema"]
    assert isinstance(schema, dict)
    named = str(schema.get("$ref") or schema.get("title") or "").rpartition("/")[2]
    return _VALUES.get(named) or _VALUES.get(str(parameter["name"])) or "..."


def _filled(path: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def _body(operation: Schema) -> object:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return content["examples"]["usual"]["value"] if "examples" in content else None
