"""Read the remedy for an alert from the table of alerts in the runbook, docs/operations.md."""

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
    """Return the remedies of all alerts as HTML, by the alert's key without a market, intent or other variable part."""
    alerts = _text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    return {
        _ABOUT.sub("", key): html(remedy)
        for keys, remedy in _ROW.findall(alerts)
        for key in re.findall("`([^`]+)`", keys)
    }


def remedy_of(key: str) -> Markup:
    """Return the remedy for the alert with this key as HTML; empty for an alert that the runbook does not list."""
    name = key
    while name:
        if name in remedies():
            return remedies()[name]
        name = name.rpartition(":")[0]
    return Markup("")


def html(markdown: str) -> Markup:
    """Return a cell of a Markdown table as HTML. Code and links become `<code>`; a link shows the file it leads to."""
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
    """Return the text of the runbook: a file beside this module in an installed package, docs/ in a checkout."""
    packaged = Path(__file__).parent / "operations.md"
    checkout = Path(__file__).parents[3] / _DOCUMENT
    return (packaged if packaged.exists() else checkout).read_text(encoding="utf-8")
