"""Judge an address of the command line by the rule for settings, before anything is asked at it."""

from __future__ import annotations

from collections.abc import Callable


def base_url(option: str, text: str | None) -> str | None:
    """Return an HTTP address to which paths are appended; None as it is. Raises Invalid, which names the option."""
    from zmart import setting_values

    return _judged(option, text, setting_values.base_url)


def http_url(option: str, text: str | None) -> str | None:
    """Return an HTTP address, which may have a query; None as it is. Raises Invalid, which names the option."""
    from zmart import setting_values

    return _judged(option, text, setting_values.http_url)


def database_url(option: str, text: str | None) -> str | None:
    """Return the address of a database; None as it is. Raises Invalid, which names the option."""
    from zmart import setting_values

    return _judged(option, text, setting_values.database_url)


def _judged(option: str, text: str | None, judge: Callable[[str], str]) -> str | None:
    from zmart.errors import Invalid

    try:
        return text and judge(text.strip())
    except ValueError as problem:
        raise Invalid(option, f"--{option} {problem}.") from None
