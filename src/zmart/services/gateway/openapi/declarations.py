"""Declare parts of an operation's description beside its handler, in its decorator and its parameters: refusals,
examples, links."""

from __future__ import annotations

from collections.abc import Mapping

from litestar.enums import RequestEncodingType
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import BodyKwarg

from zmart.client.shapes.system import Problem

LINKS = "links"
"""Route option: the operations to which values of the answer lead, each with its arguments as runtime expressions of
OpenAPI."""
MEANINGS = {
    304: "Not Modified: what `If-None-Match` names is still what would be answered.",
    400: "A value does not meet its rule, or the body is no JSON; `details` names the fields.",
    401: "No proof of the caller's identity, or one that does not hold.",
    403: "The caller is known and may not do this.",
    404: "What the path or the body names does not exist.",
    405: "The path is that of another call, which has another method.",
    408: "The body did not arrive in time.",
    409: "The present state does not allow it; for a trade, the program's refusal in words.",
    413: "The body is larger than `MAX_BODY_BYTES`.",
    414: "Path and query have more than 8,192 bytes together.",
    415: "The body is not JSON.",
    429: "The caller's limit is used up: `Retry-After` says for how long.",
    500: "Something went wrong here; `request_id` is what the operator needs.",
    503: "The database, Redis or the chain is unavailable or busy: `Retry-After`.",
}
A_MARKET = "8f1e5d2ac3b7409611aa7c0de4f0b2c59d3c6e8fa1b2d3c4e5f60718293a4b5c"
A_COMMENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
A_WALLET = "7EqQdEULxWcraVx3mXKFjc84LhCkMGZCkRuDpvcMwJeK"
A_SIGNATURE = "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW"

Links = dict[str, dict[str, str]]


def refusals(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the descriptions of these error statuses, for `responses` of a handler's decorator. Statuses that all
    operations have are added in operations.py."""
    return {
        status: ResponseSpec(Problem, generate_examples=False, description=MEANINGS[status])
        for status in statuses
    }


def example(**fields: object) -> BodyKwarg:
    """Return the annotation of a handler's `data`: an example of the body, with these fields."""
    return BodyKwarg(media_type=RequestEncodingType.JSON, examples=[Example(value=fields)])


def lead_to(*operations: str, **arguments: str) -> Links:
    """Return links to `operations`, each with the same `arguments`, for the route option LINKS."""
    return {operation: dict(arguments) for operation in operations}


def link_objects(links: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """Return links in the form of OpenAPI: link objects by the name of the operation."""
    return {name: {"operationId": name, "parameters": dict(values)} for name, values in links.items()}
