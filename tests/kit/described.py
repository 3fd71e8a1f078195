"""Look up operations in the published OpenAPI description."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx
import msgspec

from zmart.services.gateway.openapi import offline


class Described(msgspec.Struct, frozen=True):
    """One operation of the API; `schema` is its operation object in the OpenAPI document."""

    method: str
    path: str
    schema: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.schema["operationId"])

    @property
    def proofs(self) -> set[str]:
        """The names of the security schemes that the operation accepts."""
        return {name for option in self.schema["security"] for name in option}

    @property
    def statuses(self) -> set[int]:
        return {int(status) for status in self.schema["responses"]}

    @property
    def example(self) -> Any:
        content = self.schema.get("requestBody", {}).get("content", {}).get("application/json", {})
        return content["examples"]["usual"]["value"] if "examples" in content else None


@cache
def operations() -> list[Described]:
    """Return every operation of the API, those with fewer path parameters first."""
    found = [
        Described(method.upper(), path, schema)
        for path, item in offline.document()["paths"].items()
        for method, schema in item.items()
    ]
    return sorted(found, key=lambda operation: operation.path.count("{"))


def matching(method: str, path: str) -> Described | None:
    """Return the operation that answers a request of this method and path; None when there is none."""
    for operation in operations():
        if operation.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", operation.path), path):
            return operation
    return None


async def only_described_statuses(response: httpx.Response) -> None:
    """Raise AssertionError when an operation answers with a status that its description does not list.

    This is an event hook of httpx for responses.
    """
    request = response.request
    if (operation := matching(request.method, request.url.path)) is not None:
        said = f"{operation.name} answered {response.status_code}, which its description does not say"
        assert response.status_code in operation.statuses, said
