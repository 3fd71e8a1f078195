"""Run a server of the local stack as our child: start, await, stop, erase."""

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
    """Run one server with its files in `folder`."""

    title: ClassVar[str]
    """The name of the server in messages."""
    log_name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    """At this signal the server stores everything and ends."""
    working_folder: ClassVar[str | None] = None

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder).resolve()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Return the file to which `start` sends the server's output; a supervisor uses its own log file."""
        return self.folder / self.log_name

    @abstractmethod
    def prepare(self) -> None:
        """Create what the server needs before it starts."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command for a supervisor; stop it with the signal `stop_signal`."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether the server serves requests now."""

    def start(self) -> None:
        """Prepare, start as our child, and return once it answers. Raises StartError."""
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
        """Wait until the server answers, which it does after it has restored its state. Raises StartError."""
        wait_until(self.answers, self.title, seconds, self._process, self.log)

    def stop(self) -> None:
        """Stop the server that `start` started."""
        if self._process is not None:
            stop(self._process, self.stop_signal)

    def erase(self) -> None:
        """Delete everything that this server wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)
