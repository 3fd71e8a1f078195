"""Read what to do about an alert from the runbook, docs/operations.md: the only place that says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

_ABOUT = re.compile(r":?<[a-z]+>$")
_ROW = re.compile(r"^\| (`.+?`) (?:critical|warning) \| .+? \| (.+) \|$", re.MULTILINE)
_CODE_OR_LINK = re.compile(r"`([^`]+)`|\[([^\]]+)\]\(([^)]+)\)")
_DOCUMENT = "docs/operations.md"


@cache
def remedies() -> Mapping[str, Markup]:
    """Return what to do, as HTML, by the constant part of an alert's key."""
    alerts = _text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    return {
        _ABOUT.sub("", key): html(remedy)
        for keys, remedy in _ROW.findall(alerts)
        for key in re.findall("`([^`]+)`", keys)
    }


def remedy_of(key: str) -> Markup:
    """Return what to do about the alert with this key; empty for one that the runbook does not know."""
    name = key
    while name:
        if name in remedies():
            return remedies()[name]
        name = name.rpartition(":")[0]
    return Markup("")


def html(markdown: str) -> Markup:
    """Return a cell of a Markdown table as HTML: code, and links as the names of what they lead to."""
    parts, end = [], 0
    for match in _CODE_OR_LINK.finditer(markdown):
        parts.append(escape(markdown[end : match.start()]))
        code, _, target = match.groups()
        parts.append(Markup("<code>{}</code>").format(code or _target(target)))
        end = match.end()
    return Markup("").join([*parts, escape(markdown[end:])])


def _target(link: str) -> str:
    return f"{_DOCUMENT}{link}" if link.startswith("#") else f"docs/{link}"


def _text() -> str:
    """The runbook of this release: beside this module in a package, in docs/ in a checkout."""
    packaged = Path(__file__).parent / "operations.md"
    checkout = Path(__file__).parents[3] / _DOCUMENT
    return (packaged if packaged.exists() else checkout).read_text(encoding="utf-8")
