"""Every error of asyncpg means unavailable, busy, read-only or a bug; one table lists which."""

from __future__ import annotations

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.errors import Busy, ReadOnly, RolledBack, StoreError, Unavailable
from zmart.store.driver_errors import connect_error, kind_of_code, store_error

POSTGRES_ERRORS = sorted(
    (
        found
        for found in vars(asyncpg.exceptions).values()
        if isinstance(found, type) and issubclass(found, asyncpg.PostgresError)
    ),
    key=lambda found: found.__name__,
)
TEMPORARY = {
    "08000": Unavailable, "08001": Unavailable, "08003": Unavailable, "08004": Unavailable, "08006": Unavailable,
    "08007": Unavailable, "08P01": Unavailable, "25006": ReadOnly, "25P03": Unavailable, "25P04": Busy,
    "40000": RolledBack, "40001": RolledBack, "40003": Unavailable, "40P01": RolledBack, "42501": Unavailable,
    "53000": Busy,
    "53100": ReadOnly, "53200": Busy, "53300": Busy, "53400": Busy, "55006": Busy, "55P03": Busy, "57000": Unavailable,
    "57014": Busy, "57P01": Unavailable, "57P02": Unavailable, "57P03": Unavailable, "57P04": Unavailable,
    "57P05": Unavailable, "58000": Unavailable, "58030": Unavailable, "58P01": Unavailable, "58P02": Unavailable,
    "58P03": Unavailable, "72000": Busy,
}  # fmt: skip
"""The error class of each SQLSTATE that is no bug. Every other code that asyncpg knows is a bug."""
CLIENT_ERRORS = [
    asyncpg.InterfaceError("x"),
    asyncpg.InternalClientError("x"),
    asyncpg.exceptions.ProtocolError("x"),
]
ARGUMENT_ERRORS = [
    asyncpg.ClientConfigurationError("x"),
    next(found for found in asyncpg.InterfaceError.__subclasses__() if found.__name__ == "DataError")(
        "invalid input for query argument $1"
    ),
]


def kind_of(problem: Exception, *, connected: bool = True) -> type[StoreError] | None:
    found = store_error(problem, connected=connected)
    return None if found is None else type(found)


def test_the_driver_knows_more_than_two_hundred_errors() -> None:
    assert len(POSTGRES_ERRORS) > 200


@pytest.mark.parametrize("error", POSTGRES_ERRORS, ids=lambda error: error.__name__)
def test_an_error_of_the_server_has_the_kind_of_its_code(error: type[asyncpg.PostgresError]) -> None:
    expected = TEMPORARY.get(error.sqlstate)
    if error is asyncpg.InvalidCachedStatementError:
        expected = Busy  # after a migration: the same transaction succeeds when it is repeated
    for connected in (True, False):
        assert kind_of(error("no"), connected=connected) is expected


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=5, max_size=5))
def test_a_code_that_a_later_server_invents_has_the_kind_of_its_class(code: str) -> None:
    problem = asyncpg.PostgresError.new({"C": code, "M": "no", "S": "ERROR"})
    by_class = {"08": Unavailable, "53": Busy, "57": Unavailable, "58": Unavailable}
    assert kind_of(problem) is kind_of_code(code) is TEMPORARY.get(code, by_class.get(code[:2]))


@pytest.mark.parametrize("problem", CLIENT_ERRORS, ids=repr)
def test_the_same_complaint_of_the_driver_is_a_bug_unless_the_connection_has_ended(
    problem: Exception,
) -> None:
    assert kind_of(problem, connected=True) is None
    assert kind_of(problem, connected=False) is Unavailable


@pytest.mark.parametrize("problem", ARGUMENT_ERRORS, ids=repr)
def test_an_argument_that_does_not_fit_is_a_bug_whatever_the_connection_does(problem: Exception) -> None:
    assert kind_of(problem, connected=True) is kind_of(problem, connected=False) is None


@pytest.mark.parametrize("problem", [ValueError("x"), KeyError("x"), AssertionError("x")], ids=repr)
def test_what_does_not_come_from_the_driver_is_a_bug(problem: Exception) -> None:
    assert kind_of(problem, connected=True) is kind_of(problem, connected=False) is None


@pytest.mark.parametrize(
    "problem", [ConnectionResetError(), TimeoutError(), OSError(113, "No route")], ids=repr
)
def test_a_network_that_fails_is_unavailable(problem: OSError) -> None:
    assert kind_of(problem) is Unavailable


@pytest.mark.parametrize("error", POSTGRES_ERRORS, ids=lambda error: error.__name__)
def test_a_connection_that_cannot_be_made_is_never_a_bug(error: type[asyncpg.PostgresError]) -> None:
    assert type(connect_error(error("no"))) is (TEMPORARY.get(error.sqlstate) or Unavailable)


def test_the_sentence_names_the_error_and_its_first_line() -> None:
    problem = asyncpg.PostgresError.new(
        {"C": "55P03", "M": "canceling statement", "S": "ERROR", "H": "a hint"}
    )
    assert str(store_error(problem, connected=True)) == (
        "PostgreSQL is busy (LockNotAvailableError: canceling statement)."
    )


@pytest.mark.parametrize("code", ["42P05", "26000"])
def test_what_a_pooler_in_transaction_mode_does_to_a_driver_is_named(code: str) -> None:
    """P4: an error that a pooler in transaction mode causes names the pooler and the setting DATABASE_URL."""
    problem = connect_error(asyncpg.PostgresError.new({"C": code, "M": "prepared statement", "S": "ERROR"}))
    assert (problem.setting, "pooler in transaction mode" in str(problem)) == ("DATABASE_URL", True)


@pytest.mark.parametrize("function", ["PreCommit_Notify", "GetNewTransactionId", "GetNewMultiXactId"])
def test_a_server_that_is_full_accepts_no_writes(function: str) -> None:
    """W14: SQLSTATE 54000 means ReadOnly if the server has run out of ids or of room for notifications.

    For a value that is too large, the same code is a bug.
    """
    full = asyncpg.PostgresError.new({"C": "54000", "M": "full", "S": "ERROR", "R": function})
    assert type(store_error(full, connected=True)) is ReadOnly
    too_large = asyncpg.PostgresError.new({"C": "54000", "M": "index row", "S": "ERROR", "R": "_bt_check"})
    assert store_error(too_large, connected=True) is None


def test_no_address_is_told_when_the_network_fails() -> None:
    problem = ConnectionRefusedError(111, "Connect call failed ('10.1.2.3', 5432)")
    assert "10.1.2.3" not in str(connect_error(problem))
    assert "10.1.2.3" not in str(store_error(problem, connected=False))


def test_a_full_disk_of_the_database_is_called_that_and_not_a_wrong_address() -> None:
    """C12: a full disk of PostgreSQL is reported as such, when a statement fails and when a connection is refused."""
    problem = asyncpg.PostgresError.new({"C": "53100", "M": "could not write init file", "S": "FATAL"})
    for found in (store_error(problem, connected=True), connect_error(problem)):
        assert isinstance(found, ReadOnly)
        assert str(found).startswith(
            "The disk of PostgreSQL is full (DiskFullError: could not write init file)"
        )
        assert "DATABASE_URL" not in str(found)
