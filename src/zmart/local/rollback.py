"""Roll a stack back to a release that ran before: start that release's code, and revert the migrations since.

Each step checks whether it is necessary, so the same command continues a rollback that was killed. Its progress is
stored in ZMART_HOME/run/rollback.json; a start of the stack ends the rollback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from zmart.errors import ConfigError, ZmartError
from zmart.local.held_decisions import hold, is_held, require_holding, starts_held
from zmart.local.releases import ReleaseCommand, StackRelease, command_of, rollback_file
from zmart.local.stack import SERVICE_GROUP, supervisor_of
from zmart.local.stack_locks import working
from zmart.local.startup import is_up, stop_stack
from zmart.local.state_files import write_state
from zmart.local.supervision import SupervisionError, Supervisor
from zmart.market.json_input import JSON_ERRORS
from zmart.ops.backup import dumping
from zmart.services.contract import SERVICES
from zmart.store import migrate

_SERVICES = tuple(f"{SERVICE_GROUP}:{name}" for name in SERVICES)


class RollbackProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a rollback: the path of its backup ("" before it), and whether the migrations are reverted."""

    target: StackRelease
    backup: str = ""
    migrated: bool = False


def progress_of(home: Path) -> RollbackProgress | None:
    """Return the progress of an unfinished rollback in `home`; None if there is none, or its file is damaged.

    None also while a service of the stack runs: it was started after the rollback was killed, so the database holds
    more than the backup.
    """
    try:
        progress = msgspec.json.decode(rollback_file(home).read_bytes(), type=RollbackProgress)
    except (FileNotFoundError, NotADirectoryError, *JSON_ERRORS):
        return None
    return None if _a_service_runs(home) else progress


def _a_service_runs(home: Path) -> bool:
    with suppress(SupervisionError):  # without supervisord no service runs
        return any(
            info.pid or info.state == "BACKOFF"
            for info in supervisor_of(home).processes()
            if info.group == SERVICE_GROUP
        )
    return False


def roll_back(
    home: Path, database_url: str, target: StackRelease, programs_in: list[Path], say: Callable[[str], None]
) -> Path:
    """Roll the stack of `home` back to `target`, and return the path of the backup that was made first. Blocks.

    A stack that was started with its decisions held is started held, and stays so until the operator releases it. `say`
    gets a sentence at the start of each step. Raises ConfigError, StoreError: then the stack is as before, or the
    rollback can be run again.
    """
    command = command_of(home, target)
    held = {"HOLD_DECISIONS": "true"} if starts_held(home) else {}
    progress = progress_of(home)
    if progress is None:
        rollback_file(home).unlink(missing_ok=True)  # else it counts again once the services are stopped
        progress = RollbackProgress(target=target)
    is_running = is_up(home)
    if not is_running and not progress.migrated:
        raise ConfigError(f"No stack runs in {home}: start it with `zmart up`, its database is needed.")
    if held:  # should this be killed and run again: the older release's record of its start may not say it
        hold(home)
    if is_running:
        with working(home, alone=True):
            progress = _prepare(home, database_url, progress, command, programs_in, say)
            say("Stopping the stack ...")
            stop_stack(home)
    say(f"Starting {target.name}{', its decisions held as before' if held else ''} ...")
    # Every release that is recorded knows the setting, but an older one neither the mark nor each option.
    started = command.run("up", "--detach", ZMART_HOME=str(home), **held)
    if started.returncode != 0:
        raise ConfigError(
            f"{target.name} did not start: {_last(started.stderr or started.stdout)} Try again."
        )
    rollback_file(home).unlink(missing_ok=True)  # its start has removed it, unless that release is too old
    return Path(progress.backup)


def _prepare(
    home: Path,
    database_url: str,
    progress: RollbackProgress,
    command: ReleaseCommand,
    programs_in: list[Path],
    say: Callable[[str], None],
) -> RollbackProgress:
    """Stop the services, back up the database, and revert the migrations that the target release does not have.

    If the backup fails, the services are started again. If the target release does not accept the database after that,
    the migrations are applied again, the services are started, and ConfigError is raised.
    """
    supervisor, target = supervisor_of(home), progress.target
    say("Stopping the services ...")
    supervisor.stop(*_SERVICES)
    if not progress.backup:
        say("Backing up the database ...")
        try:
            backup = asyncio.run(dumping.back_up(database_url, home / "backups", programs_in))
        except (ZmartError, OSError):
            start_services(home, supervisor)  # nothing has changed yet
            raise
        progress = _noted(home, msgspec.structs.replace(progress, backup=str(backup)))
    current = asyncio.run(migrate.status(database_url)).current or ""
    if current > target.schema:
        say(f"Reverting migrations: {current} to {target.schema} ...")
        migrate.rollback(database_url, target.schema)
    status = command.run("migrate", "status", DATABASE_URL=database_url)
    if status.returncode != 0:
        migrate.upgrade(database_url)
        rollback_file(home).unlink(missing_ok=True)
        start_services(home, supervisor)
        raise ConfigError(
            f"{target.name} does not know the database after that ({_last(status.stdout + status.stderr)}): the "
            "migrations and the services are as before."
        )
    return _noted(home, msgspec.structs.replace(progress, migrated=True))


def start_services(home: Path, supervisor: Supervisor) -> None:
    """Start the services again. Raises ConfigError, and leaves them stopped, if decisions are held and the release that
    started the stack may not know that."""
    if is_held(home):
        require_holding(home)
    supervisor.start(*_SERVICES)


def _noted(home: Path, progress: RollbackProgress) -> RollbackProgress:
    write_state(rollback_file(home), msgspec.json.encode(progress))
    return progress


def _last(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else "no output"
