"""Hold the decisions of the stack in a ZMART_HOME, from a restore until the operator releases them.

After a restore votes may be missing, and decisions on chain are irreversible. A mark, the file `decisions-held` in
ZMART_HOME, makes every start of the stack's services hold: by `zmart up`, by `zmart restart`, by supervisord, and by
`zmart rollback`. Services read it when they start. HOLD_DECISIONS holds a single process in the same way.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from zmart.errors import ConfigError
from zmart.local.addresses import recorded_environment
from zmart.local.processes import private_folder
from zmart.local.state_files import DamagedState, sync_folder, write_state
from zmart.setting_values import is_loopback
from zmart.version import commit

HELD = (
    "Decisions are held, as after a restore: the aggregator and the monitor decide nothing until `zmart stop`, "
    "`zmart up --release-decisions` (docs/operations.md, Backup and restore)."
)


def hold(home: Path) -> None:
    """Let every later start of the stack's services hold decisions. The mark survives a crash. Raises StoreError."""
    write_state(mark_of(private_folder(home)), f"{HELD}\n")


def release(home: Path) -> None:
    """Let services that start from now on decide again."""
    if is_held(home):
        mark_of(home).unlink(missing_ok=True)
        sync_folder(home)


def is_held(home: Path) -> bool:
    """Return whether services of the stack in `home` that start now hold their decisions."""
    return os.path.lexists(mark_of(home))


def is_held_here() -> bool:
    """Return whether this process is one of a stack whose decisions are held."""
    home = os.environ.get("ZMART_STACK")  # process_group.MARK, whose module needs the extra `local`
    return bool(home) and is_held(Path(home or ""))


def starts_held(home: Path) -> bool:
    """Return whether the stack is held, or was started with HOLD_DECISIONS: its next start by us has to hold, too.
    Raises DamagedState if its record cannot be read."""
    return is_held(home) or "HOLD_DECISIONS" in recorded_environment(home)


def require_holding(home: Path) -> None:
    """Raise ConfigError or DamagedState if services of the running, held stack might decide when they start again.

    They run the code of the release that started the stack, and an older one does not know the mark.
    """
    from zmart.local.releases import releases  # it imports the migrations; each service imports this module

    last = releases(home)[-1:]
    if "HOLD_DECISIONS" not in recorded_environment(home) and (not last or last[0].commit != commit()):
        raise ConfigError(
            "Decisions are held, but another release started this stack and may not know that: `zmart stop`, then "
            "`zmart up`."
        )


def concerns(home: Path, database_url: str) -> bool:
    """Return whether the mark in `home` is about the database at `database_url`.

    It is not if the stack of `home` has an embedded database, and that is certainly another one.
    """
    try:
        own = _database_at(recorded_environment(home).get("DATABASE_URL", ""))
    except DamagedState:
        return True
    other = _database_at(database_url)
    return own is None or other is None or own == other


def _database_at(url: str) -> tuple[str, int, str] | None:
    """Return the host, port and name of the database in a URL; None if the URL does not say them plainly."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or "host=" in parts.query or "," in parts.netloc:
            return None
        host = "127.0.0.1" if is_loopback(parts.netloc.rpartition("@")[2]) else parts.hostname
        return host, parts.port or 5432, parts.path
    except ValueError:
        return None


def mark_of(home: Path) -> Path:
    """Return the path of the mark; its existence alone counts, not its content."""
    return home / "decisions-held"
