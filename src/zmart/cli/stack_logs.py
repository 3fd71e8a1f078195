"""Print and follow the stack's log files, for `zmart logs`."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

import msgspec
import typer

from zmart.cli.log_filter import LogFilter
from zmart.errors import ConfigError
from zmart.printable import printable

POLL_SECONDS = 0.2
TAIL_BYTES = 512 * 1024


class PrintedLine(msgspec.Struct, frozen=True):
    """A log line, with the name of the process that wrote it.

    `timestamp` is the line's own, or that of the line before if it has none.
    """

    name: str
    timestamp: str
    text: str


def show(folder: Path, service: str, lines: int, selected: LogFilter, *, follow: bool) -> None:
    """Print the last `lines` selected lines of the log of `service`, or of each log if that is "", in order of time.

    With `follow`, print new selected lines until Ctrl-C. Raises ConfigError if there is no such log, or if none can be
    read. Others that cannot be read are named on standard error.
    """
    paths = _readable(_paths(folder, service))
    width = max(len(path.stem) for path in paths) if len(paths) > 1 else 0
    followed = {path: FollowedLog(path) for path in paths} if follow else {}
    last = [line for path in paths for line in last_lines(path, lines, selected)]
    for line in sorted(last, key=attrgetter("timestamp")):
        _print(line.name, line.text, width)
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(folder, service, followed, selected, width)


def _paths(folder: Path, service: str) -> list[Path]:
    logs = sorted(folder.glob("*.log"))
    selected = [path for path in logs if not service or path.stem == service]
    if not selected:
        names = ", ".join(path.stem for path in logs)
        raise ConfigError(
            f"There is no log of {service!r}: one of {names}."
            if names
            else f"There are no logs in {folder} yet."
        )
    return selected


def _readable(paths: list[Path]) -> list[Path]:
    """Return the logs that can be read, and name the others. Raises ConfigError if there is none."""
    reasons = {path: why_unreadable(path) for path in paths}
    notes = [f"{path} cannot be read ({reason})." for path, reason in reasons.items() if reason]
    if len(notes) == len(paths):
        raise ConfigError("\n".join(notes))
    for note in notes:
        typer.echo(printable(note), err=True)
    return [path for path, reason in reasons.items() if not reason]


def why_unreadable(path: Path) -> str:
    """Return the reason why a log cannot be read, such as "is a directory", or ""."""
    if path.exists() and not path.is_file():
        return "it is a folder" if path.is_dir() else "it is no regular file"
    try:
        path.open("rb").close()
    except OSError as problem:
        return problem.strerror or str(problem)
    return ""


def last_lines(path: Path, number: int, selected: LogFilter) -> list[PrintedLine]:
    """Return the last `number` selected lines of a log.

    With a filter, its rotated files are searched, too. Without one, only the last 512 KiB of the log are read.
    """
    result: deque[PrintedLine] = deque(maxlen=number)
    timestamp = ""
    for text in _tail(path) if selected.is_open else _whole(path):
        line = selected.select(text)
        if line is not None:
            timestamp = line.timestamp or timestamp
            result.append(PrintedLine(path.stem, timestamp, text))
    return list(result)


def _tail(path: Path) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = _text(file.read()).split("\n")
    return lines if lines[-1] else lines[:-1]


def _whole(path: Path) -> Iterator[str]:
    rotated = [
        file
        for file in path.parent.glob(f"{path.name}.*")
        if re.fullmatch(r"\.\d+", file.suffix) and not why_unreadable(file)
    ]
    for file in [*sorted(rotated, key=lambda each: -int(each.suffix[1:])), path]:
        with suppress(FileNotFoundError), file.open("rb") as opened:  # a rotation may have removed the file
            for line in opened:
                yield _text(line.rstrip(b"\n"))


class FollowedLog:
    """Read the lines that are appended to a log from now on, also after a rotation.

    With `from_beginning`, the lines that it already has are read, too.
    """

    def __init__(self, path: Path, *, from_beginning: bool = False) -> None:
        self._path = path
        self._file = path.open("rb")
        self._rest = b""
        if not from_beginning:
            self._file.seek(0, 2)

    def new_lines(self) -> list[str]:
        """Return the lines that were completed since the last call."""
        data = self._rest + self._file.read()
        if self._was_replaced() and not why_unreadable(self._path):
            data += self._file.read()  # written between the first read and the check
            self._file.close()
            self._file = self._path.open("rb")
            data += self._file.read()
        *lines, self._rest = data.split(b"\n")
        return [_text(line) for line in lines]

    def _was_replaced(self) -> bool:
        """Return whether the path now names another file, or the open file was emptied."""
        with suppress(FileNotFoundError):  # a rotation has renamed the file and not yet created a new one
            named, ours = self._path.stat(), os.fstat(self._file.fileno())
            return named.st_ino != ours.st_ino or named.st_size < self._file.tell()
        return False

    def close(self) -> None:
        """Close the log file."""
        self._file.close()


def _follow(
    folder: Path, service: str, logs: dict[Path, FollowedLog], selected: LogFilter, width: int
) -> None:
    try:
        while True:
            printed = [_print_new(path, log, selected, width) for path, log in logs.items()]
            if not any(printed):
                time.sleep(POLL_SECONDS)
            if not service:  # a process may have written its first line just now
                for path in sorted(folder.glob("*.log")):
                    if path not in logs and not why_unreadable(path):
                        logs[path] = FollowedLog(path, from_beginning=True)
    finally:
        for log in logs.values():
            log.close()


def _print_new(path: Path, log: FollowedLog, selected: LogFilter, width: int) -> bool:
    """Print the selected new lines of a log, and return whether there were any new lines."""
    lines = log.new_lines()
    for text in lines:
        if selected.select(text) is not None:
            _print(path.stem, text, width)
    return bool(lines)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _print(name: str, line: str, width: int) -> None:
    # A file or a program gets the lines as they are, a terminal none of their control characters.
    text = printable(line) if sys.stdout.isatty() else line
    typer.echo(f"{name:<{width}} | {text}" if width else text)
