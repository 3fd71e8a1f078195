"""Define the results of checks: a sentence for people and a verdict for scripts."""

from __future__ import annotations

from enum import Enum

import msgspec


class Verdict(Enum):
    """The result of one check."""

    HOLDS = "holds"
    NOTE = "note"
    """A remark that is true and that a reader should know."""
    UNKNOWN = "unknown"
    """The check could not be made."""
    BROKEN = "broken"


_MARKS = {
    Verdict.HOLDS: "ok  ",
    Verdict.NOTE: "note",
    Verdict.UNKNOWN: "?   ",
    Verdict.BROKEN: "BAD ",
}


class ProofFinding(msgspec.Struct, frozen=True):
    """The result of one check: a verdict and a sentence."""

    verdict: Verdict
    text: str

    @property
    def line(self) -> str:
        """The mark of the verdict and the sentence, as the command line prints them."""
        return f"{_MARKS[self.verdict]} {self.text}"


def check(holds: bool, good: str, bad: str) -> ProofFinding:
    """Return a finding by the result of a check: HOLDS with the text `good`, or BROKEN with the text `bad`."""
    return ProofFinding(Verdict.HOLDS, good) if holds else broken(bad)


def note(text: str) -> ProofFinding:
    """Return a finding that is only a remark."""
    return ProofFinding(Verdict.NOTE, text)


def broken(text: str) -> ProofFinding:
    """Return the finding of a check that failed."""
    return ProofFinding(Verdict.BROKEN, text)
