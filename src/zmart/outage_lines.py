"""Log an outage of a server with two lines, however many calls fail: one when it begins, one when it ends."""

from __future__ import annotations

import time

import structlog

log = structlog.get_logger()


class OutageLines:
    """Log `begins` with the reason at the first failure, and `ends` at the next success.

    With `reported_after_s`, failures are logged once they have lasted that long: one failed call is no outage. `fields`
    are in both lines.
    """

    def __init__(self, begins: str, ends: str, reported_after_s: float = 0.0, **fields: str) -> None:
        self._begins = begins
        self._ends = ends
        self._reported_after_s = reported_after_s
        self._fields = fields
        self._since_s: float | None = None
        self._succeeded_s = 0.0
        self._is_reported = False

    def failed(
        self, reason: BaseException | str, *, began_s: float | None = None, trace: bool = False
    ) -> None:
        """Record a failed call, which began at `began_s` of time.monotonic(). `trace`: log `reason`'s traceback.

        The outage began with the call, but not before the last call that succeeded.
        """
        now = time.monotonic()
        if self._since_s is None:
            self._since_s = max(now if began_s is None else began_s, self._succeeded_s)
        if self._is_reported or now - self._since_s < self._reported_after_s:
            return
        self._is_reported = True
        text = str(reason) or type(reason).__name__
        log.warning(self._begins, **self._fields, reason=text, exc_info=reason if trace else False)

    def succeeded(self) -> None:
        """Record a call that succeeded."""
        since_s, self._since_s = self._since_s, None
        self._succeeded_s = time.monotonic()
        if self._is_reported and since_s is not None:
            self._is_reported = False
            log.info(self._ends, **self._fields, seconds=round(self._succeeded_s - since_s, 1))
