"""Connect to the primary among the hosts of a DATABASE_URL that names several.

All hosts are tried at once: a host that cannot be reached does not answer, and must not use up the time of the others.
"""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg

from zmart.errors import SettingError
from zmart.loopback import database_address
from zmart.store.driver_errors import DRIVER_ERRORS

_ONE_AFTER_THE_OTHER = {"any", "prefer-standby"}


async def open_connection(database_url: str, **options: Any) -> Any:  # noqa: ANN401  # asyncpg publishes no types
    """Return a connection to the host of `database_url`. Of several hosts, it is the first that answers and has the
    role of `target_session_attrs` (default: the primary).

    `options` are those of `asyncpg.connect`. Raises errors of the driver, ValueError for an address that cannot be
    parsed, and SettingError for an address without a user when the system has no name for this process's user.
    """
    address = database_address(database_url)
    _require_user(address)
    hosts = _one_by_one(address)
    if len(hosts) == 1:
        return await asyncpg.connect(address, **options)
    attempts = [asyncio.ensure_future(asyncpg.connect(host, **options)) for host in hosts]
    chosen = None
    try:
        chosen = await _first(attempts)
        return chosen
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(lambda ended: _discard_unless(ended, chosen))


def _require_user(address: str) -> None:
    parts = urlsplit(address)
    if parts.username or "user" in parse_qs(parts.query) or "PGUSER" in os.environ:
        return
    try:
        getpass.getuser()
    except (KeyError, OSError):  # KeyError up to Python 3.12, OSError from 3.13
        raise SettingError(
            f"DATABASE_URL names no user, and the system has no name for ours (number {os.getuid()}): write "
            "postgresql://user@host/database."
        ) from None


def _one_by_one(address: str) -> list[str]:
    """Return one address for each host; only the whole address if it has one host or their order is significant."""
    parts = urlsplit(address)
    user, at, hosts = parts.netloc.rpartition("@")
    attribute = parse_qs(parts.query).get("target_session_attrs", [""])[-1]
    if "," not in hosts or attribute in _ONE_AFTER_THE_OTHER:
        return [address]
    return [urlunsplit(parts._replace(netloc=f"{user}{at}{host}")) for host in hosts.split(",")]


async def _first(attempts: Sequence[asyncio.Future[Any]]) -> Any:  # noqa: ANN401
    errors: list[BaseException] = []
    waiting = set(attempts)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for attempt in done:
            problem = attempt.exception()
            if problem is None:
                return attempt.result()
            errors.append(problem)
    raise min(errors, key=_rank)


def _rank(problem: BaseException) -> int:
    """Return the rank of an error, the lowest for the most informative error. It is 0 for a bug, 1 for a refusal by
    PostgreSQL, 2 for a host of the wrong role, such as a stand-by, and 3 for a host that does not answer."""
    if not isinstance(problem, DRIVER_ERRORS):
        return 0
    if isinstance(problem, asyncpg.PostgresError):
        return 1
    return 2 if isinstance(problem, asyncpg.TargetServerAttributeNotMatched) else 3


def _discard_unless(attempt: asyncio.Future[Any], chosen: object) -> None:
    """Terminate the attempt's connection unless it is the chosen one. Also retrieve the attempt's error, so that
    asyncio does not log it as never retrieved."""
    if not attempt.cancelled() and attempt.exception() is None and attempt.result() is not chosen:
        attempt.result().terminate()
