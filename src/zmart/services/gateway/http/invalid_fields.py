"""Report everything that is wrong with the parameters and the body of a request, one entry for each field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from zmart.client.shapes.system import FieldProblem
from zmart.errors import Invalid
from zmart.services.field_problems import field_problem, of_body


class ParameterRule(msgspec.Struct, frozen=True):
    """A check of a query parameter beyond its type, in the parameter's annotation. `check(name, text)` raises Invalid
    for a wrong value."""

    check: Callable[[str, str], object]


def field_problems(handler: BaseRouteHandler, query: Mapping[str, str], body: bytes) -> list[FieldProblem]:
    """Return one entry for each query parameter and each field of the body that is missing or wrong."""
    parameters = handler.parsed_fn_signature.parameters
    problems = list(_of_query(handler, parameters, query))
    if "data" in parameters:
        problems += of_body(parameters["data"].annotation, body)
        if not body and not problems:
            problems.append(FieldProblem(field="body", message="body is missing: send a JSON object."))
    return problems


def _of_query(
    handler: BaseRouteHandler, parameters: Mapping[str, FieldDefinition], query: Mapping[str, str]
) -> Iterator[FieldProblem]:
    for key, declared in parameters.items():
        parameter = declared.kwarg_definition
        if not isinstance(parameter, QueryParameter):
            continue
        name = parameter.name or key
        if name not in query:
            if declared.is_required:
                yield FieldProblem(field=name, message=f"{name} is missing.")
            continue
        kind = handler.signature_model.__annotations__[key]
        try:
            msgspec.convert(query[name], kind, strict=False)
            for rule in (item for item in declared.metadata if isinstance(item, ParameterRule)):
                rule.check(name, query[name])
        except msgspec.ValidationError as problem:
            yield field_problem(name, str(problem), declared.annotation)
        except Invalid as problem:
            yield FieldProblem(field=problem.field, message=str(problem))
