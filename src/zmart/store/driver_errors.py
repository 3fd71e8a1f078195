"""Translate the errors of the driver, asyncpg, into the errors of the store.

The tables follow PostgreSQL's SQLSTATE codes (its documentation, Appendix A): the exact code is looked up first, then
its class, the first two characters. Any other code means a wrong statement or a wrong value. That is a bug, and is
never retried as if the server were unavailable.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping

import asyncpg

from zmart.errors import Busy, ReadOnly, RolledBack, StoreError, Unavailable

DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError, too
)
"""The exceptions that a call of the driver may raise without a bug in our code."""

_BY_CODE: Mapping[str, type[StoreError]] = {
    "25006": ReadOnly,  # a stand-by, or default_transaction_read_only
    "25P03": Unavailable,  # idle_in_transaction_session_timeout ended the session
    "25P04": Busy,  # transaction_timeout
    "40000": RolledBack,
    "40001": RolledBack,
    "40003": Unavailable,  # unknown whether the statement was completed
    "40P01": RolledBack,
    "42501": Unavailable,  # a privilege was taken, or never given
    "53100": ReadOnly,  # the disk is full
    "55006": Busy,
    "55P03": Busy,  # lock_timeout, or NOWAIT
    "57014": Busy,  # statement_timeout, or pg_cancel_backend
    "72000": Busy,
}
FULL_OF_NOTIFICATIONS = (
    "its queue of notifications is full, end the session in pg_stat_activity that listens and has been in a "
    "transaction for long"
)
_NO_NUMBERS = "it has no transaction numbers left, run VACUUM in all databases"
_PROGRAM_LIMIT = "54000"
_FULL: Mapping[str, str] = {
    "PreCommit_Notify": FULL_OF_NOTIFICATIONS,
    "GetNewTransactionId": _NO_NUMBERS,
    "GetNewMultiXactId": _NO_NUMBERS,
}
"""What to do when PostgreSQL has reached a limit, by the function of its source code that reports the limit. The
SQLSTATE is 54000 (program_limit_exceeded). Reported by any other function, it means that one of our values is too
large: a bug."""
_BY_CLASS: Mapping[str, type[StoreError]] = {
    "08": Unavailable,  # the connection
    "53": Busy,  # too many connections, memory, limits
    "57": Unavailable,  # shut down, crashed, starting, dropped
    "58": Unavailable,  # the server's own disk or system
}
_CHECK_ADDRESS = " Check DATABASE_URL if this does not end by itself."
_REFUSALS: Mapping[str, str] = {
    "28P01": "the password of DATABASE_URL, or its user, is wrong",
    "28000": "the user of DATABASE_URL does not exist, or pg_hba.conf does not allow it from this host or without "
    "encryption (sslmode)",
    "3D000": "there is no database of the name in DATABASE_URL; create it, or correct the name",
    "42501": "the user of DATABASE_URL may not connect to this database",
    **dict.fromkeys(
        ("42704", "22023", "22P02"),
        "DATABASE_URL has an option that is no setting of PostgreSQL, or a wrong value of one (pgbouncer and "
        "connection_limit are other clients' own)",
    ),
}
"""Why PostgreSQL refuses a connection, by SQLSTATE. The server's own text is left out, because it repeats parts of the
address."""
POOLED_ERRORS = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""The errors that a driver gets for its prepared statements when a pooler changes the server session between them."""
POOLED = (
    "DATABASE_URL leads through a connection pooler in transaction mode, where LISTEN and session locks do not last: "
    "use the direct connection, or a pooler in session mode (on Supabase port 5432 instead of 6543)."
)
_CHECK = "check DATABASE_URL and that it runs"
_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not trusted, check DATABASE_URL (sslrootcert)"),
    (ssl.SSLError, "the encryption failed, check DATABASE_URL (sslmode)"),
    (socket.gaierror, "its host name cannot be resolved, check DATABASE_URL"),
    (
        ConnectionRefusedError,
        "nothing listens at its address, check DATABASE_URL and that it runs",
    ),
    (TimeoutError, "check DATABASE_URL, that it runs and that no firewall is between"),
    (FileNotFoundError, "a file or socket is missing, check DATABASE_URL"),
    (
        asyncpg.TargetServerAttributeNotMatched,
        "no host of DATABASE_URL that answers is a primary, promote a stand-by",
    ),
)
_MESSAGES: Mapping[type[StoreError], str] = {
    Unavailable: "PostgreSQL is unavailable",
    Busy: "PostgreSQL is busy",
    RolledBack: "PostgreSQL rolled the transaction back in favor of another",
    ReadOnly: "PostgreSQL accepts no writes",
}


