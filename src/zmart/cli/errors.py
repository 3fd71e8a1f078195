"""Report errors on the command line: a sentence that says what to do, and an exit status.

The exit status is 2 for an error that only another value of a setting can end, 1 for any other.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer

from zmart.errors import SettingError, StoreError, ZmartError
from zmart.printable import printable

P = ParamSpec("P")
R = TypeVar("R")


_OF_THE_MACHINE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EIO,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""Errors of a path, a disk or a limit of the machine, which are no bugs. A missing file may be one, and is left out."""


def one_sentence(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: print a ZmartError, or an OSError of the machine, as a sentence on standard error, and exit.

    Other exceptions are bugs, and keep their traceback.
    """

    @wraps(command)
    def guarded(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return command(*arguments, **options)
        except ZmartError as problem:
            typer.secho(printable(str(problem)), fg=typer.colors.RED, err=True)
            raise typer.Exit(exit_status(problem)) from None
        except OSError as problem:
            if isinstance(problem, FileNotFoundError) and _working_folder_is_gone():
                sentence = (
                    "The working folder was deleted: change to a folder that exists, and run this again."
                )
                typer.secho(sentence, fg=typer.colors.RED, err=True)
                raise typer.Exit(1) from None
            if problem.errno not in _OF_THE_MACHINE:
                raise
            sentence = f"{problem.filename or 'The output'} cannot be used ({problem.strerror})."
            typer.secho(printable(sentence), fg=typer.colors.RED, err=True)
            raise typer.Exit(1) from None

    return guarded


def _working_folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def exit_status(problem: ZmartError) -> int:
    """Return the exit status for an error: 2 if only another value of a setting can end it, else 1."""
    is_setting = isinstance(problem, SettingError) or (isinstance(problem, StoreError) and problem.setting)
    return 2 if is_setting else 1


def needs_local_stack(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command of the local stack as `one_sentence` does. Without the extra `local`, print what to install."""

    @wraps(command)
    def checked(*arguments: P.args, **options: P.kwargs) -> R:
        from zmart.local.extra import require_extra

        require_extra()
        return command(*arguments, **options)

    return one_sentence(checked)
