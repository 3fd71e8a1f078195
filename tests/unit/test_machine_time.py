"""The clock for tests of durations: time in which the machine did not run the process is not counted."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from kit.machine_time import machine_time, seconds_since


def test_what_a_process_was_kept_from_is_not_counted() -> None:
    began, began_s = machine_time(), time.monotonic()
    with subprocess.Popen(["/bin/sh", "-c", f"sleep 1.2; kill -CONT {os.getpid()}"]):
        os.kill(os.getpid(), signal.SIGSTOP)
    assert time.monotonic() - began_s > 1
    assert seconds_since(began) < 0.5


def test_what_it_waits_for_is_counted() -> None:
    began = machine_time()
    time.sleep(1.1)
    assert 0.9 < seconds_since(began) < 5
