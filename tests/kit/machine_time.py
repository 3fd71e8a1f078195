"""A clock for time limits in tests, which does not count the time in which the machine ran no process of the test.

On a shared machine, all processes of a test may get no processor for a second or two, which is not the fault of the
tested code. A thread that sleeps for 20 ms again and again measures how late it is woken.
"""

from __future__ import annotations

import threading
import time

_STEP_S = 0.02
_USUAL_S = 0.25
"""Seconds by which a thread may be woken late on two busy cores: up to this, the delay counts as elapsed time."""


class _Meter(threading.Thread):
    """Adds up delays of more than _USUAL_S seconds in `lost_s`."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="machine time")
        self.lost_s = 0.0
        self.woken = threading.Event()
        self.start()

    def run(self) -> None:
        while True:
            began_s = time.monotonic()
            time.sleep(_STEP_S)
            late_s = time.monotonic() - began_s - _STEP_S
            if late_s > _USUAL_S:
                self.lost_s += late_s
            self.woken.set()


_METER = _Meter()


def machine_time() -> float:
    """Return the clock's seconds; only differences between two readings have a meaning."""
    return time.monotonic() - _METER.lost_s


def seconds_since(began: float) -> float:
    """Return the seconds since `machine_time()` was `began`, without what the machine lost until this moment."""
    if machine_time() - began > 1:
        _METER.woken.clear()
        _METER.woken.wait(5)
    return machine_time() - began
