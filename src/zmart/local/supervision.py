"""Keep processes running: a supervisord of our own in a folder, driven over XML-RPC on a Unix socket.

Every program is restarted when it ends, without limit (zmart.local.supervisord); its output goes to a rotated log file.
All programs inherit supervisord's environment, so no secret is written into its configuration.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import resource
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast
from xmlrpc.client import Error, Fault, ServerProxy

import msgspec

from zmart.errors import ZmartError
from zmart.local.processes import has_name
from zmart.local.state_files import write_state

LONGEST_SOCKET_PATH = 100  # the kernel accepts 107 bytes; supervisord appends a suffix while it binds
MAX_FILES = 65_536
_EMPTY = "%(here).0s"
_COMMENT = re.compile(r"(?<=\s)[;#]")
ANSWER_SECONDS = 5.0
STOP_POLL_SECONDS = 0.05
LOG_BYTES = 10 * 1024**2
LOG_BACKUPS = 3
"""The size at which a program's log is rotated, and the number of older files that are kept."""

_HEAD = """\
[supervisord]
nodaemon = true
silent = true
{user}identifier = zmart
directory = {directory}
logfile = {log}
logfile_maxbytes = 5MB
logfile_backups = 2
pidfile = {pid}
childlogdir = {logs}
minfds = {files}

[unix_http_server]
file = {socket}
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
_GROUP = """
[group:{name}]
programs = {programs}
priority = {priority}
"""
_PROGRAM = """
[program:{name}]
command = {command}
autostart = false
autorestart = true
startsecs = {start_seconds}
stopsignal = {stop_signal}
stopwaitsecs = {stop_seconds}
stopasgroup = {as_group}
killasgroup = true
redirect_stderr = true
stdout_logfile = {logfile}
stdout_logfile_maxbytes = {log_bytes}
stdout_logfile_backups = {log_backups}
"""


class SupervisionError(ZmartError):
    """Report that supervisord is unavailable or refused."""


class SupervisorHangs(SupervisionError):
    """Report that supervisord runs and does not answer."""


class SupervisedProgram(msgspec.Struct, frozen=True, kw_only=True):
    """Define a process to keep running.

    Groups start in the order of their first program and stop in the reverse order.
    """

    name: str
    group: str
    command: tuple[str, ...]
    start_seconds: int = 1
    """Ending sooner than this counts as a failed start: the next one waits, at most three seconds."""
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    stop_as_group: bool = True


class ProcessInfo(msgspec.Struct, frozen=True):
    """Hold supervisord's report of a process; `state` is RUNNING, STARTING, BACKOFF, STOPPED, ..."""

    name: str
    group: str
    state: str
    pid: int
    start: int
    now: int
    exitstatus: int
    spawnerr: str

    @property
    def is_up(self) -> bool:
        """Return whether the process runs or starts."""
        return self.state in ("RUNNING", "STARTING")

    @property
    def uptime_s(self) -> int:
        """Return the seconds since the process started; 0 if it does not run."""
        return self.now - self.start if self.is_up else 0


