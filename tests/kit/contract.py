"""Patterns that describe the shape of a JSON answer; `misfit(value, wanted)` names the first part that differs."""

from __future__ import annotations

import re
from collections.abc import Callable

Wanted = type | dict | list | tuple | Callable[[object], bool] | None


def misfit(value: object, wanted: Wanted, at: str = "answer") -> str:
    """Return where and how `value` differs from `wanted`; "" when it does not. `at` names the value.

    A pattern of this kind fits these values. A dict: an object with at least these keys. A list: a list whose items all
    fit the pattern's first item. A tuple: a value that fits one of its patterns. None: null. A type: its instances, but
    `int` no boolean. A function: a value for which it returns true.
    """
    match wanted:
        case None:
            return "" if value is None else f"{at} is {value!r}, not null"
        case dict():
            if not isinstance(value, dict):
                return f"{at} is no object: {value!r}"
            missing = set(wanted) - set(value)
            if missing:
                return f"{at} lacks {sorted(missing)}"
            return next(
                filter(None, (misfit(value[key], part, f"{at}.{key}") for key, part in wanted.items())), ""
            )
        case list():
            if not isinstance(value, list):
                return f"{at} is no list: {value!r}"
            return next(filter(None, (misfit(v, wanted[0], f"{at}[{i}]") for i, v in enumerate(value))), "")
        case tuple():
            return "" if any(not misfit(value, part) for part in wanted) else f"{at} is {value!r}"
        case type():
            good = isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
            return "" if good else f"{at} is {value!r}, not {wanted.__name__}"
        case _:
            return "" if wanted(value) else f"{at} is {value!r}, not {wanted.__name__}"


def _pattern(name: str, pattern: str) -> Callable[[object], bool]:
    def says(value: object) -> bool:
        return isinstance(value, str) and re.fullmatch(pattern, value) is not None

    says.__name__ = name
    return says


ISO = _pattern("an ISO time with milliseconds", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PRICE = _pattern("a price with nine places", r"[01]\.\d{9}")
DECIMAL = _pattern("a decimal with nine places", r"-?\d+\.\d{9}")
UNITS = _pattern("an integer in text", r"-?\d+")
MARKET = _pattern("a market's id", r"[0-9a-f]{64}")
WALLET = _pattern("a wallet", r"[1-9A-HJ-NP-Za-km-z]{32,44}")
SHORT_WALLET = _pattern("a shortened wallet", r"[1-9A-HJ-NP-Za-km-z]{4}\.\.\.[1-9A-HJ-NP-Za-km-z]{4}")
SOL_TEXT = _pattern("an amount with its unit", r"\d+\.\d{2,9} SOL")
GROWTH = _pattern("a growth in percent", r"\+\d+%")
SIGNATURE = _pattern("a signature", r"[1-9A-HJ-NP-Za-km-z]{64,88}")
HASH = _pattern("a hash in hex", r"[0-9a-f]{64}")
CID_V0 = _pattern("a CIDv0", r"Qm[1-9A-HJ-NP-Za-km-z]{44}")
UUID = _pattern("a UUID", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BASE64 = _pattern("base64", r"[A-Za-z0-9+/]+=*")
SIDE = _pattern("YES or NO", "YES|NO")


def number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def chance(value: object) -> bool:
    return number(value) and 0 <= value <= 1  # type: ignore[operator]


def percent(value: object) -> bool:
    return number(value) and 0 <= value <= 100  # type: ignore[operator]


def maybe(wanted: Wanted) -> tuple[Wanted, None]:
    return wanted, None


PROBLEM = {
    "error": str, "message": str, "status": int, "timestamp": ISO, "path": str, "request_id": str,
}  # fmt: skip
