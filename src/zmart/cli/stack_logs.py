"""Print and follow the stack's log files, for `zmart logs`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TextIO

import typer

from zmart.errors import ConfigError

POLL_SECONDS = 0.2
TAIL_BYTES = 512 * 1024


def show(folder: Path, service: str, lines: int, *, follow: bool) -> None:
    """Print the last `lines` of one log, or of each; `follow` prints new lines until Ctrl-C."""
    paths = _paths(folder, service)
    width = max(len(path.stem) for path in paths) if len(paths) > 1 else 0
    for path in paths:
        for line in _tail(path, lines):
            _print(path, line, width)
    if follow:
        _follow(paths, width)


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


def _tail(path: Path, lines: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    return text.splitlines()[-lines:] if lines else []


def _follow(paths: list[Path], width: int) -> None:
    files: dict[Path, TextIO] = {path: _open_at_end(path) for path in paths}
    try:
        while True:
            is_idle = True
            for path, file in files.items():
                for line in file:
                    is_idle = False
                    _print(path, line.rstrip("\n"), width)
                if path.exists() and path.stat().st_size < file.tell():  # rotated: continue with the new file
                    file.close()
                    files[path] = path.open(encoding="utf-8", errors="replace")
            if is_idle:
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return
    finally:
        for file in files.values():
            file.close()


def _open_at_end(path: Path) -> TextIO:
    file = path.open(encoding="utf-8", errors="replace")
    file.seek(0, 2)
    return file


def _print(path: Path, line: str, width: int) -> None:
    typer.echo(f"{path.stem:<{width}} | {line}" if width else line)
