"""Authenticate a vote by the statement that its wallet signed."""

from __future__ import annotations

from zmart.errors import Invalid, Unauthenticated
from zmart.market.vote_entries import LogEntry, VoteChannel
from zmart.market.votes import STATEMENT_WINDOW_S, Statement, parse_statement
from zmart.proofs.signatures import require_signature
from zmart.votes.command import CastVote


def read_statement(command: CastVote) -> Statement | None:
    """Return the command's statement, parsed; None if it has none.

    Raises Invalid if the statement is malformed or differs from the command, or if statement or signature is missing.
    """
    if command.statement is None and command.signature is None:
        return None
    if command.statement is None or command.signature is None:
        missing = "statement" if command.statement is None else "signature"
        raise Invalid(missing, "A vote is proven by a statement and its signature together.")
    statement = parse_statement(command.statement)
    expected = command.statement_at(statement.issued_ms)
    if statement != expected:
        lines = zip(statement.text().splitlines(), expected.text().splitlines(), strict=True)
        differences = "; ".join(f"{a!r}, not {b!r}" for a, b in lines if a != b)
        raise Invalid("statement", f"The statement differs from the request: it says {differences}.")
    return statement


def authenticate(command: CastVote, statement: Statement | None, *, statement_required: bool) -> LogEntry:
    """Return the entry for the vote log, with its proof if there is a statement.

    Raises Unauthenticated if the statement is required and missing, was issued more than STATEMENT_WINDOW_S seconds
    before or after the command was received, or is not signed by the wallet.
    """
    received_ms = int(command.received_at.timestamp() * 1000)
    if statement is None or command.signature is None:
        if statement_required:
            raise Unauthenticated(
                "A vote needs a statement signed by the wallet: send statement and signature."
            )
        return LogEntry(channel=VoteChannel.SESSION, statement=command.statement_at(received_ms))
    if abs(received_ms - statement.issued_ms) > STATEMENT_WINDOW_S * 1000:
        raise Unauthenticated(
            f"The statement was issued more than {STATEMENT_WINDOW_S // 60} minutes from now: sign a new one."
        )
    proof = require_signature(command.wallet, statement.text(), command.signature, command.program)
    return LogEntry(channel=VoteChannel.STATEMENT, statement=statement, proof=proof)
