"""A clock for bounds on how long something takes, which stands still while the machine does.

On a machine that is shared, all processes of a test may get nothing for a second or two: that is no fault of what is
tested. A thread that only wants to wake up every 20 ms measures it.
"""

from __future__ import annotations

import threading
import time

_STEP_S = 0.02
_USUAL_S = 0.25
"""How late a process may be woken on two busy cores: that is load, and counts."""


class _Meter(threading.Thread):
    """Adds up how late it was woken."""

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
    """Seconds, of which only differences mean something."""
    return time.monotonic() - _METER.lost_s


def seconds_since(began: float) -> float:
    """How long it is since `machine_time()` was `began`, without what the machine lost meanwhile, also just now."""
    if machine_time() - began > 1:
        _METER.woken.clear()
        _METER.woken.wait(5)
    return machine_time() - began
