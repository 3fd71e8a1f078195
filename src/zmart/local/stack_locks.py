"""Lock a ZMART_HOME: one start at a time, and none of a running stack while another command works in its database.

The kernel frees a lock when its process ends, however that happens.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zmart.errors import ConfigError, StoreError
from zmart.local.processes import private_folder

_STARTING, _WORKING = ".starting", ".working"


@contextmanager
def only_one_start(home: Path) -> Iterator[None]:
    """Create ZMART_HOME, and let no other process start its stack during the block. Raises ConfigError, StoreError."""
    private_folder(home)
    private_folder(home / "run")
    with (home / _STARTING).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"Another `zmart up` is starting in {home}: wait for it.") from None
        yield


@contextmanager
def working(home: Path, *, alone: bool) -> Iterator[None]:
    """Let no start stop and start the running stack of `home` during the block, in which a command works in it.

    Without `alone` other commands that are not alone may work at the same time. A ZMART_HOME in which no stack was ever
    started is not locked. Raises ConfigError while another command works, StoreError if the lock cannot be created.
    """
    if not (home / _STARTING).exists():
        yield
        return
    try:
        descriptor = os.open(home / _WORKING, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as problem:
        raise StoreError(f"{home / _WORKING} cannot be written ({problem.strerror}).") from None
    with os.fdopen(descriptor, "w") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"Another command (backup, restart, restore, rollback or up) works in the stack of {home}: wait until "
                "it has ended, and run this one again."
            ) from None
        yield
