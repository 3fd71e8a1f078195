"""Check texts of the command line that are stored or looked up, by the same rule as texts in requests."""

from __future__ import annotations

_MAX_CHARS = 1_000


def accepted_text(name: str, text: str) -> str:
    """Return the accepted form of the argument `name`, a text of 1 to 1,000 characters.

    Raises Invalid for any other text, also for bytes that are not UTF-8.
    """
    from zmart.market.text_input import accept_text

    return accept_text(name, text, (1, _MAX_CHARS))
