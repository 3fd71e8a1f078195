"""Format and parse the statement that a wallet signs to vote. docs/votes.md defines the format."""

from __future__ import annotations

import re
from contextlib import suppress

import msgspec

from zmart.errors import Invalid
from zmart.market.identifiers import ADDRESS_FORM, MARKET_ID_FORM
from zmart.market.outcomes import VOTES, choice_name
from zmart.market.times import iso, iso_of_ms, ms_of, parse_iso
from zmart.market.types import Address, MarketId, VoteKind, Wallet

_CHOICE_VALUES = {
    VoteKind.PROPOSAL: {"like": True, "support": True, "dislike": False, "reject": False},
    VoteKind.DISPUTE: {"agree": True, "support": True, "disagree": False, "reject": False},
}
_TEXT = re.compile(
    "ZMART vote\n"
    rf"program: (?P<program>{ADDRESS_FORM})\n"
    rf"market: (?P<market>{MARKET_ID_FORM})\n"
    r"kind: (?P<kind>proposal|dispute)\n"
    r"choice: (?P<choice>like|dislike|agree|disagree)\n"
    rf"wallet: (?P<wallet>{ADDRESS_FORM})\n"
    r"issued: (?P<issued>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)",
    re.ASCII,
)
STATEMENT_WINDOW_S = 300
"""A statement counts if it arrives within five minutes before or after its `issued` time."""
MAX_STATEMENT_CHARS = 400
"""Longer text cannot be a statement and is not parsed."""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the content of a vote. `vote` true: like, or agree that the proposed outcome is wrong."""

    program: Address
    market_id: MarketId
    kind: VoteKind
    vote: bool
    wallet: Wallet
    issued_ms: int

    @property
    def choice(self) -> str:
        """Return the vote as a word: like, dislike, agree or disagree."""
        return choice_name(self.kind, self.vote)

    def text(self) -> str:
        """Return the text that the wallet signs: ASCII lines, separated by line feeds, without one at the end."""
        return (
            f"ZMART vote\nprogram: {self.program}\nmarket: {self.market_id}\nkind: {self.kind.value}\n"
            f"choice: {self.choice}\nwallet: {self.wallet}\nissued: {iso_of_ms(self.issued_ms)}"
        )


def parse_statement(text: str) -> Statement:
    """Parse a statement; only the exact text is accepted. Raises Invalid("statement")."""
    match = _TEXT.fullmatch(text) if len(text) <= MAX_STATEMENT_CHARS else None
    if match is None:
        raise Invalid(
            "statement", "The statement is not the seven lines of a ZMART vote (see docs/votes.md)."
        )
    kind, vote = VOTES[match["choice"]]
    if kind.value != match["kind"]:
        raise Invalid("statement", f"A {match['kind']} vote cannot choose {match['choice']!r}.")
    return Statement(
        program=Address(match["program"]),
        market_id=MarketId(match["market"]),
        kind=kind,
        vote=vote,
        wallet=Wallet(match["wallet"]),
        issued_ms=_issued_ms(match["issued"]),
    )


def vote_of_choice(kind: VoteKind, choice: str) -> bool:
    """Return the vote that a word means: true for like, agree and support, false for their opposites.

    Raises Invalid("vote_choice") for a word that the kind of vote does not have.
    """
    values = _CHOICE_VALUES[kind]
    if choice not in values:
        raise Invalid("vote_choice", f"A {kind.value} vote is one of {', '.join(values)}.")
    return values[choice]


def _issued_ms(text: str) -> int:
    with suppress(ValueError):
        moment = parse_iso(text)
        if iso(moment) == text:
            return ms_of(moment)
    raise Invalid("statement", f"{text} is not a valid time.")