def kind_of_code(code: str) -> type[StoreError] | None:
    """Return the class of the store's error for an SQLSTATE; None for a code that means a bug."""
    return _BY_CODE.get(code) or _BY_CLASS.get(code[:2])


def store_error(problem: Exception, *, connected: bool) -> StoreError | None:
    """Return the store's error for an exception that a statement raised; None for a bug.

    asyncpg raises InterfaceError and InternalClientError both for a connection that has ended and for a wrong call.
    `connected` distinguishes the two: whether the connection is still open.
    """
    limit = _FULL.get(getattr(problem, "server_source_function", None) or "")
    if limit is not None and _code(problem) == _PROGRAM_LIMIT:
        return ReadOnly(f"PostgreSQL accepts no writes: {limit}.")
    kind = _kind(problem, connected=connected)
    return None if kind is None else kind(_sentence(kind, problem))


def connect_error(problem: Exception) -> StoreError:
    """Return the store's error for a connection that could not be made. No such error counts as a bug."""
    if isinstance(problem, asyncpg.PostgresError):
        if refusal := _REFUSALS.get(_code(problem)):
            return Unavailable(f"PostgreSQL refuses the connection: {refusal}.", setting="DATABASE_URL")
        if isinstance(problem, POOLED_ERRORS):
            return Unavailable(POOLED, setting="DATABASE_URL")
        kind = kind_of_code(_code(problem)) or Unavailable
        advice = "" if isinstance(problem, asyncpg.DiskFullError) else _CHECK_ADDRESS
        return kind(_sentence(kind, problem) + advice)
    name = type(problem).__name__
    advice = next((text for error, text in _ADVICE if isinstance(problem, error)), _CHECK)
    if type(problem) is ConnectionError:  # raised by asyncpg itself, only if the server offers no encryption
        advice = "it offers no encryption, check DATABASE_URL (sslmode)"
    return Unavailable(f"PostgreSQL does not answer ({name}): {advice}.")


def _kind(problem: Exception, *, connected: bool) -> type[StoreError] | None:
    match problem:
        case asyncpg.InvalidCachedStatementError() | asyncpg.OutdatedSchemaCacheError():
            return (
                Busy  # the schema was migrated meanwhile; the next transaction prepares its statements again
            )
        case asyncpg.PostgresError():
            return kind_of_code(_code(problem))
        case asyncpg.InterfaceError() if isinstance(problem, ValueError):
            return None  # an argument of a wrong type or value, whatever the state of the connection
        case asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return None if connected else Unavailable
        case OSError():
            return Unavailable
    return None


def _code(problem: Exception) -> str:
    return getattr(problem, "sqlstate", None) or ""


def _sentence(kind: type[StoreError], problem: Exception) -> str:
    # The text of an OSError holds the address.
    reported = [] if isinstance(problem, OSError) else str(problem).strip().splitlines()
    reason = f"{type(problem).__name__}: {reported[0]}" if reported else type(problem).__name__
    if isinstance(problem, asyncpg.DiskFullError):
        return f"The disk of PostgreSQL is full ({reason}): free some space. Nothing has to be restarted."
    if isinstance(problem, asyncpg.InsufficientPrivilegeError):
        return (
            f"The user of DATABASE_URL may not do this ({reason}): use the owner of the tables, or GRANT it."
        )
    return f"{_MESSAGES[kind]} ({reason})."
