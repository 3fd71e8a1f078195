"""Run supervisord so that it gives no program up, survives a full disk and starts our programs fast:
python -m zmart.local.supervisord -c <file>.

supervisord itself waits a second longer before each start of a program that keeps ending, gives it up after
`startretries`, and ends when neither its log nor its standard error can be written. It closes each possible file of a
program one by one, and executes each.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ClassVar

from supervisor import loggers, process, supervisord
from supervisor.states import ProcessStates

from zmart.local.forked_start import HANDLED, ForkedCommand, import_libraries

LONGEST_PAUSE_S = 3
"""Between two starts of a program: with the start itself it runs at most 5 s after its fault is over."""


class PersistentProcess(process.Subprocess):  # type: ignore[misc]  # supervisor publishes no types
    """Start a program again without limit, after at most LONGEST_PAUSE_S."""

    backoff: int
    delay: float
    laststop: float
    pipes: dict[str, int]
    has_libraries: ClassVar[bool] = False

    def change_state(self, new_state: int, expected: bool = True) -> object:
        """Enter a state; `backoff`, the count that ends in giving up, is the pause in seconds, too."""
        result = super().change_state(new_state, expected)
        if new_state == ProcessStates.BACKOFF:
            self.backoff = min(self.backoff, LONGEST_PAUSE_S)
            self.delay = min(self.delay, time.time() + LONGEST_PAUSE_S)
        return result

    def spawn(self) -> object:
        """Start it. Our own programs are forked at first; what is started again is executed, as it is installed by
        then."""
        if not self._forked():
            return super().spawn()
        if not PersistentProcess.has_libraries:
            PersistentProcess.has_libraries = True
            import_libraries()
        # A fork has our handlers until it has set its own: a signal that it got meanwhile would be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            return super().spawn()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _forked(self) -> ForkedCommand | None:
        return ForkedCommand.of(shlex.split(self.config.command)) if self.laststop == 0 else None

    def _spawn_as_child(self, filename: str, argv: list[str]) -> None:
        forked = self._forked()
        if forked is not None:
            self.config.options.execve = lambda filename, argv, environment: forked.run(environment)
        super()._spawn_as_child(filename, argv)

    def _prepare_child_fds(self) -> None:
        """Replace the standard files and close all others, in one call of the kernel."""
        for number, pipe in enumerate(("child_stdin", "child_stdout", "child_stdout")):
            os.dup2(self.pipes[pipe], number)
        os.closerange(3, self.config.options.minfds)


class LossyFileHandler(loggers.RotatingFileHandler):  # type: ignore[misc]  # supervisor publishes no types
    """Write a log; what the disk does not take is lost."""

    stream: BinaryIO

    def emit(self, record: loggers.LogRecord) -> None:
        """Write a record, or nothing."""
        with suppress(OSError, ValueError):
            if self.stream.closed:  # closing it to rotate it failed
                self.stream = Path(self.baseFilename).open("ab")  # noqa: SIM115  # it stays open
            super().emit(record)

    def handleError(self) -> None:  # noqa: N802  # supervisor's name
        """Ignore the error; standard error is a file on the same disk."""


def main() -> None:
    """Run supervisord in the foreground, as its own command does."""
    process.Subprocess = PersistentProcess
    loggers.RotatingFileHandler = LossyFileHandler
    supervisord.main()


if __name__ == "__main__":
    main()
