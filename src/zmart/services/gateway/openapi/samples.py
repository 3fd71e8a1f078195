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
_ONE_OF: Mapping[str, Mapping[str, str | int]] = {"GetQuote": {"max_cost": 100_000_000}}
"""Optional parameters in the samples of some operations, by operation id: GetQuote needs `max_cost` or `shares`."""
_BODIES = {"SendTransaction": {"transaction": "<a signed transaction in base64>"}}
"""Bodies in the samples of operations without an example, by operation id."""

_SIGN_IN = """\
const signer = await KeyPairSigner.generate(); // in a browser: await connectWallet(wallet)
await api.signIn(signer);
"""


def curl(method: str, path: str, operation: Schema, server: str = LOCAL) -> str:
    """Return an operation as a curl command against the API at `server`."""
    values = _values(operation)
    query = "&".join(f"{name}={value}" for name, value in values["query"].items())
    address = f"'{server}{_filled(path, values['path'])}{'?' + query if query else ''}'"
    parts = ["curl -s", *([] if method == "get" else [f"-X {method.upper()}"]), address]
    if _needs_proof(operation):
        parts.append('-H "Authorization: Bearer $TOKEN"')
    if (body := _body(operation)) is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d '{msgspec.json.encode(body).decode()}'"]
    return " \\\n  ".join(parts)


def typescript(method: str, path: str, operation: Schema, server: str = LOCAL) -> str:
    """Return an operation as a TypeScript program with @zmart/client against the API at `server`. It signs in only
    where the operation asks for a proof."""
    options: dict[str, object] = {name: values for name, values in _values(operation).items() if values}
    if (body := _body(operation)) is not None:
        options["body"] = body
    arguments = f", {json.dumps(options, indent=2, ensure_ascii=False)}" if options else ""
    signs_in = _needs_proof(operation)
    names = "KeyPairSigner, ZmartClient" if signs_in else "ZmartClient"
    return (
        f'import {{ {names} }} from "@zmart/client";\n\nconst api = new ZmartClient("{server}");\n'
        f'{_SIGN_IN if signs_in else ""}const answer = await api.{method}("{path}"{arguments});'
    )


def _needs_proof(operation: Schema) -> bool:
    return bool(operation["security"]) and {} not in operation["security"]


def _values(operation: Schema) -> dict[str, dict[str, str | int]]:
    """Return sample values of the required parameters in path and query, by their names."""
    needed: dict[str, dict[str, str | int]] = {"path": {}, "query": {}}
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


def _filled(path: str, values: Mapping[str, str | int]) -> str:
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", str(value))
    return path


def _body(operation: Schema) -> object:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return (
        content["examples"]["usual"]["value"]
        if "examples" in content
        else _BODIES.get(operation["operationId"])
    )
