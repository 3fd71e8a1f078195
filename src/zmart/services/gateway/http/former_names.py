"""Accept fields of request bodies under the former names that existing clients send, where their meaning is clear."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from zmart.errors import Invalid
from zmart.market.json_input import JSON_ERRORS

FORMER_NAMES = "former_names"
"""Route option: a mapping of former names of the body's fields to their present names."""


def with_present_names(body: bytes, former_names: Mapping[str, str]) -> bytes:
    """Return the body with present names in place of former ones. Raises Invalid for a field that is given under both
    names with different values."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except JSON_ERRORS:
        return body  # not an object: the handler refuses it
    given = [name for name in former_names if name in fields]
    for former in given:
        present, value = former_names[former], fields.pop(former)
        if bytes(fields.setdefault(present, value)) != bytes(value):
            raise Invalid(former, f"{former} is a former name of {present}, and they say different things.")
    return msgspec.json.encode(fields) if given else body
