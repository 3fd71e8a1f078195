"""Check URLs of the command line by the same rules as URLs in settings, before a request is sent to them."""

from __future__ import annotations

from collections.abc import Callable


def base_url(option: str, text: str | None) -> str | None:
    """Return the HTTP URL of an option, to which paths can be appended; None and "" are returned unchanged.

    Raises Invalid, which names the option.
    """
    from zmart import setting_values

    return _judged(option, text, setting_values.base_url)


def http_url(option: str, text: str | None) -> str | None:
    """Return the HTTP URL of an option, which may have a query; None and "" are returned unchanged.

    Raises Invalid, which names the option.
    """
    from zmart import setting_values

    return _judged(option, text, setting_values.http_url)


def database_url(option: str, text: str | None) -> str | None:
    """Return the database URL of an option; None and "" are returned unchanged.

    Raises Invalid, which names the option.
    """
    from zmart import setting_values

    return _judged(option, text, setting_values.database_url)


def _judged(option: str, text: str | None, judge: Callable[[str], str]) -> str | None:
    from zmart.errors import Invalid

    try:
        return text and judge(text.strip())
    except ValueError as problem:
        raise Invalid(option, f"--{option} {problem}.") from None
