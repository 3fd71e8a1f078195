"""Run a modified supervisord: python -m zmart.local.supervisord -c <file>.

It restarts programs without limit, survives a full disk and log files that are unusable, and starts our programs fast.
The original supervisord waits a second longer before each new start of a program that keeps ending, and gives up after
`startretries` starts. It ends when neither its log nor its standard error can be written, starts no program whose log
it cannot open, and writes on to a log that was removed. It closes every possible file descriptor of a new program one
by one, and starts every Python program with a new interpreter.
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
from zmart.local.log_files import has_its_name, open_log, set_aside

LONGEST_PAUSE_S = 3
"""The longest pause between two starts of a program, so that it runs at most 5 s after the reason to fail is gone."""


class PersistentProcess(process.Subprocess):  # type: ignore[misc]  # supervisor publishes no types
    """A program of supervisord that is started again without limit, after at most LONGEST_PAUSE_S seconds."""

    backoff: int
    delay: float
    laststop: float
    pipes: dict[str, int]
    has_libraries: ClassVar[bool] = False

    def change_state(self, new_state: int, expected: bool = True) -> object:
        """Enter a state. In BACKOFF, limit the pause before the next start, and the number of counted failures.

        supervisord uses `backoff` both as that pause in seconds and as the count after which it gives up.
        """
        result = super().change_state(new_state, expected)
        if new_state == ProcessStates.BACKOFF:
            self.backoff = min(self.backoff, LONGEST_PAUSE_S)
            self.delay = min(self.delay, time.time() + LONGEST_PAUSE_S)
        return result

    def spawn(self) -> object:
        """Start the program. The first start of a Python program of ours forks supervisord.

        Later starts execute the command, so that they run the code that is installed then.
        """
        if not self._forked():
            return super().spawn()
        if not PersistentProcess.has_libraries:
            PersistentProcess.has_libraries = True
            import_libraries()
        # A fork has supervisord's signal handlers until it has reset them: a signal in between would be lost.
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
        """Connect standard input and outputs with supervisord's pipes, and close all other files by one system call."""
        for number, pipe in enumerate(("child_stdin", "child_stdout", "child_stdout")):
            os.dup2(self.pipes[pipe], number)
        os.closerange(3, self.config.options.minfds)


class LossyFileHandler(loggers.RotatingFileHandler):  # type: ignore[misc]  # supervisor publishes no types
    """Write a rotated log file; records that cannot be written are lost.

    A file that cannot be opened keeps no program from starting: the next record tries again. A file that was removed or
    replaced is opened again, too.
    """

    stream: BinaryIO

    def __init__(self, filename: str, mode: str = "ab", maxBytes: int = 0, backupCount: int = 0) -> None:  # noqa: N803
        super().__init__(
            os.devnull, mode, maxBytes, backupCount
        )  # the original would raise for an unusable file
        self.baseFilename = filename
        self.reopen()

    def emit(self, record: loggers.LogRecord) -> None:
        """Write a record; ignore OSError and ValueError."""
        with suppress(OSError, ValueError):
            if not self._is_current():
                self.reopen()
            super().emit(record)

    def _is_current(self) -> bool:
        """Return whether the file is open, for appending (a rotation opens it otherwise), and still has its name."""
        if self.stream.closed or self.stream.mode != "ab":
            return False
        return has_its_name(self.stream, Path(self.baseFilename))

    def reopen(self) -> None:
        """Close the file, and open it again if that is possible."""
        with suppress(
            OSError, ValueError
        ):  # a full disk refuses the last lines, or a failed rotation has closed it
            self.close()
        with suppress(OSError):
            self.stream, self.closed = open_log(Path(self.baseFilename)), False

    def _remove(self, fn: str) -> None:
        """Remove the oldest file at a rotation; rename a folder that has its name."""
        if Path(fn).is_dir():
            set_aside(Path(fn))
        else:
            os.remove(fn)

    def handleError(self) -> None:  # noqa: N802  # supervisor's name
        """Ignore an error. The original writes it to standard error, which is a file on the same disk."""


def main() -> None:
    """Run supervisord with these classes in the foreground, as the command `supervisord` does."""
    process.Subprocess = PersistentProcess
    loggers.RotatingFileHandler = LossyFileHandler
    supervisord.main()


if __name__ == "__main__":
    main()
