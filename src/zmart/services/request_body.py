"""Check the body of a request while it is decoded: each field by the rule in its annotation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from zmart.errors import Invalid, refuse_invalid

Rule = Callable[[str, Any], Any]
"""Takes a field's name and its value, and returns the value that handlers get. Raises Invalid."""


class RequestBody(msgspec.Struct, frozen=True, kw_only=True):
    """The base class of request bodies: decoding applies the rule in each field's annotation to the field's value.

    Raises Invalid for an invalid field, and InvalidFields if there are several.
    """

    either: ClassVar[tuple[str, ...]] = ()
    """Exactly one of these fields must be given."""
    any_of: ClassVar[tuple[str, ...]] = ()
    """At least one of these fields must be given."""

    def __post_init__(self) -> None:
        problems: list[Invalid] = []
        for name, rule in rules_of(type(self)).items():
            value = getattr(self, name)
            if value is not None:
                try:
                    msgspec.structs.force_setattr(self, name, rule(name, value))
                except Invalid as problem:
                    problems.append(problem)
        given = {name for name in self.__struct_fields__ if getattr(self, name) is not None}
        refuse_invalid([*problems, *self.missing(given)])

    @classmethod
    def missing(cls, given: Collection[str]) -> Iterator[Invalid]:
        """Yield a problem if the fields named in `given` do not meet `either` or `any_of`."""
        if cls.either and sum(name in given for name in cls.either) != 1:
            yield Invalid(cls.either[0], f"Send either {' or '.join(cls.either)}.")
        if cls.any_of and not any(name in given for name in cls.any_of):
            yield Invalid(cls.any_of[0], f"Send {' or '.join(cls.any_of)}, or both.")


@cache
def rules_of(kind: type[RequestBody]) -> Mapping[str, Rule]:
    """Return the rules of a body's fields by field name; a field without a rule is left out."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: rule for name, hint in hints.items() if (rule := rule_of(hint)) is not None}


def rule_of(hint: object) -> Rule | None:
    """Return the rule in an annotation or in a part of its union; None if there is none."""
    for meta in getattr(hint, "__metadata__", ()):
        if isinstance(meta, Meta) and meta.extra is not None:
            rule: Rule = meta.extra["rule"]
            return rule
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    return next(filter(None, map(rule_of, options)), None)
