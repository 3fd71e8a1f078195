"""Make text that others wrote safe to print: it can neither steer a terminal nor hide a part of itself."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_PLAIN = re.compile(r"[\t\n -~]*")
_UNCHANGED = frozenset("\t\n\u200c\u200d")
"""Line ends, tabs, and the joiners that scripts and emoji need."""
_ESCAPED_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Control characters, marks that reverse the order of text or are invisible, half surrogate pairs, other line ends."""


def printable(text: str) -> str:
    r"""Return `text` with every character that steers a terminal or cannot be seen written as an escape, as \x1b.

    Line ends and tabs are kept.
    """
    return text if _PLAIN.fullmatch(text) else "".join(map(_escaped, text))


def printable_line(text: str, longest: int) -> str:
    """Return `text` as one line of at most `longest` printable characters; a longer one ends with an ellipsis."""
    line = printable(text).replace("\n", " ").replace("\t", " ")
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


@lru_cache(maxsize=4096)
def _escaped(character: str) -> str:
    if character in _UNCHANGED or unicodedata.category(character) not in _ESCAPED_CATEGORIES:
        return character
    return character.encode("unicode_escape").decode("ascii")
