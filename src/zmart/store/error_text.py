"""Make the text of an error storable. It may quote what came from outside: a document, an RPC, a provider."""

from __future__ import annotations

import re

import msgspec

MOST_CHARS = 2_000
_refused = re.compile("[\0\ud800-\udfff]")


def storable(text: str, most_chars: int = MOST_CHARS) -> str:
    """Return the first `most_chars` characters of `text`, with U+FFFD for each character that PostgreSQL refuses: NUL,
    and half of a surrogate pair, which UTF-8 cannot encode."""
    return _refused.sub("\ufffd", text[:most_chars])


def storable_json(value: object, most_chars: int = MOST_CHARS) -> str:
    """Return the JSON of `value`, whose texts are made storable: PostgreSQL refuses NUL in jsonb, too."""
    return msgspec.json.encode(_with_storable_texts(msgspec.to_builtins(value), most_chars)).decode()


def _with_storable_texts(value: object, most_chars: int) -> object:
    if isinstance(value, str):
        return storable(value, most_chars)
    if isinstance(value, dict):
        return {
            _with_storable_texts(key, most_chars): _with_storable_texts(inner, most_chars)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_with_storable_texts(inner, most_chars) for inner in value]
    return value
