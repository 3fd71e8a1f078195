"""Read the table of docs/scaling.md that says how many connections a process of each service opens."""

from __future__ import annotations

import re
from pathlib import Path

from zmart.settings import Settings

SCALING = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text("utf-8")
_HEAD = "| process | connections at most |"
_ROW = r"^\| (\w+) \| (`DATABASE_POOL_SIZE`(?: \(\d+\))?|\d+) \+ (\d+)(, one more with .+)? \|$"


def connections() -> dict[str, int]:
    """Return the most connections of a process of each service; what only a setting adds is included."""
    table = SCALING.partition(_HEAD)[2].partition("\n\n")[0]
    pool_size = Settings.model_fields["database_pool_size"].default
    return {
        service: (int(size) if size.isdigit() else pool_size) + int(more) + bool(optional)
        for service, size, more, optional in re.findall(_ROW, table, re.MULTILINE)
    }
