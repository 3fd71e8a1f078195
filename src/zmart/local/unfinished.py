"""Find out whether the stack whose supervisord answers was started as a whole, and write its lost record again.

A start that was killed leaves a supervisord without some of its programs. So does a restore that was killed or has
ended. The file run/unfinished-start exists from the beginning of a start to its end.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from zmart.errors import ConfigError
from zmart.local.addresses import stack_file
from zmart.local.ports import NAMES
from zmart.local.processes import private_folder
from zmart.local.stack import LocalStack, read_record, supervisor_of
from zmart.local.state_files import write_state
from zmart.local.supervision import SupervisionError
from zmart.settings import Settings


def begin_start(home: Path) -> None:
    """Record that a start of the stack in `home` has begun. Raises StoreError."""
    write_state(_mark(private_folder(home / "run").parent), "A start of the stack has begun.\n")


def end_start(home: Path) -> None:
    """Record that all parts of the stack in `home` are ready."""
    _mark(home).unlink(missing_ok=True)


def why_unfinished(home: Path) -> str:
    """Return a sentence if parts of the stack in `home`, whose supervisord answers, do not run; "" if all do.

    A process that ended and is started again by supervisord counts as one that runs. Raises SupervisionError.
    """
    stopped = [info.name for info in supervisor_of(home).processes() if not info.is_supervised]
    if stopped:
        return f"The stack runs only in part: {', '.join(stopped)} {'is' if len(stopped) == 1 else 'are'} stopped."
    return "The last start of the stack was interrupted." if _mark(home).exists() else ""


def restore_record(settings: Settings, home: Path) -> bool:
    """Write stack.json of the running stack again if it cannot be read, and return whether that was necessary.

    Raises ConfigError if the running processes have other settings than this process, so that their record is unknown.
    Raises SupervisionError, StoreError.
    """
    if read_record(home) is not None:
        return False
    supervisor = supervisor_of(home)
    try:
        supervisord = psutil.Process(int(str(supervisor.call("supervisor.getPID"))))
        given, started_at = supervisord.environ(), supervisord.create_time()
    except psutil.Error as problem:
        raise SupervisionError(f"supervisord cannot be examined ({problem}).") from None
    running = {name: int(given[name.upper()]) for name in NAMES if given.get(name.upper(), "").isdecimal()}
    stack = LocalStack(settings, ports=running)
    different = _different(stack, settings, given)
    if {info.name for info in supervisor.processes()} != {program.name for program in stack.programs()}:
        different.append("the servers that it starts itself")
    if different:
        raise ConfigError(
            f"{stack_file(home)} cannot be read, and the running stack has other settings than this command "
            f"({', '.join(different)}): run `zmart up` with the settings of its start, or `zmart stop` first."
        )
    stack.record(started_at)
    return True


def _different(stack: LocalStack, settings: Settings, given: dict[str, str]) -> list[str]:
    """Return the names of the stack's settings that the process with the environment `given` has otherwise."""
    ours = stack.environment
    names = {name for name, value in ours.items() if given.get(name) != value}
    names |= {
        name.upper()
        for name, port in stack.ports.items()
        if name in settings.model_fields_set and getattr(settings, name) not in (0, port)
    }
    possible = {name.upper() for name in Settings.model_fields} & given.keys()
    names |= {name for name in possible if given[name] != ours.get(name, os.environ.get(name))}
    return sorted(names)


def _mark(home: Path) -> Path:
    return home / "run" / "unfinished-start"