class Supervisor:
    """Control the supervisord whose files are in `folder` and whose programs log into `logs`.

    Every call ends within `answer_s` seconds. A program's log is rotated at `log_bytes`.
    """

    def __init__(
        self, folder: Path, logs: Path, answer_s: float = ANSWER_SECONDS, log_bytes: int = LOG_BYTES
    ) -> None:
        self.folder = folder.resolve()
        self.logs = logs.resolve()
        self._answer_s = answer_s
        self._log_bytes = log_bytes

    @property
    def config(self) -> Path:
        """Return the path of the configuration."""
        return self.folder / "supervisord.conf"

    @property
    def socket(self) -> Path:
        """Return the socket's path: in `folder`, or in a private temporary folder if that path is too long."""
        path = self.folder / "supervisor.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"zmart-{os.getuid()}-{name}" / "supervisor.sock"

    def write_config(self, programs: Sequence[SupervisedProgram], directory: Path) -> None:
        """Write supervisord's configuration; programs run in `directory`. Raises StoreError."""
        for folder in (self.folder, self.logs, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_private(self.socket.parent)
        groups = list(dict.fromkeys(program.group for program in programs))
        parts = [self._head(directory), *(self._program(program) for program in programs)]
        for priority, group in enumerate(groups, start=1):
            members = ",".join(program.name for program in programs if program.group == group)
            parts.append(_GROUP.format(name=group, programs=members, priority=priority))
        write_state(self.config, "".join(parts))

    def _check_private(self, folder: Path) -> None:
        if folder.stat().st_uid != os.getuid():
            raise SupervisionError(f"{folder} belongs to another user: remove it and try again.")

    def _head(self, directory: Path) -> str:
        _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        return _HEAD.format(
            user=f"user = {os.getuid()}\n" if has_name(os.getuid()) else "",
            directory=_plain(directory),
            logs=_plain(self.logs),
            log=_plain(self.logs / "supervisord.log"),
            pid=_plain(self.folder / "supervisord.pid"),
            socket=_plain(self.socket),
            files=MAX_FILES if limit == resource.RLIM_INFINITY else min(limit, MAX_FILES),
        )

    def _program(self, program: SupervisedProgram) -> str:
        return _PROGRAM.format(
            name=program.name,
            command=_plain(shlex.join(program.command)),
            start_seconds=program.start_seconds,
            stop_signal=program.stop_signal,
            stop_seconds=program.stop_seconds,
            as_group="true" if program.stop_as_group else "false",
            logfile=_plain(self.logs / f"{program.name}.log", expansions=2),
            log_bytes=self._log_bytes,
            log_backups=LOG_BACKUPS,
        )

    def command(self) -> list[str]:
        """Return the command that starts supervisord in the foreground."""
        return [sys.executable, "-m", "zmart.local.supervisord", "-c", str(self.config)]

    def answers(self) -> bool:
        """Return whether supervisord runs and listens."""
        with contextlib.suppress(SupervisionError):
            self.call("supervisor.getState")
            return True
        return False

    def call(self, method: str, *arguments: object) -> object:
        """Make one XML-RPC call. Raises SupervisionError: SupervisorHangs if no answer comes in time."""
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        transport._get_connection = lambda: UnixConnection(self.socket, self._answer_s)
        try:
            return cast(object, getattr(ServerProxy("http://127.0.0.1", transport), method)(*arguments))
        except Fault as fault:
            raise SupervisionError(f"supervisord refused: {fault.faultString}") from None
        except (TimeoutError, BlockingIOError):  # the latter where nobody accepts connections any more
            raise SupervisorHangs(
                f"supervisord runs and did not answer within {self._answer_s:.0f} s: `zmart stop` ends it with "
                "everything it started, `zmart up` starts it again. No data is lost."
            ) from None
        except (OSError, http.client.HTTPException, Error) as problem:
            raise SupervisionError(f"no supervisord answers at {self.socket} ({problem})") from None
        finally:
            transport.close()

    def processes(self) -> list[ProcessInfo]:
        """Return every process, in start order."""
        response = self.call("supervisor.getAllProcessInfo")
        return [
            msgspec.convert({**info, "state": info["statename"]}, ProcessInfo) for info in _dicts(response)
        ]

    def start(self, *names: str) -> None:
        """Start programs by their "group:name" without waiting; running ones are left alone."""
        for name in names:
            try:
                self.call("supervisor.startProcess", name, False)
            except SupervisionError as problem:
                if "ALREADY_STARTED" not in str(problem):
                    raise

    def stop(self, *names: str) -> None:
        """Stop programs by their "group:name" and wait until each has ended; supervisord kills what takes too long."""
        for name in names:
            try:
                self.call("supervisor.stopProcess", name, False)
            except SupervisionError as problem:
                if "NOT_RUNNING" not in str(problem):
                    raise
        while any(
            info.state == "STOPPING" for info in self.processes() if f"{info.group}:{info.name}" in names
        ):
            time.sleep(STOP_POLL_SECONDS)

    def shut_down(self) -> None:
        """Ask supervisord to stop everything, group after group, and itself."""
        self.call("supervisor.shutdown")

    def spawns(self) -> Mapping[str, int]:
        """Return how often each program was started since supervisord itself was."""
        log = self.logs / "supervisord.log"
        counts: dict[str, int] = {}
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        for line in lines:
            if "supervisord started with pid" in line:
                counts.clear()
            elif "spawned: '" in line:
                name = line.split("'")[1]
                counts[name] = counts.get(name, 0) + 1
        return counts


class UnixConnection(http.client.HTTPConnection):
    """Speak HTTP on a Unix socket, with a time limit for each step."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _plain(value: object, expansions: int = 1) -> str:
    """Return a value as it stands in the configuration: supervisord expands `%` so many times, takes ; and # behind a
    space for a comment, and strips spaces at the end. "%(here).0s" is empty once it is expanded."""
    escaped = _COMMENT.sub(rf"{_EMPTY}\g<0>", str(value).replace("%", "%%")) + _EMPTY
    return escaped if expansions == 1 else _doubled(escaped)


def _doubled(escaped: str) -> str:
    return escaped.replace("%%", "%%%%")


def _dicts(response: object) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", response)
