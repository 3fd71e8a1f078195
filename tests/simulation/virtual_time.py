"""Virtual time: an event loop whose clock moves only when no task can go on.

Waiting costs no real time. Answers of PostgreSQL, the only real server, are read only when no callback is ready, so
the order of all steps follows from the program and the seed.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo

START = 1_762_772_000
"""The Unix time in seconds at which virtual time begins."""
_LONGEST_ANSWER_S = 60.0


class Stuck(AssertionError):
    """Every task waits for another one, without a timer or an expected answer; or PostgreSQL does not answer."""


class VirtualClock:
    """The virtual clock: `seconds` since START.

    `answers` counts requests to PostgreSQL that are not answered yet; while there are any, time stands still.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.answers = 0
        self.host_ahead_s = 0.0

    @property
    def chain_time(self) -> int:
        """The cluster's clock, in Unix seconds."""
        return START + int(self.seconds)

    @property
    def host_time(self) -> float:
        """The clock of the services' machine, in Unix seconds: `host_ahead_s` ahead of the cluster's."""
        return START + self.seconds + self.host_ahead_s


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list:
        clock = self._clock
        if clock.answers:
            if timeout == 0:
                return []
            events = super().select(_LONGEST_ANSWER_S)
            if not events:
                raise Stuck(f"PostgreSQL did not answer within {_LONGEST_ANSWER_S:.0f} s")
            return events
        if timeout is None:
            raise Stuck("every task waits, and nothing will wake any of them")
        clock.seconds += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self.clock.seconds


def _datetime_of(clock: VirtualClock) -> type[datetime]:
    class Looks(type):
        def __instancecheck__(cls, other: object) -> bool:
            return isinstance(other, datetime)

    class VirtualDatetime(datetime, metaclass=Looks):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(clock.host_time, tz or UTC)

    return VirtualDatetime


@contextmanager
def virtual_time(clock: VirtualClock) -> Iterator[None]:
    """Have `time.monotonic`, `time.time` and `datetime.now` of zmart's modules follow the clock within the block."""
    monotonic, wall, virtual = time.monotonic, time.time, _datetime_of(clock)
    patched = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("zmart.") and getattr(module, "datetime", None) is datetime
    ]
    time.monotonic, time.time = (lambda: clock.seconds), (lambda: clock.host_time)
    for module in patched:
        module.datetime = virtual  # type: ignore[attr-defined]
    try:
        yield
    finally:
        time.monotonic, time.time = monotonic, wall
        for module in patched:
            module.datetime = datetime  # type: ignore[attr-defined]
