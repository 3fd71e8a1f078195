"""Report invalid values of a request by field and in the words of JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, get_args, get_origin, get_type_hints

from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg
from litestar.typing import FieldDefinition

from zmart.client.shapes.system import FieldProblem

_MISSING = re.compile(r"Object missing required field `(.+)`")
_KIND = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_OF_JSON = {"int": "an integer", "float": "a number", "str": "a string", "bool": "a boolean", "array": "an array",
            "object": "an object", "uuid": "a UUID", "null": "null"}  # fmt: skip


def field_problems(problem: ValidationException, handler: BaseRouteHandler) -> list[FieldProblem]:
    """Return one entry for each invalid parameter, and for a body one, of the first error."""
    extra = problem.extra if isinstance(problem.extra, list) else []
    parameters = handler.parsed_fn_signature.parameters
    return [_field_problem(item, parameters) for item in extra] or [
        FieldProblem(field="body", message=str(problem.detail))
    ]


def _field_problem(item: Mapping[str, Any], parameters: Mapping[str, FieldDefinition]) -> FieldProblem:
    name, message = str(item.get("key", "body")), str(item.get("message", "is wrong"))
    hint: object = None
    if item.get("source") == "body":
        name = "body" if name == "data" else name
        hint = get_type_hints(parameters["data"].annotation).get(name)
    elif name in parameters:
        declared = parameters[name]
        hint = declared.annotation
        if isinstance(declared.kwarg_definition, ParameterKwarg) and declared.kwarg_definition.name:
            name = declared.kwarg_definition.name
    if missing := _MISSING.fullmatch(message):
        return FieldProblem(field=missing[1], message=f"{missing[1]} is missing.")
    if message.startswith("Invalid enum value") and (allowed := _allowed(hint)):
        message = f"{name} is one of {', '.join(allowed)}."
    elif kinds := _KIND.fullmatch(message):
        expected, given = (" or ".join(_of_json(kind)) for kind in kinds.groups())
        message = f"{name} must be {expected}, not {given}."
    return FieldProblem(field=name, message=message)


def _of_json(kinds: str) -> list[str]:
    return [_OF_JSON.get(kind, kind) for kind in kinds.split(" | ")]


def _allowed(hint: object) -> list[str]:
    """The values of the enum or the literals in an annotation."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [str(member.value) for member in hint]
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint) if value]
    return [value for part in get_args(hint) for value in _allowed(part)]
