"""Encode and parse the entries of a market's vote log: the canonical bytes that its Merkle leaves cover.

docs/votes.md defines the format.
"""

from __future__ import annotations

import re
from enum import Enum

import msgspec

from zmart.errors import Invalid
from zmart.market.identifiers import SIGNATURE_FORM
from zmart.market.votes import MAX_STATEMENT_CHARS, Statement, parse_statement

_HEAD = "ZMART vote log entry 1"
_FORMS = {
    "statement": re.compile(
        rf"{_HEAD}\nchannel: statement\nsignature: (?P<proof>{SIGNATURE_FORM})\n(?P<text>.+)", re.S
    ),
    "session": re.compile(rf"{_HEAD}\nchannel: session\n(?P<text>.+)", re.S),
    "onchain": re.compile(
        rf"{_HEAD}\nchannel: onchain\ntransaction: (?P<proof>{SIGNATURE_FORM})\n(?P<text>.+)", re.S
    ),
}
MAX_ENTRY_BYTES = MAX_STATEMENT_CHARS + 200
"""Maximum size of an entry; longer bytes are not parsed."""


class VoteChannel(Enum):
    """Name the way by which a vote entered the log; it determines the vote's proof."""

    STATEMENT = "statement"
    """The wallet signed the vote as a statement, so anyone can verify it."""
    SESSION = "session"
    """The wallet voted while signed in to this backend. The vote has no proof."""
    ONCHAIN = "onchain"
    """The program created a VoteRecord account. This vote replaces the wallet's other vote."""


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one entry of a vote log.

    `proof` is the signature over the statement's text, the signature of the transaction of an on-chain vote, or None
    for a session.
    """

    channel: VoteChannel
    statement: Statement
    proof: str | None = None

    def encode(self) -> bytes:
        """Return the entry's canonical bytes."""
        lines = [_HEAD, f"channel: {self.channel.value}"]
        match self.channel:
            case VoteChannel.STATEMENT:
                lines.append(f"signature: {self.proof}")
            case VoteChannel.ONCHAIN:
                lines.append(f"transaction: {self.proof}")
            case VoteChannel.SESSION:
                pass
        return "\n".join([*lines, self.statement.text()]).encode()


def parse_entry(raw: bytes) -> LogEntry:
    """Parse an entry's canonical bytes, so that `parse_entry(raw).encode() == raw`.

    Raises Invalid("entry"), or Invalid("statement") for its statement.
    """
    try:
        text = raw.decode("ascii") if len(raw) <= MAX_ENTRY_BYTES else ""
    except UnicodeDecodeError:
        text = ""
    for name, form in _FORMS.items():
        if match := form.fullmatch(text):
            statement = parse_statement(match["text"])
            return LogEntry(
                channel=VoteChannel(name), statement=statement, proof=match.groupdict().get("proof")
            )
    raise Invalid("entry", "These bytes are not an entry of a ZMART vote log (see docs/votes.md).")
