"""SQL conditions that hold for times from before the database's clock was set back.

A host's clock that was ahead is corrected, and what was stored before lies in the future: a pause until then would last
as long as the clock had been ahead.
"""

from __future__ import annotations

SLACK_S = 5
"""Statements that run at once differ by less in what `now()` is for them."""


def pause_is_over(column: str, longest_s: str | float) -> str:
    """Return the condition that the pause until `column` is over, or begun by a clock that has been set back since: it
    ends later than the longest pause, of `longest_s` seconds (a number, or SQL), that begins now."""
    return f"({column} <= now() OR {column} > now() + make_interval(secs => {longest_s} + {SLACK_S}))"


def lies_ahead(column: str) -> str:
    """Return the condition that `column`, which is written with the present time, lies in the future."""
    return f"{column} > now() + interval '{SLACK_S} s'"
