"""Select lines of the stack's logs by level, market and request, for `zmart logs`."""

from __future__ import annotations

import re

import msgspec

from zmart.errors import ConfigError
from zmart.market.identifiers import parse_market
from zmart.market.json_input import JSON_ERRORS

LEVELS = ("debug", "info", "warning", "error", "critical")
_PLAIN_LEVELS = {
    "warn": "warning",
    "crit": "critical",
    "fatal": "critical",
    "panic": "critical",
}
_PLAIN_LEVEL = re.compile(r"\b(WARNING|WARN|ERROR|CRITICAL|CRIT|FATAL|PANIC)\b")
"""Names of levels in the logs of PostgreSQL, supervisord and Node.js, which are no JSON."""
_PLAIN_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d+) UTC")


class LogLine(msgspec.Struct, frozen=True):
    """The fields of a log line by which it is selected and ordered.

    A line that is not JSON has the timestamp at its beginning, if it is PostgreSQL's, else an empty one.
    """

    level: str = "info"
    timestamp: str = ""
    request_id: str = ""


class LogFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Select the lines of `level` or above that name the market `market` and belong to the request `request`.

    An empty field selects all lines.
    """

    level: str = ""
    market: str = ""
    request: str = ""

    @property
    def is_open(self) -> bool:
        """Return whether the filter selects every line."""
        return not (self.level or self.market or self.request)

    def select(self, text: str) -> LogLine | None:
        """Return the parsed line if the filter selects it, else None."""
        if self.market not in text or self.request not in text:
            return None  # most lines end here, without being parsed
        line = read_line(text)
        if self.request and line.request_id != self.request:
            return None
        return line if not self.level or _rank(line.level) >= _rank(self.level) else None


def checked(level: str, market: str, request: str) -> LogFilter:
    """Return the filter of the options --level, --market and --request ("" for an option that was not given).

    Raises ConfigError for an unknown level, or a market that is neither an id nor an address.
    """
    if level and level.lower() not in LEVELS:
        raise ConfigError(f"There is no level {level!r}: one of {', '.join(LEVELS)}.")
    named = parse_market(market) if market else None
    if market and named is None:
        raise ConfigError(f"{market[:80]!r} is neither a market's id (64 hex digits) nor its address.")
    return LogFilter(level=level.lower(), market=str(named or ""), request=request)


def read_line(text: str) -> LogLine:
    """Parse one log line. The level of a line that is not JSON is the level that its text names, else info."""
    if text.startswith("{"):
        try:
            return msgspec.json.decode(text, type=LogLine)
        except JSON_ERRORS:
            pass
    named_level, time = _PLAIN_LEVEL.search(text), _PLAIN_TIME.match(text)
    level = named_level[1].lower() if named_level else "info"
    return LogLine(_PLAIN_LEVELS.get(level, level), f"{time[1]}T{time[2]}" if time else "")


def _rank(level: str) -> int:
    """Return the position of a level in LEVELS; an unknown level ranks highest, so that it is always selected."""
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)
