"""Encode and parse entries of a market's vote log: the canonical bytes that its Merkle leaves cover. Format:
docs/votes.md."""

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


class VoteChannel(Enum):
    """Name how a vote reached the log, which determines its proof."""

    STATEMENT = "statement"
    """Signed by the wallet as a statement: anyone can verify it."""
    SESSION = "session"
    """Cast in a session of this backend: it has no proof."""
    ONCHAIN = "onchain"
    """A VoteRecord account of the program; it replaces the wallet's other vote."""


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one entry of the log.

    `proof`: the signature over the statement's text, the transaction of an on-chain vote, or None.
    """

    channel: VoteChannel
    statement: Statement
    proof: str | None = None

    def encode(self) -> bytes:
        """Return the canonical bytes."""
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
    """Parse canonical bytes; `parse_entry(raw).encode() == raw`. Raises Invalid("entry") or Invalid("statement")."""
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
