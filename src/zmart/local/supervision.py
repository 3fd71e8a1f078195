"""Keep processes running: configure a supervisord for one stack, and control it over XML-RPC on a Unix socket.

supervisord restarts every program that ends, without limit (zmart.local.supervisord), and writes its output to a
rotated log file. All programs inherit supervisord's environment, so its configuration contains no secret.
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
"""The number of older files of a program's log that are kept; the log is rotated at LOG_BYTES."""

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
    """Report that supervisord does not run, or refused a call."""


class SupervisorHangs(SupervisionError):
    """Report that supervisord runs and does not answer in time."""


class SupervisedProgram(msgspec.Struct, frozen=True, kw_only=True):
    """A program that supervisord keeps running: its command, and how it is started and stopped.

    Groups start in the order of their first program and stop in the reverse order. After `stop_seconds` without an end
    the program is killed. `stop_as_group`: the stop signal goes to the whole process group.
    """

    name: str
    group: str
    command: tuple[str, ...]
    start_seconds: int = 1
    """A program that ends sooner than this has failed to start; it is started again after at most three seconds."""
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    stop_as_group: bool = True


class ProcessInfo(msgspec.Struct, frozen=True):
    """supervisord's report of a process. `state` is a name such as RUNNING, STARTING, BACKOFF or STOPPED.

    `start` (of the process) and `now` are in Unix seconds; `spawnerr` says why the process could not be started, or "".
    """

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
        """Return whether the process is running or starting."""
        return self.state in ("RUNNING", "STARTING")

    @property
    def is_supervised(self) -> bool:
        """Return whether supervisord runs the process, or starts it again because it has ended."""
        return self.is_up or self.state in ("BACKOFF", "EXITED")

    @property
    def uptime_s(self) -> int:
        """Return the seconds since the process started; 0 if it does not run."""
        return self.now - self.start if self.is_up else 0


class Supervisor:
    """Control the supervisord whose files are in `folder` and whose programs log into the folder `logs`.

    Each XML-RPC call waits at most `answer_s` seconds for an answer. A program's log is rotated at `log_bytes`.
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
        """Return the path of supervisord's configuration file."""
        return self.folder / "supervisord.conf"

    @property
    def socket(self) -> Path:
        """Return the socket's path: in `folder`, or in a private temporary folder if that path is too long."""
        path = self.folder / "supervisor.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        # not TMPDIR, which may differ between the terminals of a user
        temporary = "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()  # noqa: S108
        return Path(temporary) / f"zmart-{os.getuid()}-{name}" / "supervisor.sock"

    def write_config(self, programs: Sequence[SupervisedProgram], directory: Path) -> None:
        """Create the folders and write supervisord's configuration; programs run in `directory`.

        Raises StoreError, and SupervisionError if the socket's folder belongs to another user.
        """
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
        """Return whether supervisord runs and answers a call."""
        with contextlib.suppress(SupervisionError):
            self.call("supervisor.getState")
            return True
        return False

    def call(self, method: str, *arguments: object) -> object:
        """Make one XML-RPC call, and return its result.

        Raises SupervisorHangs if supervisord does not answer in time, SupervisionError if it does not run or refuses.
        """
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        transport._get_connection = lambda: UnixConnection(self.socket, self._answer_s)
        try:
            return cast(object, getattr(ServerProxy("http://127.0.0.1", transport), method)(*arguments))
        except Fault as fault:
            raise SupervisionError(f"supervisord refused: {fault.faultString}") from None
        except (TimeoutError, BlockingIOError):  # BlockingIOError if the queue of connections is full
            raise SupervisorHangs(
                f"supervisord runs and did not answer within {self._answer_s:.0f} s: `zmart stop` ends it with "
                "everything it started, `zmart up` starts it again. No data is lost."
            ) from None
        except (OSError, http.client.HTTPException, Error) as problem:
            raise SupervisionError(f"no supervisord answers at {self.socket} ({problem})") from None
        finally:
            transport.close()

    def processes(self) -> list[ProcessInfo]:
        """Return a report of every process, in the order of the start. Raises SupervisionError."""
        response = self.call("supervisor.getAllProcessInfo")
        return [
            msgspec.convert({**info, "state": info["statename"]}, ProcessInfo) for info in _dicts(response)
        ]

    def start(self, *names: str) -> None:
        """Start programs by their "group:name", without waiting for them; programs that run are left alone.

        Raises SupervisionError.
        """
        for name in names:
            try:
                self.call("supervisor.startProcess", name, False)
            except SupervisionError as problem:
                if "ALREADY_STARTED" not in str(problem):
                    raise

    def stop(self, *names: str) -> None:
        """Stop programs by their "group:name", and wait until all have ended. Raises SupervisionError.

        supervisord kills a program that takes longer than its `stop_seconds`.
        """
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
        """Tell supervisord to stop all programs, group after group, and to end, without waiting for that.

        Raises SupervisionError.
        """
        self.call("supervisor.shutdown")

    def spawns(self) -> Mapping[str, int]:
        """Return how often each program was started since supervisord's last start, by its log.

        The result is empty if the log cannot be read.
        """
        log = self.logs / "supervisord.log"
        counts: dict[str, int] = {}
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
        for line in lines:
            if "supervisord started with pid" in line:
                counts.clear()
            elif "spawned: '" in line:
                name = line.split("'")[1]
                counts[name] = counts.get(name, 0) + 1
        return counts


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection on a Unix socket; each operation of the socket takes at most `seconds`."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the Unix socket. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _plain(value: object, expansions: int = 1) -> str:
    """Escape a value for supervisord's configuration.

    supervisord expands `%` in the value `expansions` times, takes ; or # after a space as the start of a comment, and
    strips spaces at the end. The added "%(here).0s" expands to an empty text, and prevents the latter two.
    """
    escaped = _COMMENT.sub(rf"{_EMPTY}\g<0>", str(value).replace("%", "%%")) + _EMPTY
    return escaped if expansions == 1 else _doubled(escaped)


def _doubled(escaped: str) -> str:
    return escaped.replace("%%", "%%%%")


def _dicts(response: object) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", response)
