"""Format durations for people, and parse those that people write: 50h, 2d, 1d12h, 30m."""

from __future__ import annotations

import re

_UNIT_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")


def parse_duration(text: str) -> int | None:
    """Parse days, hours, minutes and seconds, largest unit first, to seconds.

    Returns None for any other text, also for an empty one.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    return sum(
        int(count or 0) * unit_s for count, unit_s in zip(match.groups(), _UNIT_S.values(), strict=True)
    )


def readable_duration(seconds: int) -> str:
    """Format a duration in seconds with its two largest units, e.g. "2 d 2 h"; its sign is omitted."""
    parts = []
    rest = abs(seconds)
    for (_, unit_s), name in zip(_UNIT_S.items(), ("d", "h", "min", "s"), strict=True):
        count, rest = divmod(rest, unit_s)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
