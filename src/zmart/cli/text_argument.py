"""Accept text of the command line that is stored or looked up, by the rule for requests."""

from __future__ import annotations

_MAX_CHARS = 1_000


def accepted_text(name: str, text: str) -> str:
    """Return the accepted form of an argument. Raises Invalid: also for bytes that are not UTF-8."""
    from zmart.market.text_input import accept_text

    return accept_text(name, text, (1, _MAX_CHARS))
