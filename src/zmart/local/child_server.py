"""Run a server of the local stack as a child process: prepare, start, wait until it answers, stop, erase."""

from __future__ import annotations

import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from zmart.local.child_environment import inherited
from zmart.local.processes import private_folder, stop, wait_until


class ChildServer(ABC):
    """Base of the embedded servers: PostgreSQL, Valkey and the chain, each with its files in `folder`."""

    title: ClassVar[str]
    """The name of the server in messages."""
    log_name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    """The signal at which the server writes its state to disk and ends."""
    working_folder: ClassVar[str | None] = None

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder).resolve()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Return the file to which `start` writes the server's output; under supervisord another file is used."""
        return self.folder / self.log_name

    @abstractmethod
    def prepare(self) -> None:
        """Create the files that the server needs before it starts. Raises ConfigError, StoreError or StartError."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground; `stop_signal` ends it."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether the server answers requests now."""

    def start(self) -> None:
        """Prepare the server, start it as a child process, and wait until it answers.

        Raises the errors of `prepare`, and StartError after 30 s, or if it ended.
        """
        self.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.working_folder,
                env=inherited(),
                process_group=0,
            )
        self.wait_ready()

    def wait_ready(self, seconds: float = 30.0) -> None:
        """Wait until the server has restored its state and answers.

        Raises StartError if the server ends or `seconds` have passed before that.
        """
        wait_until(self.answers, self.title, seconds, self._process, self.log)

    def stop(self) -> None:
        """Stop the server that `start` started."""
        if self._process is not None:
            stop(self._process, self.stop_signal)

    def erase(self) -> None:
        """Delete all files of this server. Errors are ignored."""
        shutil.rmtree(self.folder, ignore_errors=True)
